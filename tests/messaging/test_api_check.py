"""Asking the gate over the API: the shape of a verdict, voice, thousands of pairs, past moments, bad questions."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from messaging import consent
from messaging.models import Hold, Message, OptOut, Recipient
from offices import e164
from tests.factories import (
    CarrierAccountFactory,
    NumberFactory,
    OfficeFactory,
    RecipientFactory,
    fictional_number,
)
from tests.messaging.api_calls import SOMEBODY, SOMEBODY_ELSE, bearer, call, get, is_problem

pytestmark = pytest.mark.django_db

CHECK = "/api/v1/check/"
OK = {
    "allowed": True,
    "code": "ok",
    "reason": "Texts are allowed. Calls are still allowed.",
    "scope": None,
    "opt_out": None,
    "voice_allowed": True,
}


@pytest.fixture
def number():
    return NumberFactory()


@pytest.fixture
def token(number):
    return bearer(number.company, "check")


@pytest.fixture
def recipient(number):
    return RecipientFactory(company=number.company, e164=SOMEBODY)


def ask(token, number, to=SOMEBODY, **more):
    answer = call(CHECK, {"from": getattr(number, "e164", number), "to": to, **more}, token=token)
    assert answer.status_code == 200, answer.content
    return answer.json()


def receive(number, text, *, sender=SOMEBODY, message_id=None):
    """A text as the generic carrier delivers it."""
    token = bearer(number.company, "inbound", account=number.account)
    message_id = message_id or f"{text}-{timezone.now().isoformat()}"
    sent = {"from": sender, "to": number.e164, "text": text, "message_id": message_id}
    assert call("/api/v1/inbound/", sent, token=token).status_code == 201


# The shape


def test_an_allowed_text_has_all_the_verdicts_fields(number, token):
    assert ask(token, number) == OK


@pytest.mark.parametrize("written", ["15125550143", "(512) 555-0143", "512.555.0143", " +1 512 555 0143 "])
def test_numbers_may_be_written_as_people_write_them(number, token, written):
    receive(number, "STOP")

    assert ask(token, number, written)["code"] == "opted_out_company"
    assert ask(token, e164.show(number.e164))["code"] == "opted_out_company"


@pytest.mark.behaviour("N8")
def test_a_companys_opt_out_explains_itself(number, token):
    receive(number, "STOP")
    opt_out = OptOut.objects.get()

    verdict = ask(token, number)

    assert verdict.pop("reason").startswith("+1 512-555-0143 replied STOP on ")
    assert verdict == {
        "allowed": False,
        "code": "opted_out_company",
        "scope": {"kind": "company", "campaign": None},
        "opt_out": {
            "id": opt_out.pk,
            "texted_number": number.e164,
            "text": "STOP",
            "at": opt_out.texted_at.isoformat(),
            "event": opt_out.opened_by_id,
        },
        "voice_allowed": True,
    }


@pytest.mark.behaviour("N8")
def test_a_campaigns_opt_out_names_the_campaign(db):
    number = NumberFactory(registered=True)
    campaign = number.current_assignment().campaign
    receive(number, "STOP")

    verdict = ask(bearer(number.company, "check"), number)

    assert verdict["code"] == "opted_out_campaign"
    assert verdict["scope"] == {
        "kind": "campaign",
        "campaign": {"id": campaign.pk, "name": campaign.name, "registry_id": campaign.registry_id},
    }
    assert campaign.name in verdict["reason"]


def blocked(verdict, code, kind=None) -> bool:
    return (
        set(verdict) == set(OK)
        and not verdict["allowed"]
        and verdict["code"] == code
        and verdict["reason"].endswith("Calls are still allowed.")
        and verdict["voice_allowed"] is True
        and (verdict["scope"] or {}).get("kind") == kind
        and (verdict["opt_out"] is None) == (kind is None)
    )


def test_every_other_refusal_has_its_code(number, token, recipient):
    at = timezone.now()
    consent.opt_out(recipient, number, text="STOP", at=at, scope="number")
    assert blocked(ask(token, number), "opted_out_number", "number")

    someone = Recipient.objects.locked(number.company_id, SOMEBODY_ELSE)
    consent.opt_out_at_carrier(someone, number, carrier="twilio", detail="21610")
    assert blocked(ask(token, number, SOMEBODY_ELSE), "opted_out_carrier", "number")

    receive(number, "please stop texting me", sender="+15125550145")
    assert blocked(ask(token, number, "+15125550145"), "held", "company")

    assert blocked(ask(token, number, "not a number"), "not_textable")
    assert blocked(ask(token, number, "72345"), "not_textable")


def test_a_number_that_was_given_up_or_whose_account_is_off_is_inactive(number, token):
    given_up = NumberFactory(office=number.office, given_up_at=timezone.now())
    off = CarrierAccountFactory(company=number.company, is_active=False, name="Off")
    silent = NumberFactory(office=number.office, account=off)

    assert blocked(ask(token, given_up), "number_inactive")
    assert blocked(ask(token, silent), "number_inactive")


def test_another_companys_number_is_answered_like_one_of_nobody(number, token):
    other = NumberFactory(office=OfficeFactory(name="Elsewhere"))

    answers = [ask(token, to) for to in (other.e164, "+15125550199", "nonsense")]

    assert all(blocked(answer, "number_inactive") for answer in answers)
    assert answers[0]["reason"].replace(other.e164, "…") == answers[1]["reason"].replace("+15125550199", "…")


def test_another_companys_opt_outs_are_its_own(number, token):
    receive(NumberFactory(office=OfficeFactory(name="Elsewhere")), "STOP")

    assert ask(token, number) == OK


@pytest.mark.behaviour("B01")
def test_two_numbers_of_the_portal_chat(number, token):
    colleague = NumberFactory(office=number.office)

    verdict = ask(token, number, colleague.e164)

    assert (verdict["allowed"], verdict["code"]) == (True, "chat")


@pytest.mark.behaviour("B03")
def test_mms_stands_under_the_same_opt_out(number, token):
    receive(number, "STOP")

    assert ask(token, number, channel="mms") == ask(token, number, channel="sms")


# Voice


@pytest.mark.behaviour("B12")
def test_calls_are_always_allowed(number, token):
    receive(number, "STOP")
    receive(number, "please stop texting me", sender=SOMEBODY_ELSE)
    pairs = [
        {"from": number.e164, "to": SOMEBODY},
        {"from": number.e164, "to": SOMEBODY_ELSE},
        {"from": "+15125550199", "to": SOMEBODY},
        {"from": "nonsense", "to": "nonsense"},
    ]

    single = [call(CHECK, {**pair, "channel": "voice"}, token=token).json() for pair in pairs]
    many = call(CHECK, {"pairs": pairs, "channel": "voice"}, token=token).json()["verdicts"]

    assert single == many
    for verdict in many:
        assert set(verdict) == set(OK)
        assert (verdict["allowed"], verdict["code"], verdict["voice_allowed"]) == (True, "ok", True)
        assert verdict["scope"] is verdict["opt_out"] is None


@pytest.mark.behaviour("B12")
def test_calls_were_always_allowed(number, token):
    receive(number, "STOP")

    past = (timezone.now() - timedelta(days=1)).isoformat()
    assert ask(token, number, channel="voice", at=past)["allowed"]


# Many at once


def test_ten_thousand_pairs_are_answered_in_order_with_as_many_queries_as_ten(number, token):
    numbers = [number, NumberFactory(office=number.office, registered=True), NumberFactory(office=number.office)]
    everybody = [fictional_number(9_999 - n) for n in range(10_000)]
    stopped = everybody[5::1000]
    for to in stopped:
        receive(numbers[1], "STOP", sender=to)
    receive(numbers[0], "STOP", sender=everybody[7])
    pairs = [{"from": numbers[n % 3].e164, "to": to} for n, to in enumerate(everybody)]

    with CaptureQueriesContext(connection) as few:
        call(CHECK, {"pairs": pairs[:10]}, token=token)
    with CaptureQueriesContext(connection) as many:
        answer = call(CHECK, {"pairs": pairs}, token=token)

    verdicts = answer.json()["verdicts"]
    assert len(many) <= len(few) <= 12
    assert len(verdicts) == 10_000
    own = {one.e164 for one in numbers}
    for n, (pair, verdict) in enumerate(zip(pairs, verdicts, strict=True)):
        if pair["to"] in own:
            expected = "chat"
        elif pair["to"] == everybody[7]:
            expected = "opted_out_company"
        elif pair["to"] in stopped and n % 3 == 1:
            expected = "opted_out_campaign"
        else:
            expected = "ok"
        assert verdict["code"] == expected, (n, pair)
    blocked_one = next(n for n, v in enumerate(verdicts) if v["code"] == "opted_out_campaign")
    assert verdicts[blocked_one] == ask(token, pairs[blocked_one]["from"], pairs[blocked_one]["to"])


def test_more_than_ten_thousand_pairs_are_refused(number, token):
    pairs = [{"from": number.e164, "to": SOMEBODY}] * 10_001

    answer = call(CHECK, {"pairs": pairs}, token=token)

    assert is_problem(answer, 400)
    assert "10,000" in answer.json()["errors"]["pairs"][0]


def test_no_pairs_have_no_verdicts(token):
    assert call(CHECK, {"pairs": []}, token=token).json() == {"verdicts": []}


def test_one_bad_address_among_many_pairs_spoils_only_its_own_verdict(number, token):
    pairs = [{"from": number.e164, "to": SOMEBODY}, {"from": number.e164, "to": "☎"}, {"from": "", "to": SOMEBODY}]
    bad = call(CHECK, {"pairs": pairs}, token=token)
    good = call(CHECK, {"pairs": pairs[:2]}, token=token)

    assert is_problem(bad, 400)
    assert list(bad.json()["errors"]) == ["pairs.2.from"]
    assert [verdict["code"] for verdict in good.json()["verdicts"]] == ["ok", "not_textable"]


# Past moments


@pytest.mark.behaviour("N8")
def test_a_past_moment_is_answered_as_it_was(token, number):
    noon = datetime(2026, 11, 3, 12, tzinfo=UTC)
    with time_machine.travel(noon - timedelta(days=1), tick=False):
        number.created_at = timezone.now()
        number.save()
    with time_machine.travel(noon, tick=False):
        receive(number, "STOP")
    with time_machine.travel(noon + timedelta(hours=2), tick=False):
        receive(number, "UNSTOP")
    codes = {}
    for minutes in (-1, 0, 60, 119, 121):
        at = noon + timedelta(minutes=minutes)
        codes[minutes] = ask(token, number, at=at.isoformat())["code"]
        many = call(CHECK, {"pairs": [{"from": number.e164, "to": SOMEBODY}], "at": at.isoformat()}, token=token).json()
        assert many["verdicts"][0]["code"] == codes[minutes]

    assert codes == {-1: "ok", 0: "opted_out_company", 60: "opted_out_company", 119: "opted_out_company", 121: "ok"}
    assert ask(token, number)["code"] == "ok"


@pytest.mark.behaviour("N8")
@pytest.mark.parametrize("kind", ["opt-out", "hold"])
def test_a_past_moments_answer_names_the_opt_out_of_then_and_its_event(number, kind):
    token, text = bearer(number.company, "check", "read"), {"opt-out": "Quit", "hold": "please stop"}[kind]
    noon = datetime(2026, 11, 3, 12, tzinfo=UTC)
    with time_machine.travel(noon, tick=False):
        receive(number, text)
    with time_machine.travel(noon + timedelta(hours=2), tick=False):
        receive(number, "UNSTOP")
    with time_machine.travel(noon + timedelta(hours=3), tick=False):
        receive(number, "STOP")
    block = (OptOut if kind == "opt-out" else Hold).objects.get(text=text)

    answer = ask(token, number, at="2026-11-03T13:00:00Z")

    assert answer["opt_out"] == {
        "id": block.pk,
        "texted_number": number.e164,
        "text": text,
        "at": "2026-11-03T12:00:00+00:00",
        "event": block.opened_by_id,
    }
    assert answer["voice_allowed"]
    events = get("/api/v1/consent-events/", token=token).json()["results"]
    (opened,) = [event for event in events if event["id"] == answer["opt_out"]["event"]]
    assert (opened["received_text"], opened["number_e164"]) == (text, number.e164)
    assert ask(token, number, at="2026-11-03T14:30:00Z")["opt_out"] is None


def test_the_zone_of_a_past_moment_counts_and_must_be_said(token, number):
    noon = datetime(2026, 11, 3, 12, tzinfo=UTC)
    with time_machine.travel(noon, tick=False):
        receive(number, "STOP")

    before = ask(token, number, at="2026-11-03T12:30:00+01:00")
    after = ask(token, number, at="2026-11-03T07:30:00-05:00")
    unsaid = call(CHECK, {"from": number.e164, "to": SOMEBODY, "at": "2026-11-03T12:30:00"}, token=token)

    assert (before["code"], after["code"]) == ("ok", "opted_out_company")
    assert is_problem(unsaid, 400)
    assert "zone" in unsaid.json()["errors"]["at"][0]


@pytest.mark.parametrize("at", ["yesterday", "2026-13-01T00:00:00Z", 5, [], "9999-12-31T23:59:59Z", "\x00"])
def test_a_moment_that_is_none_or_yet_to_come_is_refused(token, number, at):
    answer = call(CHECK, {"from": number.e164, "to": SOMEBODY, "at": at}, token=token)

    assert is_problem(answer, 400)
    assert list(answer.json()["errors"]) == ["at"]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00Z"])
def test_a_moment_long_ago_never_fails(token, number, at):
    receive(number, "STOP")

    assert call(CHECK, {"from": number.e164, "to": SOMEBODY, "at": at}, token=token).status_code in (200, 400)


# Bad questions


NESTED = b"[" * 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"5", b'"x"', b"{}", b"\xff\xfe", b"\x00", NESTED, b'{"pairs":' + NESTED,
        b'{"from": "+12025550100"}', b'{"to": "+15125550143"}', b'{"from": null, "to": null}',
        b'{"from": "\\u0000", "to": "x"}', b'{"from": "\\ud800", "to": "x"}', b'{"from": [], "to": {}}',
        b'{"from": "x", "to": "y", "channel": "fax"}', b'{"from": "x", "to": "y", "pairs": []}',
        b'{"pairs": {}}', b'{"pairs": null}', b'{"pairs": [5]}', b'{"pairs": [{}]}', b'{"pairs": "x"}',
        b'{"from": "' + b"1" * 41 + b'", "to": "x"}', b'{"from": 1e999, "to": NaN}',
    ],
)  # fmt: skip
def test_a_question_that_is_none_is_a_problem(token, body):
    answer = call(CHECK, body, token=token)

    assert is_problem(answer, 400), answer.content


def test_a_problem_names_each_field_and_how_to_mend_it(number, token):
    answer = call(CHECK, {"pairs": [{"from": number.e164, "to": SOMEBODY}, {"to": SOMEBODY}]}, token=token)

    assert answer.json()["errors"] == {"pairs.1.from": ["This field is required."]}


def test_other_content_types_are_refused(token):
    assert is_problem(call(CHECK, b"from=1&to=2", token=token, content_type="application/x-www-form-urlencoded"), 415)


@pytest.mark.parametrize("charset", ["utf-16", "hex", "no-such", "idna", "utf-8"])
def test_odd_charsets_never_fail(number, token, charset):
    body = b'{"from": "%s", "to": "%s"}' % (number.e164.encode(), SOMEBODY.encode())

    answer = call(CHECK, body, token=token, content_type=f"application/json; charset={charset}")

    assert answer.status_code in (200, 400, 415)


def test_a_question_over_the_limit_is_answered_413(token, settings):
    body = b" " * settings.WEBHOOK_MAX_BYTES + b"{}"

    assert is_problem(call(CHECK, body, token=token), 413)


@pytest.mark.parametrize("scope", ["inbound", "send", "read"])
def test_a_token_needs_the_check_scope(number, scope):
    token = bearer(number.company, scope, account=number.account)

    assert is_problem(call(CHECK, {"from": number.e164, "to": SOMEBODY}, token=token), 403)


def test_nobody_asks_without_a_token(number):
    assert is_problem(call(CHECK, {"from": number.e164, "to": SOMEBODY}), 401)


def test_asking_stores_nothing(number, token):
    ask(token, number)

    assert not Recipient.objects.exists()
    assert not Message.objects.exists()
