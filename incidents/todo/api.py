"""Tasks of an incident."""

from django.urls import URLPattern, path
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api import PersonField, PersonRef
from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from core.api import StrictSerializer, Text, read_body
from core.errors import Invalid, Missing
from incidents.api import REF, SeenIn
from incidents.models import Task, TaskStatus
from incidents.refs import incident_id, incident_of
from incidents.todo import queries, rules, transitions


class TaskOut(serializers.Serializer):
    number = serializers.IntegerField(help_text="Counted within the incident.")
    title = serializers.CharField()
    status = serializers.ChoiceField(choices=TaskStatus.choices)
    assignee = PersonRef(allow_null=True, help_text="Null: anybody may claim it.")
    claimed_at = serializers.DateTimeField(allow_null=True)
    due_at = serializers.DateTimeField(allow_null=True)
    created_by = PersonRef(allow_null=True)
    created_at = serializers.DateTimeField()
    done_by = PersonRef(allow_null=True)
    done_at = serializers.DateTimeField(allow_null=True)


class TasksOut(serializers.Serializer):
    results = TaskOut(many=True)


class TaskIn(StrictSerializer):
    title = Text(max_length=300)
    assignee = PersonField(required=False, allow_null=True, default=None)
    due_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class TaskActIn(SeenIn):
    user = PersonField(required=False, allow_null=True, default=None, help_text="Of `assign`: who gets it.")


ACT = OpenApiParameter("act", {"type": "string", "enum": list(rules.ACTS)}, OpenApiParameter.PATH)
NUMBER = OpenApiParameter("number", {"type": "integer"}, OpenApiParameter.PATH, description="Of the task.")


def _answer(task: Task, *, status: int = 200) -> Response:
    row = queries.tasks_of(task.incident).get(pk=task.pk)
    return Response(TaskOut(row).data, status=status)


class Tasks(APIView):
    @extend_schema(responses=TasksOut, operation_id="incidents_tasks_retrieve", parameters=[REF])
    def get(self, request: Request, ref: str) -> Response:
        """All tasks, in the order in which they were added; the first 500."""
        return Response(TasksOut({"results": queries.tasks_of(incident_of(ref))[:500]}).data)

    @extend_schema(
        request=TaskIn,
        responses={201: TaskOut},
        operation_id="incidents_tasks_create",
        summary="Add a task",
        parameters=[REF, IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        data = read_body(request, TaskIn)
        task = transitions.add_task(incident_id=incident_id(ref), by=request.user, now=timezone.now(), **data)
        return _answer(task, status=201)


class TaskAct(APIView):
    @extend_schema(
        request=TaskActIn,
        responses=TaskOut,
        operation_id="incidents_tasks_act",
        summary="Claim, assign, release, finish, reopen or drop a task",
        parameters=[REF, NUMBER, ACT, IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str, number: int, act: str) -> Response:
        """Claiming what somebody else has is a conflict that names who has it."""
        data = read_body(request, TaskActIn)
        if act not in rules.ACTS:
            raise Missing(f"There is no act {act[:20]!r}. Known: {', '.join(rules.ACTS)}.")
        told = {"incident_id": incident_id(ref), "number": number, "by": request.user, "now": timezone.now()}
        if act == "assign":
            if data["user"] is None:
                raise Invalid("Say who gets it.", fields={"user": ["Say who gets it."]})
            return _answer(transitions.assign(user=data["user"], seen=data["seen"], **told))
        if act == "release":
            return _answer(transitions.release(seen=data["seen"], **told))
        return _answer(transitions.ACTS[act](**told))


endpoints: list[URLPattern] = [
    path("incidents/<str:ref>/tasks/", Tasks.as_view(), name="incident-tasks"),
    path("incidents/<str:ref>/tasks/<int:number>/<str:act>/", TaskAct.as_view(), name="incident-task-act"),
]
"""Under /api/v1/, before the routers."""
