"""PagerDuty Events API v2: alert events and change events, as its clients send them."""

import uuid
from typing import Any

from integrations.rules import (
    ACKNOWLEDGE,
    CHANGE,
    LONGEST_SOURCE,
    RESOLVE,
    SEVERITIES,
    TRIGGER,
    Parsed,
    Refusal,
    cut,
    is_blank,
    is_web_address,
    link,
    signal,
    time_of,
)

KEY_LENGTH = 32
LONGEST_DEDUP_KEY = 255
LONGEST_SUMMARY = 1024


def key_of(body: dict[str, Any]) -> str:
    """The routing key. Raises Refusal in the sender's words."""
    key = body.get("routing_key")
    if is_blank(key):
        raise Refusal("'routing_key' is missing or blank")
    if not isinstance(key, str):
        raise Refusal("'routing_key' is invalid (must be a string)")
    if len(key) != KEY_LENGTH:
        raise Refusal("Length of 'routing_key' is incorrect (should be 32 characters)")
    return key


def parse(body: dict[str, Any]) -> Parsed:
    errors: list[str] = []
    action = body.get("event_action")
    if is_blank(action):
        errors.append("'event_action' is missing or blank")
    elif action not in (TRIGGER, ACKNOWLEDGE, RESOLVE):
        errors.append(
            "'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')"
        )
    dedup_key = _dedup_key(body, errors, required=action in (ACKNOWLEDGE, RESOLVE))
    if action in (ACKNOWLEDGE, RESOLVE):
        # Whatever else comes with these is ignored: some clients repeat the trigger's payload, some send rubbish.
        if errors:
            raise Refusal(*errors)
        return Parsed(signals=[signal(action, dedup_key)], dedup_key=dedup_key)

    payload = _payload(body, errors)
    warnings: list[str] = []
    severity = payload.get("severity")
    if payload:
        if is_blank(severity):
            errors.append("'payload.severity' is missing or blank")
        elif severity not in SEVERITIES:
            errors.append(
                "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')"
            )
    source = _text(payload, "source", "payload.source", errors, required=bool(payload))
    details = _details(payload, body, errors)
    links = _links(body, errors, warnings)
    images = _images(body, errors, warnings)
    if errors:
        raise Refusal(*errors)
    if images:
        details["images"] = images
    _check_time(payload, details, warnings)
    dedup_key = dedup_key or uuid.uuid4().hex
    return Parsed(
        signals=[
            signal(
                TRIGGER,
                dedup_key,
                title=payload["summary"].strip(),
                severity=severity,
                source=source.strip(),
                details=details,
                links=links,
            )
        ],
        dedup_key=dedup_key,
        warnings=warnings,
    )


def parse_change(body: dict[str, Any]) -> Parsed:
    errors: list[str] = []
    warnings: list[str] = []
    payload = _payload(body, errors)
    source = _text(payload, "source", "payload.source", errors)
    details = _object(payload, "custom_details", "payload.custom_details", errors)
    links = _links(body, errors, warnings)
    if errors:
        raise Refusal(*errors)
    at = time_of(payload.get("timestamp"))
    if at is None and not is_blank(payload.get("timestamp")):
        warnings.append(
            f"Timestamp {cut(str(payload['timestamp']), 60)!r} is not a time: the time of arrival counts"
        )
    change = {
        "action": CHANGE,
        "summary": payload["summary"].strip(),
        "source": cut(source.strip(), LONGEST_SOURCE),
        "details": details,
        "links": links,
        "occurred_at": at.isoformat() if at else None,
    }
    return Parsed(signals=[change], warnings=warnings)


def _dedup_key(body: dict[str, Any], errors: list[str], *, required: bool) -> str:
    value = body.get("dedup_key")
    if is_blank(value):
        if required:
            errors.append("'dedup_key' is missing or blank")
        return ""
    if not isinstance(value, str):
        errors.append("'dedup_key' is invalid (must be a string)")
        return ""
    if len(value) > LONGEST_DEDUP_KEY:
        errors.append(f"'dedup_key' is too long (maximum is {LONGEST_DEDUP_KEY} characters)")
    return value


