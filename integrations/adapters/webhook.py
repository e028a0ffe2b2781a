"""Whatever a script or a notifier posts: the fields that we know are used, the rest is kept to read."""

import uuid
from typing import Any

from integrations.rules import (
    ACKNOWLEDGE,
    LONGEST_KEY,
    RESOLVE,
    SEVERITIES,
    TRIGGER,
    Parsed,
    Refusal,
    cut,
    is_blank,
    is_web_address,
    link,
    severity_of,
    signal,
    time_of,
)

_ACTIONS = {TRIGGER: TRIGGER, ACKNOWLEDGE: ACKNOWLEDGE, RESOLVE: RESOLVE}
# `status` and `state` are conventions of monitoring programs: understood when they say something about the alert.
_STATUS = {
    **dict.fromkeys(
        ("firing", "alerting", "problem", "down", "open", "triggered", "trigger", "active"), TRIGGER
    ),
    **dict.fromkeys(("acknowledged", "acknowledge", "ack"), ACKNOWLEDGE),
    **dict.fromkeys(
        ("resolved", "resolve", "ok", "up", "closed", "recovered", "recovery", "cleared"), RESOLVE
    ),
}
_NOTIFIER_TYPES = {"failure": "error", "warning": "warning", "info": "info", "success": "info"}
_TITLES = ("title", "summary", "subject", "message", "name", "text", "body", "description")
_DESCRIPTIONS = ("message", "description", "body", "text")
_KEYS = ("dedup_key", "incident_key", "alias", "fingerprint")
_LINK_FIELDS = ("url", "link", "href", "client_url", "runbook_url", "dashboard_url")
_TEXT_FIELDS = ("title", "source", "group_key")


def parse(body: dict[str, Any]) -> Parsed:
    if not body:
        raise Refusal('The object is empty: send at least "title"')
    errors: list[str] = []
    warnings: list[str] = []
    for name in _TEXT_FIELDS:
        if isinstance(body.get(name), dict | list):
            errors.append(f"'{name}' is invalid (must be a string)")
    action = _action(body, errors)
    dedup_key = _dedup_key(body, errors)
    if not dedup_key and action != TRIGGER and not errors:
        errors.append(f"'dedup_key' is missing or blank: {action} has to name the alert")
    severity, warning = _severity(body, errors)
    if warning:
        warnings.append(warning)
    if errors:
        raise Refusal(*errors)
    if action != TRIGGER:
        return Parsed(signals=[signal(action, dedup_key)], dedup_key=dedup_key)

    title = _title(body)
    dedup_key = dedup_key or uuid.uuid4().hex
    details = {key: value for key, value in body.items() if key not in ("title", "links", *_KEYS)}
    group_key = body.get("group_key")
    at = time_of(body.get("timestamp"))
    if at is None and not is_blank(body.get("timestamp")):
        warnings.append(
            f"Timestamp {cut(str(body['timestamp']), 60)!r} is not a time: the time of arrival counts"
        )
    return Parsed(
        signals=[
            signal(
                TRIGGER,
                dedup_key,
                title=title,
                severity=severity,
                source="" if is_blank(body.get("source")) else str(body["source"]).strip(),
                details=details,
                links=_links(body),
                group_key="" if is_blank(group_key) else cut(str(group_key), LONGEST_KEY),
            )
        ],
        dedup_key=dedup_key,
        warnings=warnings,
    )


def _action(body: dict[str, Any], errors: list[str]) -> str:
    value = body.get("event_action")
    if not is_blank(value):
        found = _ACTIONS.get(value.strip().lower()) if isinstance(value, str) else None
        if found is None:
            errors.append("'event_action' is invalid (must be 'trigger', 'acknowledge' or 'resolve')")
        return found or TRIGGER
    for name in ("action", "status", "state"):
        value = body.get(name)
        if isinstance(value, str) and value.strip().lower() in _STATUS:
            found = _STATUS[value.strip().lower()]
            # Without a key there is nothing to close: then "status: ok" is news like any other.
            if found == TRIGGER or any(not is_blank(body.get(key)) for key in _KEYS):
                return found
    return TRIGGER


def _dedup_key(body: dict[str, Any], errors: list[str]) -> str:
    for name in _KEYS:
        value = body.get(name)
        if is_blank(value):
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            errors.append(f"'{name}' is invalid (must be a string)")
            return ""
        if len(str(value)) > LONGEST_KEY:
            errors.append(f"'{name}' is too long (maximum is {LONGEST_KEY} characters)")
            return ""
        return str(value)
    return ""


def _severity(body: dict[str, Any], errors: list[str]) -> tuple[str, str]:
    for name in ("severity", "priority", "level"):
        value = body.get(name)
        if isinstance(value, dict | list):
            errors.append(f"'{name}' is invalid (must be one of {', '.join(SEVERITIES)})")
            return "error", ""
        if not is_blank(value):
            return severity_of(value)
    kind = body.get("type")
    return (_NOTIFIER_TYPES.get(kind.strip().lower(), "error") if isinstance(kind, str) else "error"), ""


def _title(body: dict[str, Any]) -> str:
    for name in _TITLES:
        value = body.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip().splitlines()[0]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    said = [f"{key}: {value}" for key, value in body.items() if isinstance(value, str | int | float)][:3]
    return cut(f"Alert without a title ({', '.join(said)})" if said else "Alert without a title", 200)


def _links(body: dict[str, Any]) -> list[dict[str, str]]:
    found = [
        entry
        for name in _LINK_FIELDS
        for entry in link(body.get(name), name.removesuffix("_url").capitalize())
    ]
    listed = body.get("links")
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, dict) and is_web_address(item.get("href")):
            text = item.get("text")
            found += link(item["href"], text if isinstance(text, str) else "")
        elif isinstance(item, str):
            found += link(item)
    return found
