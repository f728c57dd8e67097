"""manage.py demo: fill two invented companies with a year of texts, and serve them on this machine."""

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from compliance.demo import filling, serving, sheet


class Command(BaseCommand):
    help = "Fill two invented companies with a year of texts, serve them on this machine, and run the worker."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-serve", action="store_true", help="Only fill the database.")
        # manage.py has read it by now: it decides settings.
        parser.add_argument("--port", help="Where to serve (default: PORT, or 8000).")
        parser.add_argument(
            "--json",
            type=Path,
            default=settings.BASE_DIR / "var" / "demo.json",
            help="Where to write what scripts need (default: var/demo.json).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["json"]
        bind = os.environ.get("BIND", "127.0.0.1:8000")
        try:
            if not options["no_serve"]:
                serving.refuse_taken_port(bind)
            call_command("migrate", interactive=False, verbosity=0)
            known = sheet.read(path)
            password = sheet.password_of(known)
            if not filling.is_filled():
                self.say("Filling two companies with a year of texts ...")
                filling.fill(password)
                filling.analyze()
            made = sheet.make(known, password)
            sheet.write(path, made)
            shown = sheet.table(made, path)
            if options["no_serve"]:
                self.say(f"\n{shown}\n")
                return
            # Whitenoise looks for this folder, although the demo serves its files from where they are.
            settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
            connection.close()
            serving.serve(bind, lambda: self.say(f"\n{shown}\n\nCtrl-C ends it. The database stays up: make stop\n"))
            self.say("The demo has ended.")
        except KeyboardInterrupt:
            raise CommandError("Interrupted before it was ready.", returncode=130) from None
        except (filling.NotTheDemos, serving.CannotServe) as error:
            raise CommandError(str(error)) from None

    def say(self, words: str) -> None:
        self.stdout.write(words)
        self.stdout.flush()
