"""The WSGI application that gunicorn serves."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from compliance import database

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance.settings")
folder = settings.EMBEDDED_DATABASE  # before the next line: reading the settings also reads .env
if not os.environ.get("DATABASE_URL"):
    database.start(folder)

application = get_wsgi_application()
