"""Prometheus Alertmanager's webhook, version 4: a whole group at a time, each alert with its own status."""

import hashlib
import json
from typing import Any

from integrations.rules import (
    LONGEST_KEY,
    RESOLVE,
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

_ACTIONS = {"firing": TRIGGER, "resolved": RESOLVE}
_LINKS = (
    ("runbook_url", "Runbook"),
    ("runbook", "Runbook"),
    ("dashboard_url", "Dashboard"),
    ("dashboard", "Dashboard"),
)

_GRAFANA_LINKS = (("panelURL", "Panel"), ("dashboardURL", "Dashboard"), ("silenceURL", "Silence in Grafana"))


def parse(body: dict[str, Any], *, expected: str = "4", sender: str = "Alertmanager") -> Parsed:
    """Identity is the fingerprint, whatever `startsAt` says; the group is `groupKey`."""
    alerts = body.get("alerts")
    if alerts is None:
        raise Refusal(f"'alerts' is missing: this address takes {sender}'s webhook body, version {expected}")
    if not isinstance(alerts, list):
        raise Refusal("'alerts' is invalid (must be an array)")
    group_key = _key(body.get("groupKey"), "groupKey")
    errors: list[str] = []
    warnings: list[str] = []
    version = body.get("version")
    if version is not None and str(version) != expected:
        warnings.append(f"Version {cut(str(version), 20)!r} is read as if it were {expected}")
    signals = []
    for place, alert in enumerate(alerts):
        try:
            signals.append(_signal(alert, f"alerts[{place}]", body, group_key, warnings, sender=sender))
        except Refusal as refusal:
            errors += refusal.errors
    if errors:
        raise Refusal(*errors)
    left_out = body.get("truncatedAlerts")
    if isinstance(left_out, int) and left_out > 0:
        warnings.append(f"The sender left out {left_out} alerts of this group")
    only = signals[0]["dedup_key"] if len(signals) == 1 else group_key
    return Parsed(signals=signals, dedup_key=only, warnings=list(dict.fromkeys(warnings)))


def _signal(
    alert: Any, path: str, body: dict[str, Any], group_key: str, warnings: list[str], *, sender: str
) -> dict[str, Any]:
    if not isinstance(alert, dict):
        raise Refusal(f"'{path}' is invalid (must be an object)")
    status = alert.get("status") or body.get("status") or "firing"
    action = _ACTIONS.get(status) if isinstance(status, str) else None
    if action is None:
        raise Refusal(f"'{path}.status' is invalid (must be 'firing' or 'resolved')")
    labels = _strings(alert, "labels", path)
    annotations = _strings(alert, "annotations", path)
    fingerprint = _key(alert.get("fingerprint"), f"{path}.fingerprint") or _fingerprint_of(labels, group_key)
    if action == RESOLVE:
        return signal(RESOLVE, fingerprint, group_key=group_key)
    starts_at = time_of(alert.get("startsAt"))
    if starts_at is None and not is_blank(alert.get("startsAt")):
        warnings.append(
            f"startsAt {cut(str(alert['startsAt']), 60)!r} is not a time: the time of arrival counts"
        )
    severity, warning = severity_of(labels.get("severity") or labels.get("priority"))
    if warning:
        warnings.append(warning)
    details: dict[str, Any] = {"labels": labels, "annotations": annotations}
    if not is_blank(body.get("receiver")):
        details["receiver"] = str(body["receiver"])
    if isinstance(alert.get("values"), dict) and alert["values"]:
        details["values"] = alert["values"]
    if is_web_address(alert.get("imageURL")):
        details["images"] = [{"src": alert["imageURL"].strip(), "alt": "Panel", "href": ""}]
    return signal(
        TRIGGER,
        fingerprint,
        title=_title(labels, annotations),
        severity=severity,
        source=labels.get("instance") or labels.get("job") or sender,
        details=details,
        links=[
            *(found for name, text in _LINKS for found in link(annotations.get(name), text)),
            *link(alert.get("generatorURL"), "Graph"),
            *(found for name, text in _GRAFANA_LINKS for found in link(alert.get(name), text)),
            *link(body.get("externalURL"), sender),
        ],
        group_key=group_key,
        episode_at=starts_at,
    )


def _title(labels: dict[str, str], annotations: dict[str, str]) -> str:
    for name in ("summary", "title", "message", "description"):
        if lines := annotations.get(name, "").strip().splitlines():
            return lines[0]
    name = labels.get("alertname", "").strip() or "Alert without a name"
    where = labels.get("instance") or labels.get("job") or ""
    return f"{name} on {where}" if where else name


def _strings(alert: dict[str, Any], name: str, path: str) -> dict[str, str]:
    value = alert.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(f"'{path}.{name}' is invalid (must be an object)")
    return {
        key: item if isinstance(item, str) else "" if item is None else json.dumps(item, ensure_ascii=False)
        for key, item in value.items()
    }


def _key(value: Any, path: str) -> str:
    """A key that fits its column; a longer one keeps its beginning for people and a digest for identity."""
    if is_blank(value):
        return ""
    if not isinstance(value, str):
        raise Refusal(f"'{path}' is invalid (must be a string)")
    if len(value) <= LONGEST_KEY:
        return value
    return f"{value[: LONGEST_KEY - 66]}#{hashlib.sha256(value.encode()).hexdigest()}"


def _fingerprint_of(labels: dict[str, str], group_key: str) -> str:
    identity = json.dumps([group_key if not labels else "", labels], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:16]
