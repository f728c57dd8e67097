"""What every carrier's webhook is held to: what is genuine counts to the letter and once, and nothing else at all."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import time_machine
from django.utils import timezone

from messaging.carriers.base import InboundText, WebhookRequest
from messaging.carriers.registry import CARRIERS
from messaging.models import ConsentEvent, Hold, Message, OptOut, WebhookReceipt
from tests.messaging.api_calls import count_stored
from tests.messaging.carriers.dialect import OURS, PAYLOADS, SENDER, Case, Dialect
from tests.messaging.carriers.scene import (
    CLIENT,
    PUBLIC_URL,
    REAL,
    Scene,
    a_status,
    a_stop,
    forgeries,
    is_stop,
    load,
    scene,
    somebody_elses,
    stored,
    with_cases,
    with_dialects,
)

pytestmark = pytest.mark.django_db

REPLIES = {"opted_out": ["confirmation"], "help": ["help_reply"]}


def replies() -> list[str]:
    return list(Message.objects.filter(direction="out").exclude(purpose="ordinary").values_list("purpose", flat=True))


def a_minute_after(given: Scene, case: Case) -> datetime:
    """When the text comes: a minute after it was written, where the payload says when, so that it is answered."""
    posted = given.posted(case)
    request = WebhookRequest(
        posted.method, f"{PUBLIC_URL}{given.path}?{posted.query}", posted.body, posted.content_type, posted.headers
    )
    written = [
        one.received_at for one in CARRIERS[given.dialect.carrier].parse(request) if isinstance(one, InboundText)
    ]
    return (written[0] or timezone.now()) + timedelta(minutes=1)


@pytest.mark.parametrize("carrier", REAL)
def test_every_carrier_has_a_dialect_whose_table_names_every_payload(carrier):
    dialect = load(carrier)

    assert dialect.carrier == carrier
    files = {path.name for path in (PAYLOADS / carrier).iterdir() if path.is_file()}
    assert {case.file for case in dialect.cases} == files
    assert any(is_stop(dialect, case) for case in dialect.cases)
    named = {setting.name for setting in CARRIERS[carrier].SETTINGS}
    assert named >= {*dialect.settings, *dialect.secrets}, "the admin asks for each setting that the tests use"


@with_cases(where=lambda dialect, case: case.kind == "text")
def test_a_genuine_text_is_stored_to_the_letter_and_acted_on(dialect: Dialect, case: Case):
    given = scene(dialect)
    with time_machine.travel(a_minute_after(given, case)):
        posted = given.posted(case)
        answer = given.deliver(posted)

    assert (answer.status_code, answer.content) == (200, CARRIERS[dialect.carrier].answer()[1])
    message = Message.objects.get(direction="in", carrier_message_id=case.message_id)
    assert (message.text, message.outcome, len(message.media)) == (case.text, case.outcome, case.media)
    assert (message.number.e164, message.recipient.e164, message.account) == (OURS, SENDER, given.account)
    assert message.channel == ("mms" if case.media else "sms")
    assert replies() == ([] if case.replied else REPLIES.get(case.outcome, []))
    assert ConsentEvent.objects.filter(kind="opt_out").count() == (case.outcome == "opted_out")
    assert OptOut.objects.filter(closed_at__isnull=True).count() == (case.outcome == "opted_out")
    assert Hold.objects.count() == (case.outcome == "held")
    receipt = WebhookReceipt.objects.get()
    assert (bytes(receipt.body), receipt.status, receipt.message) == (posted.body, "understood", message)


@with_cases(where=lambda dialect, case: case.kind == "status")
def test_a_genuine_status_brings_our_text_on_and_an_opt_out_code_blocks_that_number_once(dialect: Dialect, case: Case):
    given = scene(dialect)
    ours = given.our_text(case.message_id)

    answers = [given.deliver(given.posted(case)) for _ in range(3 if case.opted_out else 1)]

    assert {answer.status_code for answer in answers} == {200}
    ours.refresh_from_db()
    assert ours.state == case.state
    events = ConsentEvent.objects.filter(kind="carrier")
    opt_outs = [(one.scope, one.texted_number, one.is_carrier) for one in OptOut.objects.all()]
    if case.opted_out:
        assert (events.get().source, events.get().recipient_e164) == ("carrier", SENDER)
        assert opt_outs == [("number", OURS, True)]
    else:
        assert not events.exists()
        assert not opt_outs
    assert not Message.objects.filter(direction="in").exists()
    assert not WebhookReceipt.objects.exclude(status="understood").exists()


@with_dialects(where=a_status)
def test_a_status_about_nobodys_text_changes_nothing(dialect: Dialect):
    given, case = scene(dialect), a_status(dialect)
    assert case is not None
    ours = given.our_text(f"not-{case.message_id}")

    answer = given.deliver(given.posted(case))

    assert answer.status_code == 200
    ours.refresh_from_db()
    assert (ours.state, ours.carrier_message_id) == ("sent", f"not-{case.message_id}")
    assert not OptOut.objects.exists()
    assert not ConsentEvent.objects.exists()


@with_cases(where=lambda dialect, case: case.kind == "ignored")
def test_what_means_nothing_to_us_is_answered_with_success_and_changes_nothing(dialect: Dialect, case: Case):
    given = scene(dialect)
    given.our_text(case.message_id or "some-text")
    before = stored()[:6], stored()[7:]

    answer = given.deliver(given.posted(case))

    assert answer.status_code == 200
    assert (stored()[:6], stored()[7:]) == before  # all but the receipt
    assert not ConsentEvent.objects.exists()
    assert not OptOut.objects.exists()
    assert not WebhookReceipt.objects.exclude(status="understood").exists()


@pytest.mark.behaviour("N6")
@with_cases(where=lambda dialect, case: case.kind == "not understood")
def test_what_is_genuine_and_makes_no_sense_is_kept_to_the_byte(dialect: Dialect, case: Case):
    given = scene(dialect)
    posted = given.posted(case)

    answer = given.deliver(posted)

    assert answer.status_code == 422
    receipt = WebhookReceipt.objects.get()
    assert receipt.pk == answer.json()["receipt"]
    assert (bytes(receipt.body), receipt.status) == (posted.body, "not_understood")
    assert receipt.error
    assert not Message.objects.exists()
    assert not ConsentEvent.objects.exists()


@pytest.mark.behaviour("N5")
@with_cases(where=lambda dialect, case: is_stop(dialect, case) or case.outcome == "help" or case.media > 0)
def test_a_text_delivered_three_times_is_one_message_one_event_one_reply(dialect: Dialect, case: Case):
    given = scene(dialect)
    posted = given.posted(case)
    first = given.deliver(posted)
    before = stored()

    # The very same request, and one signed anew, as carriers do on a second attempt.
    again = [given.deliver(posted), given.deliver(given.posted(case))]

    assert [answer.status_code for answer in [first, *again]] == [200, 200, 200]
    assert stored() == before


@with_dialects()
def test_fields_that_nobody_has_described_do_no_harm(dialect: Dialect):
    given, case = scene(dialect), a_stop(dialect)
    body = dialect.with_unknown_fields(dialect.payload(case))

    answer = given.deliver(given.posted(case, body))

    assert body != dialect.payload(case)
    assert answer.status_code == 200
    assert Message.objects.get(direction="in").outcome == "opted_out"


@with_dialects()
def test_other_words_are_other_words(dialect: Dialect):
    """The tests below say by this what a forger would."""
    given, case = scene(dialect), a_stop(dialect)
    body = dialect.another_text(dialect.payload(case), "1 + 1 = 2 & 50% 👍🏽 café", "another-id-1")

    answer = given.deliver(given.posted(case, body))

    assert answer.status_code == 200
    message = Message.objects.get(direction="in")
    assert (message.text, message.carrier_message_id) == ("1 + 1 = 2 & 50% 👍🏽 café", "another-id-1")


# Forgeries


def taken_forgeries(given: Any, case: Case) -> list[str]:
    """Which forgeries had an effect, or were not refused as one."""
    wrong, before = [], stored()
    for what, posted, path in forgeries(given, case):
        answer = given.deliver(posted, path)
        if answer.status_code not in (403, 503) or stored() != before:
            wrong.append(f"{what}: {answer.status_code} {answer.content[:200]!r}")
            before = stored()
    return wrong


@pytest.mark.behaviour("N6")
@with_cases(where=is_stop)
def test_a_forged_stop_is_refused_and_stores_nothing(dialect: Dialect, case: Case):
    given = scene(dialect)

    assert taken_forgeries(given, case) == []

    assert set(count_stored().values()) == {0}
    # It was genuine but for the forgery.
    assert given.deliver(given.posted(case)).status_code == 200


@with_dialects(where=a_status)
def test_a_forged_status_changes_nothing_and_opts_nobody_out(dialect: Dialect):
    given, case = scene(dialect), a_status(dialect)
    assert case is not None
    ours = given.our_text(case.message_id)

    assert taken_forgeries(given, case) == []

    ours.refresh_from_db()
    assert ours.state == "sent"
    assert not OptOut.objects.exists()
    assert not ConsentEvent.objects.exists()
    assert given.deliver(given.posted(case)).status_code == 200


@with_dialects(where=a_status)
def test_a_status_of_another_account_changes_nothing(dialect: Dialect):
    given, case = scene(dialect), a_status(dialect)
    assert case is not None
    ours = given.our_text(case.message_id)
    stranger = somebody_elses(dialect)
    type(ours).objects.update(account=stranger)

    answer = given.deliver(given.posted(case))

    assert answer.status_code == 200
    ours.refresh_from_db()
    assert ours.state == "sent"
    assert not OptOut.objects.exists()


@with_dialects(where=lambda dialect: dialect.rotates)
def test_while_a_secret_is_changed_the_old_and_the_new_one_count(dialect: Dialect):
    given, case = scene(dialect), a_stop(dialect)
    name, old, new = dialect.signing_secret, dialect.secret(), dialect.another_secret()
    given.account.add_secret(name, new)
    texts = [
        given.posted(case, dialect.another_text(dialect.payload(case), f"Text {n}", f"rotated-{n}"), secret=secret)
        for n, secret in enumerate([old, new, old, new])
    ]

    both = [given.deliver(text).status_code for text in texts[:2]]
    kept = given.account.kept_secrets(name)
    given.account.remove_secret(kept[-1].id)
    after = [given.deliver(text).status_code for text in texts[2:]]

    assert len(kept) == 2
    assert both == [200, 200]
    assert after[0] in (403, 503)
    assert after[1] == 200
    assert list(Message.objects.order_by("pk").values_list("text", flat=True)) == ["Text 0", "Text 1", "Text 3"]


@with_dialects(where=lambda dialect: dialect.rotates)
def test_an_account_without_its_secret_takes_nothing(dialect: Dialect):
    given, case = scene(dialect), a_stop(dialect)
    posted = given.posted(case)
    name = dialect.signing_secret
    given.account.settings.pop(name, None)
    given.account.secrets = [one for one in given.account.secrets if one["name"] != name]
    given.account.save()

    answer = given.deliver(posted)

    assert answer.status_code in (403, 503)
    assert set(count_stored().values()) == {0}


# Whoever looks whether anybody is there


@with_dialects()
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_whoever_looks_at_the_address_sees_that_somebody_is_there(dialect: Dialect, method: str):
    given = scene(dialect)

    answer = CLIENT.generic(method, given.path)

    assert answer.status_code == 200
    assert set(count_stored().values()) == {0}


@with_dialects()
def test_a_query_alone_proves_nothing(dialect: Dialect):
    given, case = scene(dialect), a_stop(dialect)
    body = quote(dialect.payload(case)[:2000], safe="=&+%")

    answers = [CLIENT.generic("GET", f"{given.path}?{query}") for query in ("a=b", body)]

    assert all(answer.status_code in (403, 503) for answer in answers)
    assert set(count_stored().values()) == {0}
