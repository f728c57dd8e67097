"""What carriers post, as requests: several events in one, by GET, probes, what is kept of them, and run again."""

import itertools
import json
import socket
import threading
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.utils import timezone

from messaging import inbound
from messaging.carriers.base import Refused
from messaging.carriers.registry import CARRIERS
from messaging.models import CarrierHealth, ConsentEvent, Message, OptOut, Recipient, WebhookReceipt
from tests.factories import CarrierAccountFactory, NumberFactory, UserFactory
from tests.messaging.plain_carrier import TOKEN, PlainCarrier, posted
from tests.messaging.texting import at_once, send, somebody, verdict, work

pytestmark = pytest.mark.django_db
_ids = itertools.count(1)


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    monkeypatch.setitem(CARRIERS, "generic", PlainCarrier())


@pytest.fixture
def number():
    number = NumberFactory()
    number.account = CarrierAccountFactory(company=number.company, carrier="generic")
    number.save()
    return number


def text(number, sender, words="Hi", **fields):
    return {"sender": sender, "to": number.e164, "text": words, "message_id": f"t-{next(_ids)}", **fields}


def status(message_id, state, **fields):
    return {"kind": "status", "message_id": message_id, "state": state, **fields}


def take(number, *events, **kwargs):
    return inbound.take(number.account, posted(*events, **kwargs))


def path(number):
    return f"/webhooks/generic/{number.account.public_id}/"


def post(number, *events, **headers):
    """The carrier posts these events to the account's webhook."""
    return Client(raise_request_exception=False).post(
        path(number), json.dumps(events), content_type="application/json", headers={"Authorization": TOKEN, **headers}
    )


def get(number, *events, method="GET", **headers):
    query = json.dumps(events) if events else ""
    return Client(raise_request_exception=False).generic(
        method, path(number), QUERY_STRING=query, headers={"Authorization": TOKEN, **headers}
    )


def health(number):
    return CarrierHealth.objects.get(account=number.account)


def ours_sent(number, person, carrier_id):
    message = send(number, person)
    Message.objects.filter(pk=message.pk).update(state="sent", next_attempt_at=None, carrier_message_id=carrier_id)
    return message


# --- Several events in one request --------------------------------------------------------------------------


@pytest.mark.behaviour("N6")
def test_of_three_texts_one_to_a_number_of_nobody_the_others_count_and_the_request_is_kept(number):
    people, lost = [somebody() for _ in range(3)], somebody()
    events = [text(number, person, "STOP") for person in people]
    events[1]["to"] = lost

    answer = post(number, *events)

    assert answer.status_code == 422
    assert [verdict(number, person).allowed for person in people] == [False, True, False]
    assert Message.objects.filter(purpose="confirmation").count() == 2
    kept = WebhookReceipt.objects.get()
    assert (kept.status, json.loads(bytes(kept.body))) == ("not_understood", events)
    assert lost in kept.error
    assert answer.json()["receipt"] == kept.pk

    # Mended and run again: all there, and each once.
    NumberFactory(office=number.office, account=number.account, e164=lost)
    by = UserFactory()
    assert inbound.run_again(kept, by=by).understood
    kept.refresh_from_db()
    assert (kept.status, kept.settled_by) == ("resolved", by)
    assert Message.objects.filter(direction="in").count() == OptOut.objects.count() == 3
    assert ConsentEvent.objects.count() == 3
    assert inbound.run_again(kept, by=by).duplicate
    assert Message.objects.filter(direction="in").count() == 3


@pytest.mark.behaviour("N6")
def test_an_element_that_makes_no_sense_does_not_take_the_others_with_it(number):
    person = somebody()
    answer = post(number, {"kind": "unread", "reason": "There is no “from”."}, text(number, person, "STOP"))
    assert answer.status_code == 422
    assert not verdict(number, person).allowed
    assert WebhookReceipt.objects.get().error == "There is no “from”."


def test_several_reasons_are_all_told_and_each_once(number):
    answer = take(
        number,
        {"kind": "unread", "reason": "No “from”."},
        {"kind": "unread", "reason": "No “from”."},
        {"kind": "unread", "reason": "No “to”."},
    )
    assert answer.error == "No “from”. No “to”."


def test_a_request_run_again_that_still_makes_no_sense_in_part_stays_kept_and_doubles_nothing(number):
    person = somebody()
    kept = take(number, text(number, person, "STOP"), {"kind": "unread", "reason": "No."}).receipt
    for _ in range(2):
        assert not inbound.run_again(kept, by=None).understood
    kept.refresh_from_db()
    assert (kept.status, kept.error, kept.settled_at) == ("not_understood", "No.", None)
    assert ConsentEvent.objects.count() == 1


