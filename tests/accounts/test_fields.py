import pytest
from django.core.exceptions import ValidationError
from django.http import QueryDict

from accounts.fields import PeopleField, PersonField, find_people, suggestions, written
from tests.factories.accounts import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def ines():
    return make_user("ines", full_name="Ines Okafor")


@pytest.fixture
def ravi():
    return make_user("ravi", full_name="Ravi Menon", email="ravi@shop.example")


@pytest.mark.parametrize(
    "text", ["ines", "INES", " ines ", "Ines Okafor", "ines okafor", "ines@example.org", "Ines Okafor (ines)",
             "Old name (ines)"],
)  # fmt: skip
def test_person_is_found_by_user_name_address_or_name(ines, ravi, text):
    assert find_people([text]) == [ines]


def test_people_come_in_the_order_in_which_they_were_typed_in_one_query(
    ines, ravi, django_assert_num_queries
):
    with django_assert_num_queries(1):
        assert find_people(["ravi", "ines", "Ravi Menon"]) == [ravi, ines, ravi]
    with django_assert_num_queries(0):
        assert find_people([]) == []


def test_name_of_two_people_is_refused_and_the_user_name_decides(ines):
    other = make_user("ines2", full_name="Ines Okafor")

    with pytest.raises(ValidationError, match="2 people are called Ines Okafor"):
        find_people(["Ines Okafor"])
    assert find_people([written(other)]) == [other]


@pytest.mark.parametrize("text", ["nobody", "", "%", "x" * 300, "in\x00es"])
def test_name_of_nobody_is_refused(ines, text):
    with pytest.raises(ValidationError):
        find_people([text])


def test_person_who_is_switched_off_is_not_found_and_not_suggested(ines):
    make_user("gone", full_name="Gone Girl", is_active=False)

    with pytest.raises(ValidationError):
        find_people(["gone"])
    assert suggestions() == ["Ines Okafor (ines)"]


def test_field_for_one_person_may_be_empty(ines):
    assert PersonField(required=False).clean("") is None
    assert PersonField().clean("ines") == ines


def test_field_for_people_reads_places_and_commas_and_shows_free_places(ines, ravi):
    field = PeopleField(required=False)
    sent = QueryDict("people=ines&people=&people=ravi%2C+ines")

    typed = field.widget.value_from_datadict(sent, {}, "people")
    html = field.widget.render("people", field.prepare_value([ines, '"><script>']))

    assert typed == ["ines", "ravi", "ines"]
    assert field.clean(typed) == [ines, ravi, ines]
    assert html.count("<input") == 5
    assert 'value="Ines Okafor (ines)"' in html
    assert "<script>" not in html
