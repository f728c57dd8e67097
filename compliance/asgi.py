"""The ASGI application, for servers that prefer it."""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application

from compliance import database

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance.settings")
folder = settings.EMBEDDED_DATABASE  # before the next line: reading the settings also reads .env
if not os.environ.get("DATABASE_URL"):
    database.start(folder)

application = get_asgi_application()
