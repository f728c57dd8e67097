"""How long each carrier's webhook takes while twenty requests run at once: `python -m tests.bench.webhooks`.

Starts a PostgreSQL of its own, unless DATABASE_URL names an empty one. Not part of the tests: seconds depend on the
machine, so each adapter is reported as a ratio to the generic one as well, measured in turns with it.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path

import django
from django.core.management import call_command
from django.test.utils import setup_test_environment

from compliance import database
from tests import database_plugin


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance.settings")
    os.environ.setdefault("SECRET_KEY", "only-for-measuring-" + "x" * 50)
    os.environ["PUBLIC_URL"] = "https://portal.example.com"
    keeper = None
    if not os.environ.get("DATABASE_URL"):
        folder = Path(tempfile.mkdtemp(prefix="portal-bench-"))
        keeper = database_plugin.keep_until_we_end(folder)
        database.start(folder)  # as in production: each commit waits for the disk
        os.environ["DATABASE_URL"] = database_plugin.url(folder)
    try:
        django.setup()
        call_command("migrate", verbosity=0)
        setup_test_environment()
        importlib.import_module("tests.bench.measuring").measure()  # its models need the settings
    finally:
        if keeper and keeper.stdin:
            keeper.stdin.close()
            keeper.wait()


if __name__ == "__main__":
    main()