def test_texts_and_statuses_in_one_request_all_count(number):
    people = [somebody() for _ in range(3)]
    delivered, opted_out = ours_sent(number, people[0], "c1"), ours_sent(number, people[1], "c2")

    answer = post(
        number,
        status("c1", "delivered"),
        text(number, people[2], "STOP"),
        status("c2", "failed", detail="21610", opted_out=True),
        status("unknown", "failed", opted_out=True),
        status("c1", None, detail="on_its_way"),
    )

    assert answer.status_code == 200
    states = dict(Message.objects.filter(pk__in=[delivered.pk, opted_out.pk]).values_list("pk", "state"))
    assert states == {delivered.pk: "delivered", opted_out.pk: "failed"}
    assert verdict(number, people[0]).allowed
    assert verdict(number, people[1]).code == "opted_out_carrier"
    assert verdict(number, people[2]).code == "opted_out_company"
    assert WebhookReceipt.objects.get().status == "understood"


def test_statuses_count_also_beside_a_text_that_is_kept(number):
    message = ours_sent(number, somebody(), "c1")
    answer = post(number, text(number, somebody(), to=somebody()), status("c1", "delivered"))
    assert answer.status_code == 422
    message.refresh_from_db()
    assert message.state == "delivered"


def test_several_statuses_of_one_text_count_in_their_order_and_only_forward(number):
    message = ours_sent(number, somebody(), "c1")
    post(number, status("c1", "sent"), status("c1", "delivered"), status("c1", "failed"))
    message.refresh_from_db()
    assert message.state == "delivered"


@pytest.mark.behaviour("N5")
def test_a_request_with_several_texts_that_comes_again_does_nothing_and_stores_nothing(number):
    events = [text(number, somebody(), "STOP") for _ in range(3)]
    for _ in range(3):
        assert post(number, *events).status_code == 200
    assert Message.objects.filter(direction="in").count() == ConsentEvent.objects.count() == 3
    assert WebhookReceipt.objects.count() == 1


@pytest.mark.behaviour("N5")
def test_one_text_twice_in_one_request_is_one(number):
    event = text(number, somebody(), "STOP")
    assert post(number, event, event).status_code == 200
    assert Message.objects.filter(direction="in").count() == ConsentEvent.objects.count() == 1


def test_an_empty_list_is_answered_with_success(number):
    assert post(number).status_code == 200
    assert not Message.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_requests_with_the_same_senders_in_reversed_order_at_once_both_count(number):
    people = [somebody() for _ in range(6)]
    for _ in range(4):
        forth = [text(number, person) for person in people]
        back = [text(number, person) for person in reversed(people)]
        answers = at_once([lambda: take(number, *forth), lambda: take(number, *back)])  # noqa: B023
        assert all(answer.understood for answer in answers)
    assert Message.objects.count() == 4 * 12
    assert Recipient.objects.count() == 6


@pytest.mark.django_db(transaction=True)
def test_statuses_that_opt_out_in_reversed_order_beside_texts_at_once_all_count(number):
    people = [somebody() for _ in range(4)]
    for turn in range(3):
        for index, person in enumerate(people):
            message = Message.objects.filter(carrier_message_id=f"c{turn}-{index}")
            assert not message
            OptOut.objects.filter(recipient__e164=person).update(closed_at=None)
        ids = [f"c{turn}-{index}" for index in range(4)]
        people = [somebody() for _ in range(4)]
        for carrier_id, person in zip(ids, people, strict=True):
            ours_sent(number, person, carrier_id)
        statuses = [status(carrier_id, "failed", opted_out=True) for carrier_id in ids]
        texts = [text(number, person, "Hi") for person in people]

        at_once(
            [
                lambda: take(number, *statuses, *texts),  # noqa: B023
                lambda: take(number, *reversed(statuses), *reversed(texts)),  # noqa: B023
                lambda: take(number, *[text(number, person, "Ho") for person in reversed(people)]),  # noqa: B023
            ]
        )

        assert {verdict(number, person).code for person in people} == {"opted_out_carrier"}
        assert ConsentEvent.objects.filter(kind="carrier", recipient__e164__in=people).count() == 4


