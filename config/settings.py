"""Django's settings. What differs between machines comes from `config/env.py` and from nowhere else."""

import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
import dj_email_url

from config.env import BASE_DIR, SettingError, load
from core import servers

try:
    ENV = load()
except SettingError as error:
    sys.exit(f"muster: {error}")

# --- where things are -------------------------------------------------------------------------------------------

MUSTER_HOME: Path = ENV["MUSTER_HOME"]
MUSTER_PORT: int = ENV["MUSTER_PORT"]
MUSTER_HOST: str = ENV["MUSTER_HOST"]
MUSTER_BASE_URL: str = ENV["MUSTER_BASE_URL"] or f"http://localhost:{MUSTER_PORT}"
MUSTER_HEARTBEAT_URL: str = ENV["MUSTER_HEARTBEAT_URL"]
MUSTER_WEB_PROCESSES: int = ENV["MUSTER_WEB_PROCESSES"]
MUSTER_WEB_THREADS: int = ENV["MUSTER_WEB_THREADS"]
MUSTER_WORKERS: int = ENV["MUSTER_WORKERS"]
MUSTER_WORKER_THREADS: int = ENV["MUSTER_WORKER_THREADS"]
MUSTER_TIMEKEEPERS: int = ENV["MUSTER_TIMEKEEPERS"]
MUSTER_TRUSTED_PROXIES = ENV["MUSTER_TRUSTED_PROXIES"]
MUSTER_ALLOW_PRIVATE_WEBHOOKS: bool = ENV["MUSTER_ALLOW_PRIVATE_WEBHOOKS"]
MUSTER_METRICS_TOKEN: str = ENV["MUSTER_METRICS_TOKEN"]
MUSTER_DEMO: bool = ENV["MUSTER_DEMO"]

_HTTPS = urlsplit(MUSTER_BASE_URL).scheme == "https"


def _kept_secret() -> str:
    """The key in `MUSTER_HOME`, made on the first start; every process of this machine reads the same one."""
    path = MUSTER_HOME / "secret_key"
    try:
        MUSTER_HOME.mkdir(parents=True, exist_ok=True)
        try:
            with open(path, "x", opener=lambda name, flags: _os_open_private(name, flags)) as file:
                file.write(secrets.token_urlsafe(48))
        except FileExistsError:
            pass
        key = path.read_text().strip()
    except OSError as error:
        sys.exit(f"muster: MUSTER_HOME {MUSTER_HOME} cannot hold the secret key: {error.strerror}.")
    if not key:
        sys.exit(f"muster: {path} is empty; delete it, or set MUSTER_SECRET_KEY.")
    return key


def _os_open_private(name: str, flags: int) -> int:
    import os

    return os.open(name, flags, 0o600)


SECRET_KEY: str = ENV["MUSTER_SECRET_KEY"] or _kept_secret()
DEBUG: bool = ENV["MUSTER_DEBUG"]
ALLOWED_HOSTS = list(
    dict.fromkeys(
        [urlsplit(MUSTER_BASE_URL).hostname or "localhost", "localhost", "127.0.0.1", "[::1]", *ENV["MUSTER_ALLOWED_HOSTS"]]
    )
)

# --- applications -----------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.admin",
    "django.contrib.humanize",
    "pgtrigger",
    "django_htmx",
    "django_structlog",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "core",
    "accounts",
    "timers",
    "catalog",
    "oncall",
    "notifications",
    "incidents",
    "escalation",
    "metrics",
    "integrations",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- database ---------------------------------------------------------------------------------------------------

# Without an address both are the servers that `manage.py up` starts; their sockets follow from the home folder.
EMBEDDED_POSTGRES = not ENV["DATABASE_URL"]
EMBEDDED_VALKEY = not ENV["REDIS_URL"]

DATABASES = {"default": dj_database_url.parse(ENV["DATABASE_URL"] or servers.database_url(MUSTER_HOME))}
DATABASES["default"].update(
    ENGINE="django.db.backends.postgresql",
    CONN_MAX_AGE=0,
    CONN_HEALTH_CHECKS=True,  # the pool looks before it lends, so a restart of the database heals by itself
)
DATABASES["default"].setdefault("OPTIONS", {})
DATABASES["default"]["OPTIONS"].update(
    connect_timeout=3,
    application_name="muster",
    pool={"min_size": 0, "max_size": ENV["MUSTER_DB_POOL"], "timeout": 4, "max_idle": 300},
)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- redis and celery -------------------------------------------------------------------------------------------

REDIS_URL: str = ENV["REDIS_URL"] or servers.redis_url(MUSTER_HOME)

# --- people -----------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"

# --- mail -------------------------------------------------------------------------------------------------------

DEFAULT_FROM_EMAIL: str = ENV["MUSTER_FROM_EMAIL"]
SERVER_EMAIL = DEFAULT_FROM_EMAIL
EMAIL_TIMEOUT = 10
if ENV["EMAIL_URL"]:
    _email = dj_email_url.parse(ENV["EMAIL_URL"])
    EMAIL_BACKEND = _email["EMAIL_BACKEND"]
    EMAIL_HOST = _email["EMAIL_HOST"]
    EMAIL_PORT = _email["EMAIL_PORT"]
    EMAIL_HOST_USER = _email["EMAIL_HOST_USER"]
    EMAIL_HOST_PASSWORD = _email["EMAIL_HOST_PASSWORD"]
    EMAIL_USE_TLS = _email["EMAIL_USE_TLS"]
    EMAIL_USE_SSL = _email["EMAIL_USE_SSL"]
    EMAIL_FILE_PATH = _email["EMAIL_FILE_PATH"]
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = str(MUSTER_HOME / "mail")

# --- time, language, files --------------------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = BASE_DIR / "staticfiles"

# --- API --------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
