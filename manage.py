#!/usr/bin/env python
"""The portal's commands; whoever has not named a database server gets one started."""

import os
import sys

from django.conf import settings
from django.core.management import execute_from_command_line

from compliance import database
from compliance.demo import environment

# All others, also ones that nobody has thought of yet, find the database up.
NEED_NO_DATABASE = ("help", "version", "check", "collectstatic", "diffsettings", "spectacular", "startapp")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance.settings")
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    if command == "demo":
        environment.set_defaults(sys.argv[2:])
    if not command.startswith("-") and command not in NEED_NO_DATABASE:
        folder = settings.EMBEDDED_DATABASE  # before the next line: reading the settings also reads .env
        if not os.environ.get("DATABASE_URL"):
            try:
                database.start(folder)
            except database.EmbeddedDatabaseError as error:
                sys.exit(str(error))
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