@pytest.mark.behaviour("N6")
@pytest.mark.django_db(transaction=True)
def test_when_the_last_of_several_cannot_be_stored_nothing_is_and_the_request_is_kept(number):
    good, bad = text(number, somebody(), "STOP"), text(number, somebody(), "STOP", message_id="poison")
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE messaging_message ADD CONSTRAINT test_poison CHECK (carrier_message_id <> 'poison') NOT VALID"
        )
    try:
        assert post(number, good, bad).status_code == 422
        assert not Message.objects.exists()
        assert WebhookReceipt.objects.get().status == "not_understood"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE messaging_message DROP CONSTRAINT test_poison")
    assert post(number, good, bad).status_code == 200
    assert OptOut.objects.count() == 2


@pytest.mark.parametrize("value", ["a\x00b", "\ud800", "x" * 70_000])
@pytest.mark.parametrize("name", ["text", "message_id", "reason", "detail", "reference", "status id"])
def test_what_no_column_can_hold_is_never_an_error_of_ours(number, name, value):
    events = {
        "text": text(number, somebody(), value),
        "message_id": text(number, somebody(), message_id=value[:255]),
        "reason": {"kind": "unread", "reason": value},
        "detail": status("c1", "failed", detail=value),
        "reference": status("c1", "failed", reference=value),
        "status id": status(value, "failed", reference="1"),
    }
    ours_sent(number, somebody(), "c1")
    assert post(number, events[name], text(number, somebody())).status_code in (200, 422)


# --- By GET, and probes -------------------------------------------------------------------------------------


def test_a_text_by_get_counts(number):
    person = somebody()
    assert get(number, text(number, person, "STOP")).status_code == 200
    assert not verdict(number, person).allowed
    receipt = WebhookReceipt.objects.get()
    assert (receipt.method, bytes(receipt.body)) == ("GET", b"")
    assert person in receipt.query


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_whoever_looks_whether_somebody_is_there_is_told_so_and_nothing_is_stored(number, method):
    answer = get(number, method=method, Authorization="")
    assert answer.status_code == 200
    assert not CarrierHealth.objects.exists()
    assert not WebhookReceipt.objects.exists()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_not_taken(number, method):
    answer = Client().generic(method, path(number))
    assert (answer.status_code, answer["Allow"]) == (405, "POST, GET, HEAD")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_an_address_that_is_nobodys_is_not_found(number, method):
    assert Client().generic(method, "/webhooks/generic/nobody/").status_code == 404
    assert Client().generic(method, path(number).replace("generic", "twilio")).status_code == 404


# --- What is kept of a request ------------------------------------------------------------------------------


def test_headers_are_kept_without_those_that_sign_in(number):
    sign_in = {"Cookie": "a=1", "Proxy-Authorization": "x", "X-Plivo-Signature-Ma-V2": "reusable"}
    post(number, text(number, somebody()), **{"X-Signature": "abc", **sign_in})
    kept = {name.lower(): value for name, value in WebhookReceipt.objects.get().headers.items()}
    assert kept["x-signature"] == "abc"
    # Nor what would sign anything else as well.
    assert not {"authorization", "proxy-authorization", "cookie", "x-plivo-signature-ma-v2"} & set(kept)
    assert TOKEN not in json.dumps(kept)


def test_of_many_and_long_headers_a_part_is_kept(number):
    headers = {f"X-{n}": "v" * 5_000 for n in range(200)}
    take(number, text(number, somebody()), headers=headers)
    kept = WebhookReceipt.objects.get().headers
    assert len(kept) <= 60
    assert max(map(len, kept.values())) <= 2_000


def test_what_is_not_understood_is_kept_once_however_often_it_comes(number):
    event = text(number, somebody(), to=somebody())
    answers = [post(number, event).json()["receipt"] for _ in range(4)]
    assert len(set(answers)) == WebhookReceipt.objects.count() == 1
    post(number, {**event, "text": "Ho"})
    assert WebhookReceipt.objects.count() == 2
    # Dismissed, it waits once more when it comes again.
    inbound.dismiss(WebhookReceipt.objects.get(pk=answers[0]), by=UserFactory())
    post(number, event)
    post(number, event)
    assert WebhookReceipt.objects.filter(status="not_understood").count() == 2
    assert WebhookReceipt.objects.count() == 3


def test_a_kept_get_is_run_again_with_its_query(number):
    person, lost = somebody(), somebody()
    assert get(number, text(number, person, "STOP", to=lost)).status_code == 422
    kept = WebhookReceipt.objects.get()
    NumberFactory(office=number.office, account=number.account, e164=lost)

    assert inbound.run_again(kept, by=None).understood

    assert OptOut.objects.get().recipient.e164 == person
    assert Message.objects.get(direction="in").text == "STOP"


