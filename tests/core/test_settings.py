"""Settings: read in one place, documented in one table, and a wrong one says so."""

import json
import logging
import re
import sys

import pytest
import structlog
from django.conf import settings

from config import env, logs


def documented() -> dict[str, tuple[str, str]]:
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| (.*?) \| (.*) \|$",
        (settings.BASE_DIR / "docs" / "settings.md").read_text(),
        re.MULTILINE,
    )
    return {name: (default, meaning) for name, default, meaning in rows}


def test_the_table_in_the_docs_is_the_table_in_the_code() -> None:
    assert documented() == {
        each.name: (f"`{each.default}`" if each.default else "", each.meaning) for each in env.SETTINGS
    }


def test_nothing_else_reads_the_environment() -> None:
    """Apart from the address of the settings themselves, and what child processes are given."""
    allowed = {"config/env.py", "manage.py"}
    readers = re.compile(r"os\.environ(?!\.setdefault\(\"DJANGO_SETTINGS_MODULE\")|os\.getenv")
    found = []
    for file in settings.BASE_DIR.glob("*/**/*.py"):
        name = str(file.relative_to(settings.BASE_DIR))
        if name.split("/")[0] in {".venv", "node_modules", "tests", "bench", "scripts"} or name in allowed:
            continue
        if readers.search(file.read_text()):
            found.append(name)
    assert found == []


def test_without_any_variable_every_setting_has_a_value() -> None:
    values = env.load({})
    assert set(values) == {each.name for each in env.SETTINGS}
    assert values["MUSTER_PORT"] == 8000
    assert values["MUSTER_ALLOWED_HOSTS"] == []


def test_an_empty_variable_counts_as_not_set() -> None:
    assert env.load({"MUSTER_PORT": "", "MUSTER_DEBUG": ""})["MUSTER_PORT"] == 8000


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MUSTER_PORT", "0", "MUSTER_PORT must be a whole number from 1 to 65535, not '0'."),
        ("MUSTER_SECRET_KEY", "hunter2", "MUSTER_SECRET_KEY must have at least 32 characters."),
        (
            "MUSTER_OIDC_ISSUER",
            "https://id.example.org",
            "MUSTER_OIDC_CLIENT_ID is needed with MUSTER_OIDC_ISSUER.",
        ),
        ("MUSTER_PORT", "-1", "MUSTER_PORT must be a whole number from 1 to 65535, not '-1'."),
        ("MUSTER_PORT", "8000.0", "MUSTER_PORT must be a whole number from 1 to 65535, not '8000.0'."),
        ("MUSTER_WEB_PROCESSES", "65", "MUSTER_WEB_PROCESSES must be a whole number from 1 to 64, not '65'."),
        (
            "MUSTER_BASE_URL",
            "muster.example.com",
            "MUSTER_BASE_URL must start with http:// or https://, not 'muster.example.com'.",
        ),
        ("MUSTER_BASE_URL", "https://", "MUSTER_BASE_URL names no host."),
        ("REDIS_URL", "http://x", "REDIS_URL must start with redis:// or rediss:// or unix://."),
        ("DATABASE_URL", "postgres://me:secret@host:port/x", "DATABASE_URL has a port that is not a number."),
        ("MUSTER_DEBUG", "perhaps", "MUSTER_DEBUG must be true or false, not 'perhaps'."),
        (
            "MUSTER_SMS_PROVIDERS",
            "twilio:AC1:tok",
            "MUSTER_SMS_PROVIDERS needs an account before the @ and from=… at address 1.",
        ),
        (
            "MUSTER_MESSAGE_LIMITS",
            "sms=5",
            "MUSTER_MESSAGE_LIMITS must be limits as sms=1/1,5/15 voice=3/15 (messages/minutes), or none, not 'sms=5'.",
        ),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_variable(name: str, value: str, said: str) -> None:
    with pytest.raises(env.SettingError) as refused:
        env.load({name: value})
    assert str(refused.value) == said


def test_a_wrong_proxy_is_named() -> None:
    with pytest.raises(env.SettingError, match=r"^MUSTER_TRUSTED_PROXIES must be addresses or networks"):
        env.load({"MUSTER_TRUSTED_PROXIES": "10.0.0.1, proxy"})


def line(caplog_record: logging.LogRecord, how: str) -> str:
    formatter = logs.settings(how=how, level="INFO")["formatters"]["muster"]
    make = formatter.pop("()")
    return make(**formatter).format(caplog_record)


@pytest.mark.parametrize("how", ["plain", "json"])
def test_a_log_line_holds_no_key_no_token_and_no_local_variable(how: str) -> None:
    key = "0123456789abcdef0123456789abcdef"
    structlog.contextvars.clear_contextvars()
    try:
        password = "hunter2"
        raise ValueError(f"no answer from redis://me:{password}@host")
    except ValueError:
        record = logging.getLogger("x").makeRecord(
            "x",
            logging.ERROR,
            "f.py",
            1,
            "Not Found: /api/v1/integrations/webhook/%s/",
            (key,),
            sys.exc_info(),
        )
    told = line(record, how)
    assert key not in told
    assert "Not Found: /api/v1/integrations/webhook/…/" in told
    assert "hunter2" not in told
    assert "redis://me:…@host" in told
    if how == "json":
        assert json.loads(told)["level"] == "error"
