"""Pages are compressed, nothing else is: a browser unpacks them, and what programs and attachments are stays as it is."""

import gzip

import pytest
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import RequestFactory

from core.middleware import Compression

TEXT = "Nothing is burning. " * 200


def through(answer: HttpResponse | StreamingHttpResponse, **headers: str):
    def view(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        return answer

    return Compression(view)(RequestFactory().get("/", **headers))


def test_a_page_is_compressed_for_a_browser_that_unpacks_and_never_twice_to_the_same_length() -> None:
    sent = [through(HttpResponse(TEXT), HTTP_ACCEPT_ENCODING="gzip, br") for _ in range(40)]
    assert {gzip.decompress(answer.content).decode() for answer in sent} == {TEXT}
    assert {(answer["Content-Encoding"], answer["Vary"]) for answer in sent} == {("gzip", "Accept-Encoding")}
    assert all(int(answer["Content-Length"]) == len(answer.content) < 400 for answer in sent)
    assert len({len(answer.content) for answer in sent}) > 5  # its length tells nobody what it holds


@pytest.mark.parametrize(
    ("answer", "headers"),
    [
        (HttpResponse(TEXT), {}),
        (JsonResponse({"text": TEXT}), {"HTTP_ACCEPT_ENCODING": "gzip"}),
        (HttpResponse(TEXT, content_type="text/plain; charset=utf-8"), {"HTTP_ACCEPT_ENCODING": "gzip"}),
        (StreamingHttpResponse([TEXT], content_type="text/html"), {"HTTP_ACCEPT_ENCODING": "gzip"}),
        (HttpResponse("short"), {"HTTP_ACCEPT_ENCODING": "gzip"}),
    ],
)
def test_everything_else_goes_as_it_is(answer: HttpResponse | StreamingHttpResponse, headers: dict) -> None:
    assert "Content-Encoding" not in through(answer, **headers).headers
