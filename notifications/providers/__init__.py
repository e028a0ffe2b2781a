"""Who brings SMS and calls to a phone: two families of APIs, several accounts of each, in the order of the settings."""

from django.conf import settings

from notifications.phone_accounts import Account
from notifications.providers import twilio, vonage
from notifications.providers.base import Provider

_FAMILIES: dict[str, type[Provider]] = {"twilio": twilio.Twilio, "vonage": vonage.Vonage}


def accounts(kind: str) -> list[Account]:
    return {"sms": settings.MUSTER_SMS_PROVIDERS, "voice": settings.MUSTER_VOICE_PROVIDERS}[kind]


def of(account: Account) -> Provider:
    return _FAMILIES[account.family](account)


def named(kind: str, name: str) -> Provider | None:
    return next((of(account) for account in accounts(kind) if account.name == name), None)