@pytest.mark.django_db(transaction=True)
def test_a_kept_request_run_again_by_several_at_once_counts_once(number):
    lost = somebody()
    kept = take(number, text(number, somebody(), "STOP", to=lost), text(number, somebody(), "STOP")).receipt
    NumberFactory(office=number.office, account=number.account, e164=lost)
    at_once([lambda: inbound.run_again(WebhookReceipt.objects.get(pk=kept.pk), by=None)] * 6)
    assert ConsentEvent.objects.count() == OptOut.objects.count() == 2


# --- When it last came, and was last refused ----------------------------------------------------------------


def test_the_last_genuine_webhook_is_noted_now_and_then(number):
    start = timezone.now()
    with time_machine.travel(start, tick=False) as clock:
        post(number, text(number, somebody()))
        assert health(number).last_genuine_at == start
        clock.shift(timedelta(seconds=5))
        post(number, text(number, somebody()))
        assert health(number).last_genuine_at == start
        clock.shift(timedelta(seconds=6))
        post(number, text(number, somebody(), to=somebody()))  # genuine, though not understood
        assert health(number).last_genuine_at == timezone.now()
    assert health(number).refused == 0


@pytest.mark.behaviour("N6")
def test_a_refused_webhook_is_counted_with_its_reason_and_nothing_of_it_is_stored(number):
    person = somebody()
    for _ in range(3):
        answer = post(number, text(number, person, "STOP"), Authorization="Bearer wrong")
        assert answer.status_code == 403
    noted = health(number)
    assert (noted.refused, noted.last_refusal) == (3, "The token is missing or wrong.")
    assert noted.last_refused_at is not None
    assert noted.last_genuine_at is None
    assert verdict(number, person).allowed
    assert not WebhookReceipt.objects.exists()
    assert not Message.objects.exists()
    assert not Recipient.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_refusals_at_once_are_all_counted(number):
    at_once([lambda: post(number, text(number, somebody()), Authorization="")] * 12)
    assert health(number).refused == 12


def test_a_refusal_that_quotes_what_no_column_holds_is_still_a_refusal(number, monkeypatch):
    class Quoting(PlainCarrier):
        def verify(self, credentials, request):
            raise Refused("no \x00\ud800 " + "x" * 9_000)

    monkeypatch.setitem(CARRIERS, "generic", Quoting())
    assert post(number, text(number, somebody())).status_code == 403
    assert len(health(number).last_refusal) <= 500


# --- Addresses to open --------------------------------------------------------------------------------------


@contextmanager
def visited(*statuses):
    """A server that answers GET with these statuses, the last one for ever; gives its address and the paths asked."""
    seen, answers = [], list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            # By then what the request caused must be committed.
            seen.append((self.path, Message.objects.filter(direction="in").count()))
            connection.close()
            self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.django_db(transaction=True)
def test_an_address_to_confirm_is_opened_once_after_the_commit(number):
    with visited(200) as (address, seen):
        answer = post(number, {"kind": "visit", "url": f"{address}/confirm?token=1"}, text(number, somebody(), "STOP"))
    assert answer.status_code == 200
    assert seen == [("/confirm?token=1", 1)]


@pytest.mark.django_db(transaction=True)
def test_an_address_that_fails_lets_the_carrier_come_again_and_doubles_nothing(number):
    event = text(number, somebody(), "STOP")
    with visited(500, 200) as (address, seen):
        visit = {"kind": "visit", "url": f"{address}/confirm"}
        assert post(number, visit, event).status_code == 503
        assert post(number, visit, event).status_code == 200
    assert len(seen) == 2
    assert OptOut.objects.count() == ConsentEvent.objects.count() == 1


def test_an_address_at_which_nobody_answers_lets_the_carrier_come_again(number):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}/"
    for url in (nobody, "gopher://x/", "http://[", ""):
        assert post(number, {"kind": "visit", "url": url}).status_code == 503


@pytest.mark.behaviour("N6")
def test_a_refused_request_sends_us_nowhere(number):
    with visited(200) as (address, seen):
        post(number, {"kind": "visit", "url": address}, Authorization="")
    assert not seen


# --- Many at once -------------------------------------------------------------------------------------------


@pytest.mark.behaviour("N5")
@pytest.mark.django_db(transaction=True)
def test_the_same_request_with_several_texts_many_times_at_once_counts_once(number):
    events = [text(number, somebody(), "STOP") for _ in range(4)]
    answers = at_once([lambda: post(number, *events).status_code] * 10)
    assert answers == [200] * 10
    assert Message.objects.filter(direction="in").count() == OptOut.objects.count() == 4
    work()
    assert Message.objects.filter(purpose="confirmation", state="sent").count() == 4
