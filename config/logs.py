"""Log lines: plain for people or one JSON object each, and never with a secret in them."""

import logging
import re
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SECRET_NAMES = re.compile(
    r"password|passwd|secret|token|routing_key|api_key|authorization|cookie", re.IGNORECASE
)
# Integration keys and acknowledge links are part of a path; whoever reads the log must not be able to use
# them.
LONG_SEGMENT = re.compile(r"(?<=/)[A-Za-z0-9_:\-.]{20,}(?=[/?\s'\"]|$)")
IN_ADDRESS = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")


def _hide(value: Any) -> Any:
    if isinstance(value, str):
        return IN_ADDRESS.sub(r"\1:…@", LONG_SEGMENT.sub("…", value))
    return value


def hide_secrets(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        event[key] = "…" if SECRET_NAMES.search(key) else _hide(value)
    return event


def settings(*, how: str, level: str) -> dict[str, Any]:
    """Django's LOGGING. Standard loggers and structlog's go through the same processors."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(allow=["status_code"]),
    ]
    if how == "json":
        last: list[Processor] = [
            structlog.processors.format_exc_info,
            hide_secrets,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        # Plain tracebacks: the pretty ones show every local variable, secrets among them.
        console = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        last = [structlog.processors.format_exc_info, hide_secrets, console]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared[1:4],
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "muster": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
            }
        },
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "muster"}},
        "root": {"handlers": ["out"], "level": level},
        "loggers": {
            "django": {"level": max(level, "INFO", key=logging.getLevelName)},
            "django.server": {"propagate": True, "handlers": []},
            "celery": {"level": max(level, "INFO", key=logging.getLevelName)},
            # Each task twice at INFO would drown the rest.
            "celery.app.trace": {"level": max(level, "WARNING", key=logging.getLevelName)},
            "celery.worker.strategy": {"level": max(level, "WARNING", key=logging.getLevelName)},
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
        },
    }
