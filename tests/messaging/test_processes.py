"""The real server and the real worker, as processes, killed under load: no STOP is lost and no text leaves twice."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import psycopg
import pytest
from django.db import connection

from tests.messaging.texting import Gateway, gateway

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = 32

# Run in a process of its own: migrates the new database, makes a company in it, and tells what it made.
SEED = """
import json, django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from offices.models import tokens
from tests.factories import CampaignFactory, CarrierAccountFactory, CompanyFactory, NumberFactory, OfficeFactory
company = CompanyFactory()
office, campaign = OfficeFactory(company=company), CampaignFactory(company=company)
console = CarrierAccountFactory(company=company)
numbers = [NumberFactory(office=office, account=console, campaign=campaign).e164 for _ in range(3)]
http = CarrierAccountFactory(company=company, carrier="generic", settings={"send_url": GATEWAY})
slow = NumberFactory(office=office, account=http).e164
_, inbound = tokens.issue(company, "carrier", ["inbound"], account=console)
_, send = tokens.issue(company, "crm", ["send"])
print(json.dumps({"numbers": numbers, "slow": slow, "inbound": inbound, "send": send}))
"""


class Portal:
    """One installation: a database of its own, a server on a free port, and a worker."""

    def __init__(self, name: str, carrier: Gateway) -> None:
        self.carrier = carrier
        self.database = {**connection.settings_dict, "NAME": name}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.environment = {
            **os.environ,
            "DATABASE_URL": self.url(),
            "SECRET_KEY": "only-for-tests-" + "y" * 50,
            "DEMO": "1",
            "ALLOWED_HOSTS": "127.0.0.1",
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "2",
            "LOG_LEVEL": "WARNING",
            "CARRIER_TIMEOUT": "60",
            "DJANGO_SETTINGS_MODULE": "compliance.settings",
            "PYTHONPATH": str(ROOT),
        }
        self.running: list[subprocess.Popen[bytes]] = []
        seed = SEED.replace("GATEWAY", repr(carrier.url))
        made = subprocess.run(
            [sys.executable, "-c", seed], cwd=ROOT, env=self.environment, capture_output=True, timeout=60, check=False
        )
        assert made.returncode == 0, made.stderr.decode()[-2000:]
        self.seed: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])

    def url(self) -> str:
        known = self.database
        login = f"{quote_plus(known['USER'] or '')}:{quote_plus(known['PASSWORD'] or '')}"
        if str(known["HOST"]).startswith("/"):
            return f"postgres://{login}@/{quote(known['HOST'])}/{known['NAME']}"
        return f"postgres://{login}@{known['HOST'] or 'localhost'}:{known['PORT'] or 5432}/{known['NAME']}"

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(**credentials(self.database), autocommit=True) as database:
            cursor = database.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        # In a group of its own, so that all of its processes are killed with it.
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=self.environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        # Read, or the process would wait for room in the pipe.
        errors: list[bytes] = []
        threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True).start()
        process.errors = errors  # type: ignore[attr-defined]
        self.running.append(process)
        return process

    def start_server(self) -> subprocess.Popen[bytes]:
        server = self.start("-m", "gunicorn", "--config", "compliance/gunicorn.conf.py", "compliance.wsgi")
        wait_for(self.answers, "the server answers", server)
        return server

    def start_worker(self) -> subprocess.Popen[bytes]:
        return self.start("manage.py", "work", "--threads", "3")

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        self.running.remove(process)

    def post(self, path: str, token: str, document: dict[str, Any], key: str = "") -> httpx.Response | None:
        """The answer; None when there was none, as from a server that was just killed."""
        headers = {"Authorization": f"Bearer {self.seed[token]}", **({"Idempotency-Key": key} if key else {})}
        try:
            return httpx.post(
                f"http://127.0.0.1:{self.port}/api/v1/{path}/", json=document, headers=headers, timeout=10
            )
        except httpx.HTTPError:
            return None

    def post_until_answered(self, *request: Any) -> httpx.Response:
        """As a carrier does it: again and again until it is told that the text is stored."""
        deadline = time.monotonic() + 40
        while (answer := self.post(*request)) is None or answer.status_code >= 500:
            assert time.monotonic() < deadline, "no answer"
            time.sleep(0.05)
        return answer


def credentials(known: dict[str, Any]) -> dict[str, Any]:
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    return {ours: known[theirs] for theirs, ours in names.items() if known[theirs]}


def wait_for(
    condition: Callable[[], Any], what: str, process: subprocess.Popen[bytes] | None = None, patience: float = 30
) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        if process is not None and process.poll() is not None:
            time.sleep(0.2)
            pytest.fail(b"".join(process.errors).decode()[-3000:])  # type: ignore[attr-defined]
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    name = f"portal_processes_{os.getpid()}"
    server = {**connection.settings_dict, "NAME": "postgres"}
    with psycopg.connect(**credentials(server), autocommit=True) as maintenance, gateway() as carrier:
        maintenance.execute(f"CREATE DATABASE {name}")
        try:
            made = Portal(name, carrier)
            try:
                yield made
            finally:
                for process in list(made.running):
                    made.kill(process)
        finally:
            maintenance.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.behaviour("N6")
@pytest.mark.behaviour("N7")
def test_killed_under_load_no_answered_stop_is_lost_no_text_leaves_twice_and_none_after_its_stop(
    portal: Portal,
) -> None:
    people = [f"+1520555{100 + n:04d}" for n in range(PEOPLE)]
    numbers = portal.seed["numbers"]
    answered: dict[str, float] = {}
    accepted: list[str] = []
    wrong: list[str] = []

    def one_persons_day(n: int) -> None:
        person, ours = people[n], numbers[n % len(numbers)]

        def send(k: int) -> httpx.Response | None:
            key = f"{person}-{k}"
            answer = portal.post("messages", "send", {"from": numbers[k % 3], "to": person, "text": f"Hi {k}"}, key)
            if answer is not None and answer.status_code == 201:
                accepted.append(key)
            return answer

        for k in range(4):
            send(k)
        stop = {"from": person, "to": ours, "text": "STOP", "message_id": f"stop-{person}"}
        first = portal.post_until_answered("inbound", "inbound", stop)
        answered[person] = time.time()
        if first.status_code not in (200, 201) or first.json()["outcome"] != "opted_out":
            wrong.append(first.text)
        for k in range(4, 7):
            answer = send(k)
            if answer is not None and answer.status_code not in (409, 500, 503):
                wrong.append(f"{answer.status_code}: {answer.text}")
        # And a day later the carrier delivers it once more.
        if portal.post_until_answered("inbound", "inbound", stop).status_code != 200:
            wrong.append("a repeated STOP was taken for a new one")

    server, worker = portal.start_server(), portal.start_worker()
    with ThreadPoolExecutor(8) as clients:
        days = [clients.submit(one_persons_day, n) for n in range(PEOPLE)]
        wait_for(lambda: len(answered) >= PEOPLE // 4, "some STOPs are answered")
        portal.kill(server)
        server = portal.start_server()
        wait_for(lambda: len(answered) >= PEOPLE // 2, "half of them are")
        portal.kill(worker)
        portal.kill(server)
        worker, server = portal.start_worker(), portal.start_server()
        for day in days:
            day.result(60)
    assert wrong == []
    assert len(answered) == PEOPLE
    # The lease of what the killed worker had claimed ends, without waiting for it.
    portal.rows("UPDATE messaging_message SET next_attempt_at = now() WHERE next_attempt_at > now()")
    wait_for(
        lambda: portal.rows("SELECT count(*) FROM messaging_message WHERE next_attempt_at IS NOT NULL") == [(0,)],
        "all has been handed over", worker,
    )  # fmt: skip

    events = portal.rows("SELECT recipient_e164 FROM messaging_consentevent WHERE kind = 'opt_out'")
    assert sorted(e164 for (e164,) in events) == people
    blocks = dict(
        portal.rows(
            "SELECT r.e164, o.opened_at FROM messaging_optout o JOIN messaging_recipient r ON r.id = o.recipient_id "
            "WHERE o.closed_at IS NULL"
        )
    )
    assert sorted(blocks) == people
    left = portal.rows("SELECT reference FROM messaging_consoletext")
    assert len(left) == len(set(left))
    handed_over = portal.rows(
        "SELECT r.e164, m.handed_over_at FROM messaging_message m JOIN messaging_recipient r ON r.id = m.recipient_id "
        "WHERE m.purpose = 'ordinary' AND m.handed_over_at IS NOT NULL"
    )
    assert handed_over  # or this would prove nothing
    for person, moment in handed_over:
        assert moment < blocks[person]
        assert moment.timestamp() < answered[person]
    # What was in the killed worker's hands stays there; all else has come to an end.
    states = {state for (state,) in portal.rows("SELECT DISTINCT state FROM messaging_message WHERE direction = 'out'")}
    assert states <= {"sent", "cancelled", "refused", "sending", "failed"}
    in_hand = portal.rows("SELECT count(*) FROM messaging_message WHERE state = 'sending'")
    assert in_hand[0][0] <= 3  # the worker's threads
    stored = {
        key for (key,) in portal.rows("SELECT idempotency_key FROM messaging_message WHERE idempotency_key <> ''")
    }
    assert set(accepted) <= stored
    assert len(accepted) >= PEOPLE
    portal.kill(worker)
    portal.kill(server)


def queue_slow_texts(portal: Portal, people: list[str]) -> None:
    server = portal.start_server()
    for person in people:
        answer = portal.post("messages", "send", {"from": portal.seed["slow"], "to": person, "text": "Hi"})
        assert answer is not None
        assert answer.status_code == 201
    portal.kill(server)


def states_of(portal: Portal, people: list[str]) -> list[str]:
    return [
        state
        for (state,) in portal.rows(
            "SELECT m.state FROM messaging_message m JOIN messaging_recipient r ON r.id = m.recipient_id "
            "WHERE r.e164 = ANY(%s) ORDER BY m.id",
            people,
        )
    ]


def test_what_a_killed_worker_had_in_hand_becomes_uncertain_and_is_never_sent_again(portal: Portal) -> None:
    carrier = portal.carrier
    people = [f"+1530555{100 + n:04d}" for n in range(3)]
    carrier.seen.clear()
    carrier.go_on.clear()
    queue_slow_texts(portal, people)

    worker = portal.start_worker()
    wait_for(lambda: carrier.seen, "the carrier has one in hand", worker)
    portal.kill(worker)
    carrier.go_on.set()

    states = states_of(portal, people)
    killed_with = states.count("sending")
    assert killed_with == len(carrier.seen) >= 1
    assert set(states) <= {"sending", "queued"}
    # As if the minutes had passed after which nobody can be at them any more, and the claims of the others too.
    portal.rows(
        "UPDATE messaging_message SET handed_over_at = now() - interval '10 minutes' "
        "WHERE state = 'sending' AND next_attempt_at IS NULL"
    )
    portal.rows("UPDATE messaging_message SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL")
    worker = portal.start_worker()
    wait_for(
        lambda: sorted(states_of(portal, people)) == ["sent"] * (3 - killed_with) + ["uncertain"] * killed_with,
        "what was in hand is uncertain and the others are sent", worker,
    )  # fmt: skip
    portal.kill(worker)
    assert len(carrier.seen) == len(set(carrier.references)) == 3


def test_told_to_end_the_worker_finishes_what_it_has_in_hand_and_exits_with_success(portal: Portal) -> None:
    carrier = portal.carrier
    people = [f"+1540555{100 + n:04d}" for n in range(2)]
    carrier.seen.clear()
    carrier.go_on.clear()
    queue_slow_texts(portal, people)
    worker = portal.start_worker()
    wait_for(lambda: carrier.seen, "the carrier has one in hand", worker)

    worker.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.5)
    carrier.go_on.set()

    assert worker.wait(20) == 0
    portal.running.remove(worker)
    assert set(states_of(portal, people)) <= {"sent", "queued"}
    assert "sent" in states_of(portal, people)
    assert len(carrier.references) == len(set(carrier.references)) == states_of(portal, people).count("sent")
