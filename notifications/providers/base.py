"""What a provider of SMS and calls does for us, whatever its API looks like."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx

from notifications.channels.base import NoLongerWanted, PermanentError, one_line
from notifications.phone_accounts import Account

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 8.0


class ProviderFailed(Exception):
    """This provider did not take the message, which says nothing about the number: another one may."""


class NumberRefused(PermanentError):
    """The number itself is the reason: no provider will reach it."""


@dataclass(frozen=True)
class Receipt:
    """What a provider says later about a message that it took."""

    result: str  # reached, machine, failed, or empty: nothing final yet
    said: str
    number_is_bad: bool = False


@dataclass(frozen=True)
class Spoken:
    """One turn of a call: what is said, and whether a key may be pressed then."""

    text: str
    keys_url: str = ""  # where a pressed key is sent; empty: the call ends after the text


class Provider:
    """Each call of these is one request. Raises ProviderFailed, NumberRefused or NoLongerWanted."""

    family: ClassVar[str]

    def __init__(self, account: Account) -> None:
        self.account = account

    def send_sms(
        self, *, to: str, text: str, key: str, status_url: str, last_look: Callable[[], bool]
    ) -> tuple[str, str]:
        """The provider's id of the message, and what it said."""
        raise NotImplementedError

    def call(
        self,
        *,
        to: str,
        spoken: Spoken,
        answer_url: str,
        status_url: str,
        key: str,
        last_look: Callable[[], bool],
    ) -> tuple[str, str]:
        """The provider's id of the call, and what it said. Without `answer_url` the text goes with the request."""
        raise NotImplementedError

    def ask(self, provider_id: str) -> Receipt:
        """What became of it, for installations that no provider can call back."""
        raise NotImplementedError

    def is_genuine(
        self, *, url: str, headers: Mapping[str, str], body: bytes, fields: Mapping[str, Any]
    ) -> bool:
        """Whether a callback comes from this account."""
        raise NotImplementedError

    def _request(
        self, method: str, path: str, *, last_look: Callable[[], bool] | None = None, **options: Any
    ) -> httpx.Response:
        """The last look is taken when the connection stands and before its first byte."""

        def before(event: str, _: dict[str, Any]) -> None:
            if last_look is not None and event.endswith(".send_request_headers.started") and not last_look():
                raise NoLongerWanted

        with httpx.Client(
            base_url=self.account.base, trust_env=False, follow_redirects=False, http2=False,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        ) as client:  # fmt: skip
            try:
                return client.request(
                    method, path, extensions={"trace": before},
                    headers={"User-Agent": "Muster", **options.pop("headers", {})}, **options,
                )  # fmt: skip
            except httpx.TimeoutException:
                raise ProviderFailed(f"No answer within {ANSWER_SECONDS:.0f} s") from None
            except (httpx.HTTPError, OSError) as error:
                raise ProviderFailed(f"Cannot connect: {one_line(str(error))[:200]}") from None


def object_of(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProviderFailed(f"Answered {response.status_code} with something that is no JSON object")
    return found
