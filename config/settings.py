"""Django's settings. What differs between machines comes from `config/env.py` and from nowhere else."""

import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import dj_database_url
import dj_email_url

from config import logs
from config.env import BASE_DIR, SHORTEST_KEY, SettingError, load
from core import servers

try:
    ENV = load()
except SettingError as error:
    sys.exit(f"muster: {error}")

# --- where things are ---------------------------------------------------------------------------------------

MUSTER_HOME: Path = ENV["MUSTER_HOME"]
MUSTER_PORT: int = ENV["MUSTER_PORT"]
MUSTER_HOST: str = ENV["MUSTER_HOST"]
MUSTER_BASE_URL: str = ENV["MUSTER_BASE_URL"] or f"http://localhost:{MUSTER_PORT}"
MUSTER_HEARTBEAT_URL: str = ENV["MUSTER_HEARTBEAT_URL"]
MUSTER_WEB_PROCESSES: int = ENV["MUSTER_WEB_PROCESSES"]
MUSTER_WEB_THREADS: int = ENV["MUSTER_WEB_THREADS"]
MUSTER_WORKERS: int = ENV["MUSTER_WORKERS"]
MUSTER_WORKER_PROCESSES: int = ENV["MUSTER_WORKER_PROCESSES"]
MUSTER_TIMEKEEPERS: int = ENV["MUSTER_TIMEKEEPERS"]
MUSTER_TRUSTED_PROXIES = ENV["MUSTER_TRUSTED_PROXIES"]
MUSTER_ALLOW_PRIVATE_WEBHOOKS: bool = ENV["MUSTER_ALLOW_PRIVATE_WEBHOOKS"]
MUSTER_REPLY_DOMAIN: str = ENV["MUSTER_REPLY_DOMAIN"]
MUSTER_REPLY_SECRET: str = ENV["MUSTER_REPLY_SECRET"]
MUSTER_VAPID_PRIVATE_KEY = ENV["MUSTER_VAPID_PRIVATE_KEY"]  # None: derived from the secret key
MUSTER_UPDATE_MINUTES: list[int] = ENV["MUSTER_UPDATE_MINUTES"]  # SEV1 first
MUSTER_PUBLIC_STATUS: bool = ENV["MUSTER_PUBLIC_STATUS"]
MUSTER_READINESS: str = ENV["MUSTER_READINESS"]
MUSTER_REVERIFY_DAYS: int = ENV["MUSTER_REVERIFY_DAYS"]
MUSTER_ATTACHMENT_MB: int = ENV["MUSTER_ATTACHMENT_MB"]
MUSTER_EMBED_ORIGINS: list[str] = ENV["MUSTER_EMBED_ORIGINS"]
MUSTER_METRICS_TOKEN: str = ENV["MUSTER_METRICS_TOKEN"]
MUSTER_DEMO: bool = ENV["MUSTER_DEMO"]
MUSTER_LOG_LEVEL: str = ENV["MUSTER_LOG_LEVEL"]

_HTTPS = urlsplit(MUSTER_BASE_URL).scheme == "https"


def _kept_secret() -> str:
    """The key in `MUSTER_HOME`, made on the first start; every process of this machine reads the same one."""
    path = MUSTER_HOME / "secret_key"
    try:
        MUSTER_HOME.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Written beside and then linked: two that start at once agree, and nobody ever reads half a key.
            draft = path.with_name(f"secret_key.{os.getpid()}")
            with open(draft, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(secrets.token_urlsafe(48))
            with suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        key = path.read_text().strip()
    except OSError as error:
        sys.exit(f"muster: MUSTER_HOME {MUSTER_HOME} cannot hold the secret key: {error.strerror}.")
    if len(key) < SHORTEST_KEY:
        sys.exit(f"muster: {path} holds no key; delete the file, or set MUSTER_SECRET_KEY.")
    return key


SECRET_KEY: str = ENV["MUSTER_SECRET_KEY"] or _kept_secret()
DEBUG: bool = ENV["MUSTER_DEBUG"]
ALLOWED_HOSTS = list(
    dict.fromkeys(
        [
            urlsplit(MUSTER_BASE_URL).hostname or "localhost",
            "localhost",
            "127.0.0.1",
            "[::1]",
            *ENV["MUSTER_ALLOWED_HOSTS"],
        ]
    )
)

# --- applications -------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "pgtrigger",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "rest_framework",
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
    "runbooks",
    "metrics",
    "integrations",
    "readiness",
    "demo",
]

MIDDLEWARE = [
    "core.middleware.Headers",
    "integrations.middleware.doorstep",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "core.middleware.Compression",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "core.middleware.Failures",
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
                "core.context_processors.frame",
                "incidents.context_processors.bell",
            ],
        },
    }
]

# --- database -----------------------------------------------------------------------------------------------

