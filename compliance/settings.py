"""Every setting of the portal, read from the environment here and nowhere else.

Unset means safe: no DEBUG, no default SECRET_KEY, HTTPS-only cookies. The README lists each name.
"""

from pathlib import Path

import environ

from compliance import database

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env_file = BASE_DIR / ".env"
if env_file.exists():
    environ.Env.read_env(env_file)

SECRET_KEY = env.str("SECRET_KEY")  # no default: the portal does not start without one
# Former values of SECRET_KEY: what they signed and sealed is still read, and nothing new is made with them.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
DEBUG = env.bool("DEBUG", default=False)
DEMO = env.bool("DEMO", default=False)  # the phone simulator is there, cookies travel over plain HTTP
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
# Scheme and host as carriers and browsers reach the portal. Signatures are computed over this
# address: behind a proxy, Host and scheme of the request are not what the carrier signed.
PUBLIC_URL = env.str("PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[PUBLIC_URL])

CARRIER_TIMEOUT = env.int("CARRIER_TIMEOUT", default=10)  # seconds until a send counts as failed
WORKER_THREADS = env.int("WORKER_THREADS", default=4)  # texts handed over at the same time by one worker
WEBHOOK_MAX_BYTES = env.int("WEBHOOK_MAX_BYTES", default=4 * 1024 * 1024)  # larger requests: 413
DATA_UPLOAD_MAX_MEMORY_SIZE = WEBHOOK_MAX_BYTES

METRICS_TOKEN = env.str("METRICS_TOKEN", default="")  # who may read /metrics; unset: nobody

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "compliance.apps.ComplianceConfig",
    "messaging.apps.MessagingConfig",
    "offices.apps.OfficesConfig",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "compliance.urls"
WSGI_APPLICATION = "compliance.wsgi.application"
ASGI_APPLICATION = "compliance.asgi.application"

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
    },
]

# PostgreSQL only: an embedded real one under var/ unless a server is named.
EMBEDDED_DATABASE = BASE_DIR / "var" / "postgres"
if env.str("DATABASE_URL", default=""):
    DATABASES = {"default": env.db_url("DATABASE_URL", engine="django.db.backends.postgresql")}
else:
    DATABASES = {"default": database.connection(EMBEDDED_DATABASE)}
DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=60)  # seconds; a fresh one costs 9 ms
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "offices.User"
AUTHENTICATION_BACKENDS = ["offices.login.EmailBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

LANGUAGE_CODE = "en-us"
TIME_ZONE = env.str("TIME_ZONE", default="America/New_York")  # how times are shown; stored in UTC
USE_I18N = False
FORMAT_MODULE_PATH = ["compliance.formats"]
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "var" / "static"
STATICFILES_DIRS = [BASE_DIR / "compliance" / "static"]
WHITENOISE_USE_FINDERS = DEBUG or DEMO  # from where they are, so that nothing has to be collected
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG or DEMO
            else "whitenoise.storage.CompressedManifestStaticFilesStorage"
        )
    },
}

# Plain HTTP is for the demo, tests and development only.
SECURE = env.bool("SECURE", default=not (DEBUG or DEMO))
SESSION_COOKIE_SECURE = SECURE
CSRF_COOKIE_SECURE = SECURE
SECURE_SSL_REDIRECT = False  # the proxy in front does it; a carrier's POST must not be redirected
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", default=False) else None
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31_536_000) if SECURE else 0
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # subdomains of the portal's host are not ours to bind to HTTPS
    "security.W008",  # the proxy redirects to HTTPS, see above
    "security.W019",  # frames of our own origin are wanted, see below
    "security.W021",  # nor to enter into browsers' preload lists
]
SESSION_COOKIE_AGE = env.int("SESSION_COOKIE_AGE", default=12 * 3600)  # seconds
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "SAMEORIGIN"  # the simulator shows the sender's page beside the phone
SECURE_REFERRER_POLICY = "same-origin"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["messaging.api_auth.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["messaging.api_auth.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "messaging.problems.problem_response",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "SMS opt-out portal",
    "DESCRIPTION": "May this text go from this number to this person? Ask, send, and read the record.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    # It names every address it asks, and some carriers' hold ids that are nobody's business.
    "loggers": {"httpx": {"level": "WARNING"}},
}

# The callables and the sidebar live in compliance/theme.py.
UNFOLD = {
    "SITE_TITLE": "Opt-out portal",
    "SITE_HEADER": "Opt-out portal",
    "SITE_SUBHEADER": "SMS consent and compliance",
    "SITE_SYMBOL": "sms_failed",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "LOGIN": {"form": "offices.login.SignInForm"},
    "DASHBOARD_CALLBACK": "compliance.dashboard.dashboard",
    "ENVIRONMENT": "compliance.theme.environment_badge",
    "STYLES": ["compliance.theme.stylesheet"],
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "compliance.theme.favicon"}],
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": "compliance.theme.navigation",
    },
    "COLORS": {
        "primary": {
            "50": "240 249 255",
            "100": "224 242 254",
            "200": "186 230 253",
            "300": "125 211 252",
            "400": "56 189 248",
            "500": "14 143 208",
            "600": "2 112 172",
            "700": "3 91 140",
            "800": "7 75 114",
            "900": "12 61 94",
            "950": "8 38 63",
        },
    },
}