def _payload(body: dict[str, Any], errors: list[str]) -> dict[str, Any]:
    """The payload with its summary checked, or an empty one and an error."""
    payload = body.get("payload")
    if payload is None or payload == {} or payload == "":
        errors.append("'payload' is missing or blank")
        return {}
    if not isinstance(payload, dict):
        errors.append("'payload' is invalid (must be an object)")
        return {}
    summary = _text(payload, "summary", "payload.summary", errors, required=True)
    if len(summary) > LONGEST_SUMMARY:
        errors.append(f"'payload.summary' is too long (maximum is {LONGEST_SUMMARY} characters)")
    return payload


def _text(holder: dict[str, Any], name: str, path: str, errors: list[str], *, required: bool = False) -> str:
    value = holder.get(name)
    if is_blank(value):
        if required:
            errors.append(f"'{path}' is missing or blank")
        return ""
    if not isinstance(value, str):
        errors.append(f"'{path}' is invalid (must be a string)")
        return ""
    return value


def _object(holder: dict[str, Any], name: str, path: str, errors: list[str]) -> dict[str, Any]:
    value = holder.get(name)
    if is_blank(value):
        return {}
    if not isinstance(value, dict):
        errors.append(f"'{path}' is invalid (must be an object)")
        return {}
    return value


def _details(payload: dict[str, Any], body: dict[str, Any], errors: list[str]) -> dict[str, Any]:
    details: dict[str, Any] = {}
    for name in ("component", "group", "class"):
        if text := _text(payload, name, f"payload.{name}", errors):
            details[name] = text
    if custom := _object(payload, "custom_details", "payload.custom_details", errors):
        details["custom_details"] = custom
    if client := _text(body, "client", "client", errors):
        details["client"] = client
    if client_url := _text(body, "client_url", "client_url", errors):
        details["client_url"] = client_url
    return details


def _items(body: dict[str, Any], name: str, needs: str, errors: list[str]) -> list[dict[str, Any]]:
    value = body.get(name)
    if is_blank(value):
        return []
    if not isinstance(value, list):
        errors.append(f"'{name}' is invalid (must be an array)")
        return []
    found = []
    for place, item in enumerate(value):
        if not isinstance(item, dict):
            errors.append(f"'{name}[{place}]' is invalid (must be an object)")
        elif _text(item, needs, f"{name}[{place}].{needs}", errors, required=True):
            found.append(item)
    return found


def _links(body: dict[str, Any], errors: list[str], warnings: list[str]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for place, item in enumerate(_items(body, "links", "href", errors)):
        text = _text(item, "text", f"links[{place}].text", errors)
        if is_web_address(item["href"]):
            found += link(item["href"], text)
        else:
            warnings.append(f"Link {cut(item['href'], 60)!r} left out: not an http address")
    client_url = body.get("client_url")
    if is_web_address(client_url):
        client = body.get("client")
        found += link(client_url, client if isinstance(client, str) and client else "Source")
    return found


def _images(body: dict[str, Any], errors: list[str], warnings: list[str]) -> list[dict[str, str]]:
    found = []
    for place, item in enumerate(_items(body, "images", "src", errors)):
        alt = _text(item, "alt", f"images[{place}].alt", errors)
        href = _text(item, "href", f"images[{place}].href", errors)
        if is_web_address(item["src"]):
            found.append(
                {"src": item["src"].strip(), "alt": alt, "href": href if is_web_address(href) else ""}
            )
        else:
            warnings.append(f"Image {cut(item['src'], 60)!r} left out: not an http address")
    return found


def _check_time(payload: dict[str, Any], details: dict[str, Any], warnings: list[str]) -> None:
    """The sender's time is kept to read. It decides nothing: half the senders leave out the zone."""
    value = payload.get("timestamp")
    if is_blank(value):
        return
    at = time_of(value)
    if at is None:
        warnings.append(f"Timestamp {cut(str(value), 60)!r} is not a time: the time of arrival counts")
    details["timestamp"] = at.isoformat() if at else cut(str(value), 100)
