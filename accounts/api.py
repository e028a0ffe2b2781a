"""People, teams and one's own tokens."""

from typing import Any

from django.db.models import Prefetch
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import queries, transitions
from accounts.models import ApiToken, Role, Scope, Team, User
from core.api import StrictSerializer, Text, read_body
from core.errors import Invalid, Missing


class PersonRef(serializers.Serializer):
    """A person inside something else."""

    id = serializers.IntegerField()
    username = serializers.CharField()
    name = serializers.CharField(source="full_name")


class TeamRef(serializers.Serializer):
    id = serializers.IntegerField()
    slug = serializers.CharField()
    name = serializers.CharField()


@extend_schema_field(
    {"oneOf": [{"type": "string", "maxLength": 254}, {"type": "integer"}], "description": "User name or id."}
)
class PersonField(serializers.Field):
    """A person who is active, by id or user name. Costs a query."""

    def to_internal_value(self, data: Any) -> User:
        user = None
        people = User.objects.filter(is_active=True)
        if isinstance(data, int) and not isinstance(data, bool):
            user = people.filter(pk=data).first() if 0 < data < 2**63 else None
        elif isinstance(data, str):
            user = people.filter(username__iexact=data).first() if 0 < len(data) <= 254 else None
        else:
            raise serializers.ValidationError("A user name or an id.")
        if user is None:
            raise serializers.ValidationError("There is no such active person.")
        return user

    def to_representation(self, value: User) -> str:
        return value.username


@extend_schema_field(
    {
        "oneOf": [{"type": "string", "minLength": 1, "maxLength": 80}, {"type": "integer"}],
        "description": "Slug or id.",
    }
)
class TeamField(serializers.Field):
    """A team by its slug or id. Costs a query."""

    def to_internal_value(self, data: Any) -> Team:
        if isinstance(data, int) and not isinstance(data, bool):
            team = Team.objects.filter(pk=data).first() if 0 < data < 2**63 else None
        elif isinstance(data, str):
            team = Team.objects.filter(slug=data[:81]).first() if data else None
        else:
            raise serializers.ValidationError("A slug or an id.")
        if team is None:
            raise serializers.ValidationError("There is no such team.")
        return team

    def to_representation(self, value: Team) -> str:
        return value.slug


class PersonOut(PersonRef):
    role = serializers.ChoiceField(choices=Role.choices)
    time_zone = serializers.CharField()
    expertise = serializers.ListField(child=serializers.CharField())
    is_bot = serializers.BooleanField()
    teams = TeamRef(many=True)


class UserViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Who is active. Addresses and telephone numbers are not told."""

    queryset = User.objects.filter(is_active=True).prefetch_related("teams")
    serializer_class = PersonOut
    cursor_field = "id"

    def get_object(self) -> User:
        """By id or by user name."""
        wanted = self.kwargs["pk"]
        people = self.get_queryset()
        by_id = wanted.isdecimal() and wanted.isascii() and len(wanted) < 19
        return get_object_or_404(
            people, **({"pk": int(wanted)} if by_id else {"username__iexact": wanted[:254]})
        )


class MemberOut(serializers.Serializer):
    user = PersonRef()
    is_lead = serializers.BooleanField()


class TeamOut(TeamRef):
    description = serializers.CharField()
    members = MemberOut(many=True, source="memberships")


class TeamViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    queryset = Team.objects.prefetch_related(Prefetch("memberships", queries.active_members()))
    serializer_class = TeamOut
    cursor_field = "id"
    lookup_field = "slug"
    lookup_value_regex = "[-a-zA-Z0-9_]{1,120}"


class TokenOut(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    hint = serializers.CharField(help_text="How the token begins.")
    scope = serializers.ChoiceField(choices=Scope.choices)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class NewTokenOut(TokenOut):
    token = serializers.CharField(help_text="Shown in this answer and never again.")


class TokenIn(StrictSerializer):
    name = Text(max_length=80)
    scope = serializers.ChoiceField(choices=Scope.choices, default=Scope.WRITE)
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="Null: until it is revoked."
    )


class TokenViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """One's own tokens. Viewers may make some too: a token never may more than its person."""

    queryset = ApiToken.objects.none()
    serializer_class = TokenOut
    write_role = Role.VIEWER

    def get_queryset(self) -> Any:
        return queries.tokens_of(self.request.user)

    @extend_schema(request=TokenIn, responses={201: NewTokenOut})
    def create(self, request: Request) -> Response:
        """Make a token. The answer is the only place that shows it. Made with a token, it ends no later than that."""
        data = read_body(request, TokenIn)
        end = getattr(request.auth, "expires_at", None)
        if end is not None and (data["expires_at"] is None or data["expires_at"] > end):
            sentence = "The token that makes this one ends earlier."
            raise Invalid(sentence, fields={"expires_at": [sentence]})
        token, secret = transitions.create_token(user=request.user, now=timezone.now(), **data)
        token.token = secret
        return Response(NewTokenOut(token).data, status=201)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Revoke a token. It stays in the list with the time of its end."""
        if not (pk.isdecimal() and pk.isascii() and len(pk) < 19):
            raise Missing("There is no such token.")
        transitions.revoke_token(token_id=int(pk), user=request.user, now=timezone.now())
        return Response(status=204)


class MeOut(PersonOut):
    email = serializers.EmailField()
    scope = serializers.SerializerMethodField(
        help_text="What this token may; write when signed in by session."
    )

    @extend_schema_field({"type": "string", "enum": Scope.values})
    def get_scope(self, user: User) -> str:
        token = self.context["request"].auth
        return token.scope if isinstance(token, ApiToken) else Scope.WRITE


class Me(APIView):
    @extend_schema(responses=MeOut, operation_id="me")
    def get(self, request: Request) -> Response:
        """Whose token this is, and what it may."""
        return Response(MeOut(request.user, context={"request": request}).data)
