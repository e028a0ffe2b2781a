"""Names for the addresses of the streams. `config/asgi.py` answers them; under WSGI there are none."""

from django.http import HttpRequest, JsonResponse
from django.urls import path

app_name = "live"


def not_here(request: HttpRequest, **_: int) -> JsonResponse:
    message = "Live streams need the ASGI server: manage.py up."
    return JsonResponse({"error": {"code": "unavailable", "message": message}}, status=503)


urlpatterns = [
    path("incidents/<int:incident_id>/", not_here, name="incident"),
    path("now/", not_here, name="now"),
]
