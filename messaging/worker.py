"""The worker: hands due texts to their carriers, and settles what is overdue. Several can run at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, close_old_connections, connection

from messaging import consent, outbox, received_text, reconciling, sealing, throughput

log = logging.getLogger(__name__)

IDLE_PAUSE = 0.25  # seconds between two looks when nothing was due: a reply leaves within a second
HOUSEKEEPING_PAUSE = 30.0
SEALING_PAUSE = 60.0  # how long an event can be changed without a seal to show it
RECONCILING_PAUSE = 300.0
SHORT_WHILE = 2.0  # seconds
DATABASE_PAUSE = 2.0  # seconds until the database is tried again


def run(threads: int, stop: threading.Event) -> None:
    """Work until `stop` is set; then finish the texts in hand and return."""
    jobs: list[tuple[str, Callable[[], int], float]] = [
        (f"hand-over-{n}", outbox.hand_over_due, IDLE_PAUSE) for n in range(threads)
    ]
    jobs.append(("housekeeping", keep_house, HOUSEKEEPING_PAUSE))
    jobs.append(("sealing", sealing.seal_all, SEALING_PAUSE))
    # A carrier's list may take many minutes. Cut off anywhere it loses nothing, so that nobody waits for it.
    comparing = threading.Thread(
        target=_repeat, name="reconciling", args=(reconciling.next_due, RECONCILING_PAUSE, stop), daemon=True
    )
    comparing.start()
    running = [threading.Thread(target=_repeat, name=name, args=(job, pause, stop)) for name, job, pause in jobs]
    for thread in running:
        thread.start()
    log.info("worker runs with %s threads", threads)
    for thread in running:
        thread.join()
    comparing.join(SHORT_WHILE)
    log.info("worker has stopped; nothing is left in its hands")


def keep_house() -> int:
    """Settle holds that nobody reviewed in time, texts whose worker died, texts of which a part never came, and those
    whose limit is another now; always 0, to pause after it."""
    held, cut_off = consent.settle_due_holds(), outbox.settle_cut_off()
    if held or cut_off:
        log.warning("%s holds became opt-outs unreviewed; %s texts are uncertain", held, cut_off)
    received_text.settle_open_parts()
    throughput.plan_changed()
    return 0


def _repeat(job: Callable[[], int], pause: float, stop: threading.Event) -> None:
    """Run `job` again and again, at once while it finds work, otherwise after `pause`."""
    try:
        while not stop.is_set():
            try:
                found = job()
            except (OperationalError, InterfaceError):
                log.exception("the database is away")
                close_old_connections()
                stop.wait(DATABASE_PAUSE)
                continue
            except Exception:
                log.exception("unexpected; going on")
                found = 0
            if not found:
                stop.wait(pause)
    finally:
        connection.close()