# Without an address both are the servers that `manage.py up` starts; their sockets follow from the home
# folder.
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
    pool={"min_size": 0, "max_size": ENV["MUSTER_DB_POOL"], "timeout": 2, "max_idle": 300},
)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- redis and celery ---------------------------------------------------------------------------------------

REDIS_URL: str = ENV["REDIS_URL"] or servers.redis_url(MUSTER_HOME)

CACHES = {
    "default": {
        "BACKEND": "core.cache.ForgivingCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "muster",
        "OPTIONS": {"socket_connect_timeout": 0.5, "socket_timeout": 0.5},
    }
}

_redis = urlsplit(REDIS_URL)
CELERY_BROKER_URL = (
    f"redis+socket://{_redis.path}?virtual_host={parse_qs(_redis.query).get('db', ['0'])[0]}"
    if _redis.scheme == "unix"
    else REDIS_URL
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # workers wait for a broker for as long as it takes
CELERY_BROKER_CONNECTION_TIMEOUT = 0.5
CELERY_BROKER_HEARTBEAT = 0
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # No ETA is further away than the timekeeper's horizon, and no task runs longer than this.
    "visibility_timeout": 120,
    "priority_steps": [0],
    "socket_connect_timeout": 0.5,
    "socket_timeout": 1,
    "socket_keepalive": True,
    "health_check_interval": 20,
    # Who publishes does not wait for a broker that is away; the timekeeper does what was not published.
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
    "connect_retries_timeout": 0.5,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_BACKEND = None
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_CONSUMER = "config.worker:Eager"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_DISABLE_RATE_LIMITS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_TIMEZONE = "UTC"

# --- people -------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
# One backend: with Django's own beside it a wrong password would be hashed twice.
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"  # an acknowledge link in a mail is opened from outside
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "muster_session", "muster_csrf"
CSRF_TRUSTED_ORIGINS = [MUSTER_BASE_URL]
SECURE_HSTS_SECONDS = 31_536_000 if _HTTPS else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_AGE = 14 * 86_400

ACCOUNT_ADAPTER = "accounts.adapters.ClosedAccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # admins make accounts; ways to be paged are verified on their own
ACCOUNT_CHANGE_EMAIL = True  # one address, which changes when the link sent to the new one is opened
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[Muster] "
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_LOGOUT_REDIRECT_URL = LOGIN_URL
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if _HTTPS else "http"
ACCOUNT_RATE_LIMITS = {"login": "60/m/ip", "login_failed": "20/m/ip,5/5m/key"}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Muster"

SOCIALACCOUNT_ADAPTER = "accounts.adapters.ClosedSocialAccountAdapter"
# Whom the provider calls by a verified address signs in as the person with that address; nobody is created.
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_PROVIDERS: dict[str, dict] = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": []}}
if ENV["MUSTER_OIDC_ISSUER"]:
    SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"].append(
        {
            "provider_id": "sso",
            "name": ENV["MUSTER_OIDC_NAME"],
            "client_id": ENV["MUSTER_OIDC_CLIENT_ID"],
            "secret": ENV["MUSTER_OIDC_CLIENT_SECRET"],
            "settings": {"server_url": ENV["MUSTER_OIDC_ISSUER"]},
        }
    )

# --- mail ---------------------------------------------------------------------------------------------------

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

# --- phones ---------------------------------------------------------------------------------------------------

MUSTER_SMS_PROVIDERS = ENV["MUSTER_SMS_PROVIDERS"]
MUSTER_VOICE_PROVIDERS = ENV["MUSTER_VOICE_PROVIDERS"]
MUSTER_PHONE_CALLBACKS: bool = ENV["MUSTER_PHONE_CALLBACKS"]
MUSTER_MESSAGE_LIMITS = ENV["MUSTER_MESSAGE_LIMITS"]
MUSTER_BUNDLE_SECONDS: int = ENV["MUSTER_BUNDLE_SECONDS"]

# --- time, language, files ----------------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.static.Storage"},
}
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_USE_FINDERS = DEBUG

# A body of the largest size that a sender of alerts may use, with room for its form.
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024

# --- logs ---------------------------------------------------------------------------------------------------

LOGGING_CONFIG = "logging.config.dictConfig"
LOGGING = logs.settings(how=ENV["MUSTER_LOG_FORMAT"], level=MUSTER_LOG_LEVEL)

# --- API ----------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.permissions.RolePermission"],
    "DEFAULT_PARSER_CLASSES": ["core.api.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "core.api.CursorPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "core.api.AlwaysJSON",
    "EXCEPTION_HANDLER": "core.api.exception_handler",
    "DEFAULT_METADATA_CLASS": "core.api.Metadata",
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Muster",
    "DESCRIPTION": "Incidents, who is called to them and what happened. Send `Authorization: Bearer muster_…`; "
    "people make tokens on their profile page.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["accounts.permissions.RolePermission"],
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "POSTPROCESSING_HOOKS": ["core.api.declare_errors"],
}
