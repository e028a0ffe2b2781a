"""Senders' requests go straight to their endpoint."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from integrations.endpoints import answer
from integrations.ingest_urls import urlpatterns

SENDERS_ONLY = "/v2/"
PREFIXES = (SENDERS_ONLY, "/api/v1/integrations/", "/heartbeat/")


def doorstep(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Nothing of what stands between here and a page is of use to a sender: no session, no form, no redirect. The name
    it calls this machine by does not matter either: the key decides, and a 400 for an unlisted name would lose alerts.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(PREFIXES):
            for pattern in urlpatterns:
                if found := pattern.resolve(request.path_info.removeprefix("/")):
                    return found.func(request, **found.kwargs)
            if request.path_info.startswith(SENDERS_ONLY):
                error = {
                    "code": "not_found",
                    "message": "There is nothing at this address. Events go to /v2/enqueue, Opsgenie's alerts to /v2/alerts.",
                }
                return answer(404, {"error": error})
        return get_response(request)

    return middleware
