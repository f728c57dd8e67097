"""How tests let people text, carriers answer, and several threads act at once."""

import itertools
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.db import connection

from messaging import gate, inbound, outbox
from messaging.carriers.base import WebhookRequest
from messaging.models import ConsoleText, Message, Recipient
from offices.models import CarrierAccount, Number
from tests.factories import fictional_number

_ids = itertools.count(1)


def somebody() -> str:
    """The number of a person who has not texted yet; never one of ours."""
    return fictional_number(9_899 - next(_ids) % 4_000)


def request_of(document: dict[str, Any]) -> WebhookRequest:
    return WebhookRequest("POST", "", json.dumps(document).encode(), "application/json")


def document(number: Number, sender: str, text: str | None, **fields: Any) -> dict[str, Any]:
    """One text in the generic format, with an id of its own unless one is given."""
    return {
        "from": sender,
        "to": number.e164,
        "text": text,
        "message_id": f"m-{next(_ids)}",
        **{name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()},
    }


def receive(number: Number, sender: str, text: str | None, **fields: Any) -> inbound.Received:
    """`sender` texts `number`; by way of the account's carrier, as its webhook does it."""
    account = CarrierAccount.objects.get(pk=number.account_id)
    return inbound.take(account, request_of(document(number, sender, text, **fields)))


def send(number: Number, to: str, text: str = "Your order is ready.", **fields: Any) -> Message:
    """The office texts `to`, with the number's row as it is now."""
    return outbox.accept(Number.objects.get(pk=number.pk), to, text, **fields)


def verdict(number: Number, to: str, at: datetime | None = None) -> gate.Verdict:
    """What the gate says, asked with rows read anew."""
    fresh = Number.objects.select_related("company", "account").get(pk=number.pk)
    return gate.check_many([(fresh, to)], at=at)[0]


def work() -> None:
    """Hand over all that is due now."""
    while outbox.hand_over_due():
        pass


def left(to: str, purpose: str | None = Message.Purpose.ORDINARY) -> list[ConsoleText]:
    """The texts that the console carrier took for `to`, oldest first; of one purpose, or of any for None."""
    texts = list(ConsoleText.objects.filter(to=to).order_by("pk"))
    if purpose is None:
        return texts
    meant = set(Message.objects.filter(recipient__e164=to, purpose=purpose).values_list("pk", flat=True))
    return [text for text in texts if int(text.reference) in meant]


def recipient_of(number: Number, e164: str) -> Recipient:
    return Recipient.objects.get(company_id=number.company_id, e164=e164)


def at_once(jobs: Sequence[Callable[[], Any]], patience: float = 60) -> list[Any]:
    """Run the jobs in threads with connections of their own, all let go at the same instant.

    Returns what each returned, in order; raises what one raised. None is left running.
    """
    barrier = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)
    errors: list[BaseException] = []

    def run(index: int, job: Callable[[], Any]) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(patience)
            results[index] = job()
        except BaseException as error:
            errors.append(error)
            barrier.abort()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index, job), daemon=True) for index, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(patience)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    real = [error for error in errors if not isinstance(error, threading.BrokenBarrierError)] or errors
    if real:
        raise real[0]
    return results


class Gateway:
    """A carrier's HTTP server on this machine, for accounts of the generic carrier.

    It answers with what `answers` gives next, (status, body, headers), and with success when that is used up.
    While `hold` is cleared, requests wait in it; `arrived` tells that one has come.
    """

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.answers: Iterator[tuple[int, dict[str, Any], dict[str, str]]] = iter(())
        self.go_on = threading.Event()
        self.go_on.set()
        self.arrived = threading.Event()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                gateway.seen.append(document)
                gateway.arrived.set()
                gateway.go_on.wait(30)
                status, body, headers = next(gateway.answers, (200, {"message_id": f"g-{document['reference']}"}, {}))
                content = json.dumps(body).encode()
                try:
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(content)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    pass  # whoever asked was killed meanwhile: that is what some tests are about

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/send"

    def will_answer(self, answers: Iterable[tuple[int, dict[str, Any], dict[str, str]]]) -> None:
        self.answers = iter(answers)

    @property
    def references(self) -> list[str]:
        return [document["reference"] for document in self.seen]


@contextmanager
def gateway() -> Iterator[Gateway]:
    """A running Gateway."""
    made = Gateway()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.go_on.set()
        made.server.shutdown()
        made.server.server_close()
        thread.join(10)
