"""Opsgenie's Alert API: creating, closing and acknowledging by alias, by alert id, or by the id of an earlier request."""

import re
import uuid
from typing import Any

from integrations.rules import (
    ACKNOWLEDGE,
    LONGEST_KEY,
    NOTE,
    RESOLVE,
    TRIGGER,
    UPDATE,
    Parsed,
    Refusal,
    cut,
    is_blank,
    severity_of,
    signal,
)

REQUEST, ALERT = "0001", "0002"
LONGEST_MESSAGE = (
    1024  # the documents say 130; Alertmanager cuts there, others do not, and no alert is lost for length
)
LONGEST_NOTE = 4000

_ID = re.compile(r"6d757374-(0001|0002)-4000-8000-([0-9a-f]{12})", re.IGNORECASE)

VERBS = {
    "close": "Close",
    "acknowledge": "Acknowledge",
    "unacknowledge": "UnAcknowledge",
    "snooze": "Snooze",
    "escalate": "Escalate",
    "assign": "Assign",
    "responders": "AddResponder",
    "tags": "AddTags",
    "details": "AddDetails",
    "notes": "AddNote",
    "message": "UpdateMessage",
    "description": "UpdateDescription",
    "priority": "UpdatePriority",
}
"""The actions of the API and what a request's status calls them."""


def public_id(kind: str, pk: int) -> str:
    """What clients get as the id of a request or an alert: it looks as they expect, and the number is in it."""
    return f"6d757374-{kind}-4000-8000-{pk:012x}"


def read_id(text: str) -> tuple[str, int] | None:
    found = _ID.fullmatch(text)
    return (found[1], int(found[2], 16)) if found else None


def parse_create(body: dict[str, Any]) -> Parsed:
    errors: list[str] = []
    warnings: list[str] = []
    message = _text(body, "message", errors, required=True)
    alias = _text(body, "alias", errors)
    if len(alias) > LONGEST_KEY:
        errors.append(f"'alias' is too long (maximum is {LONGEST_KEY} characters)")
    if errors:
        raise Refusal(*errors)
    # Who says nothing about the priority must not be overheard; who says P3 means it.
    severity, warning = severity_of(body.get("priority"))
    if warning:
        warnings.append(warning)
    details: dict[str, Any] = {}
    for name in ("description", "entity", "user"):
        if not is_blank(body.get(name)):
            details[name] = str(body[name])
    for name in ("tags", "actions"):
        if isinstance(body.get(name), list) and body[name]:
            details[name] = [str(item).strip() for item in body[name]]
    for name in ("responders", "visibleTo"):
        if isinstance(body.get(name), list) and body[name]:
            details[name] = body[name]
    if isinstance(body.get("details"), dict) and body["details"]:
        details["custom_details"] = body["details"]
    source = body.get("source")
    alias = alias.strip() or str(uuid.uuid4())
    signals = [
        signal(
            TRIGGER,
            alias,
            title=message.strip(),
            severity=severity,
            source=str(source) if not is_blank(source) else "Opsgenie",
            details=details,
        )
    ]
    return Parsed(signals=signals, dedup_key=alias, warnings=warnings)


def parse_action(verb: str, dedup_key: str, body: dict[str, Any]) -> Parsed:
    """`verb` is one of VERBS, `dedup_key` the alert's. What only a person can decide here becomes a note."""
    who = "" if is_blank(body.get("user")) else f"{body['user']}: "
    note = "" if is_blank(body.get("note")) else cut(f"{who}{body['note']}", LONGEST_NOTE)
    signals = []
    if verb in ("close", "acknowledge"):
        if note:
            signals.append(_note(dedup_key, note))
        signals.append(signal(RESOLVE if verb == "close" else ACKNOWLEDGE, dedup_key))
    elif verb == "notes":
        if not note:
            raise Refusal("'note' is missing or blank")
        signals.append(_note(dedup_key, note))
    elif verb == "message":
        signals.append(signal(UPDATE, dedup_key, title=_needed(body, "message").strip(), severity=""))
    elif verb == "description":
        signals.append(
            signal(UPDATE, dedup_key, severity="", details={"description": _needed(body, "description")})
        )
    elif verb == "priority":
        severity, warning = severity_of(_needed(body, "priority"))
        if warning:
            raise Refusal("'priority' is invalid (must be one of P1, P2, P3, P4, P5)")
        signals.append(signal(UPDATE, dedup_key, severity=severity))
    elif verb == "details" and isinstance(body.get("details"), dict):
        signals.append(signal(UPDATE, dedup_key, severity="", details={"custom_details": body["details"]}))
    elif verb == "tags" and isinstance(body.get("tags"), list):
        signals.append(
            signal(
                UPDATE, dedup_key, severity="", details={"tags": [str(tag).strip() for tag in body["tags"]]}
            )
        )
    else:
        words = f"the sender asks to {verb}; people decide that here"
        signals.append(_note(dedup_key, f"{words}. {note}" if note else words))
    return Parsed(signals=signals, dedup_key=dedup_key)


def _note(dedup_key: str, text: str) -> dict[str, Any]:
    return {**signal(NOTE, dedup_key), "title": text}


def _needed(body: dict[str, Any], name: str) -> str:
    errors: list[str] = []
    text = _text(body, name, errors, required=True)
    if errors:
        raise Refusal(*errors)
    return text


def _text(body: dict[str, Any], name: str, errors: list[str], *, required: bool = False) -> str:
    value = body.get(name)
    if is_blank(value):
        if required:
            errors.append(f"'{name}' is missing or blank")
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        errors.append(f"'{name}' is invalid (must be a string)")
        return ""
    return str(value)
