"""manage.py work: hand due texts to their carriers until SIGTERM or Ctrl-C."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from messaging import worker


class Command(BaseCommand):
    help = "Hand due texts to their carriers, and settle overdue holds. Ends cleanly on SIGTERM."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--threads", type=int, default=settings.WORKER_THREADS, help="Texts handed over at the same time."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
        worker.run(max(1, options["threads"]), stop)
