"""Handing texts to Twilio, asking it about the account, and reading its list; a server on this machine plays it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
import time_machine
from twilio.request_validator import RequestValidator

from messaging import outbox
from messaging.carriers.base import CarrierError, ListedText, Media, OutboundText
from messaging.carriers.twilio import Twilio
from messaging.models import Message, OptOut
from offices.credentials import Credentials
from tests.messaging.carriers.dialect import OURS, PAYLOADS, SENDER, Answer, Posted
from tests.messaging.carriers.dialects.twilio import DIALECT, OUT
from tests.messaging.carriers.loopback import Loopback
from tests.messaging.carriers.scene import PUBLIC_URL, Scene, scene

pytestmark = pytest.mark.django_db

AC = "AC" + "0" * 32
TOKEN = DIALECT.secret()
SINCE, UNTIL = datetime(2026, 11, 22, 3, tzinfo=UTC), datetime(2026, 11, 23, 3, tzinfo=UTC)
WITHIN = "Sun, 22 Nov 2026 18:30:00 +0000"


def credentials(server: Loopback, **settings: str) -> Credentials:
    return Credentials({"account_sid": AC, "api_base": server.url, **settings}, {"auth_token": [TOKEN, "older"]})


def fields(server: Loopback) -> list[tuple[str, str]]:
    return parse_qsl(server.asked[0].body.decode(), keep_blank_values=True)


def send(given: Scene, text: str = "Hello", **more: Any) -> Message:
    """Accept a text and let the worker take one step with it."""
    message = outbox.accept(given.number, SENDER, text, **more)
    outbox.hand_over_due()
    message.refresh_from_db()
    return message


def report(given: Scene, name: str, query: str = "") -> Any:
    """Post a status as Twilio does, signed by its own library."""
    body = (PAYLOADS / "twilio" / f"{name}.form").read_bytes()
    url = f"{PUBLIC_URL}{given.path}?{query}" if query else PUBLIC_URL + given.path
    signed = RequestValidator(TOKEN).compute_signature(url, dict(parse_qsl(body.decode())))
    return given.deliver(Posted(body, DIALECT.content_type, {"X-Twilio-Signature": signed}, query))


def test_twilio_is_asked_with_the_newest_token_and_told_where_statuses_go(server):
    given = scene(DIALECT, api_base=server.url)
    given.account.add_secret("auth_token", "newer")
    server.will_answer(DIALECT.taken(OUT))

    message = send(given, "1 + 1 = 2 & 50% 👍🏽 café\n ")

    assert server.asked[0].path == f"/Accounts/{AC}/Messages.json"
    assert server.asked[0].headers["Authorization"] == f"Basic {base64.b64encode(f'{AC}:newer'.encode()).decode()}"
    assert server.asked[0].headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert fields(server) == [
        ("From", OURS),
        ("To", SENDER),
        ("Body", "1 + 1 = 2 & 50% 👍🏽 café\n "),
        ("StatusCallback", f"{PUBLIC_URL}{given.path}?text={message.pk}"),
    ]


def test_media_are_handed_over_as_addresses(server):
    server.will_answer(DIALECT.taken(OUT))

    send(
        scene(DIALECT, api_base=server.url),
        "",
        media=[Media("https://example.com/1.jpg?a=1&b=2"), Media("https://example.com/2.jpg")],
    )

    given_media = [value for name, value in fields(server) if name == "MediaUrl"]
    assert given_media == ["https://example.com/1.jpg?a=1&b=2", "https://example.com/2.jpg"]


def test_without_https_no_status_is_asked_for(server, settings):
    settings.PUBLIC_URL = "http://127.0.0.1:8000"  # Twilio refuses the whole text for an address it cannot reach
    server.will_answer(DIALECT.taken(OUT))

    send(scene(DIALECT, api_base=server.url))

    assert "StatusCallback" not in dict(fields(server))


@pytest.mark.parametrize(
    ("status", "code", "permanent", "opted_out", "trouble"),
    [
        (400, 21610, True, True, False),
        (403, 21610, True, True, False),
        # About this text alone, with whatever status: others may leave.
        (400, 21211, True, False, False),
        (400, 21614, True, False, False),
        (403, 21612, True, False, False),
        (403, 21408, True, False, False),
        (404, 20404, True, False, False),
        # The sender's queue and the account's limits come with statuses of their own kind.
        (400, 21611, False, False, True),
        (429, 21611, False, False, True),
        (400, 63038, False, False, True),
        (429, 63038, False, False, True),
        (400, 60728, False, False, True),
        (400, 30001, False, False, True),
        (400, 30002, False, False, True),
        (429, 20429, False, False, True),
        (401, 20003, False, False, True),
        (403, 20003, False, False, True),
        (403, 20005, False, False, True),
        (400, 14107, False, False, False),
        (500, 20500, False, False, True),
    ],
)
def test_what_twilios_code_says_of_the_text_and_of_the_account(server, status, code, permanent, opted_out, trouble):
    server.will_answer(DIALECT.refused(status, code, **{"Retry-After": "30"}))

    with pytest.raises(CarrierError) as caught:
        Twilio().send(credentials(server), OutboundText(OURS, SENDER, "Hello", "1", ""))

    error = caught.value
    assert (error.permanent, error.opted_out, error.is_trouble) == (permanent, opted_out, trouble)
    assert (error.retry_after, error.uncertain) == (30, False)
    assert str(code) in str(error)


@pytest.mark.parametrize(
    ("status", "body", "permanent"),
    [
        (502, b"<html>Bad gateway</html>", False),
        (500, b"", False),
        (500, b"[1]", False),
        (400, b'{"code": null, "message": ["x"]}', True),
        (302, b"", True),
    ],
)
def test_an_answer_without_a_code_counts_by_its_status(server, status, body, permanent):
    server.will_answer(Answer(status, body, {"Location": f"{server.url}/elsewhere"}))

    with pytest.raises(CarrierError) as caught:
        Twilio().send(credentials(server), OutboundText(OURS, SENDER, "Hello", "1", ""))

    assert (caught.value.permanent, caught.value.uncertain, len(server.asked)) == (permanent, False, 1)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("Mon, 23 Nov 2026 18:32:00 GMT", 120),
        ("Mon, 23 Nov 2026 13:32:00 -0500", 120),
        ("Mon, 23 Nov 2026 18:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 9_999_999),
        ("9" * 400, None),
        ("-5", None),
        ("1.5", None),
        ("\xb2", None),
        ("soon", None),
        ("", None),
    ],
)
def test_how_long_to_wait_may_be_written_in_seconds_or_as_a_moment(server, written, seconds):
    server.will_answer(DIALECT.refused(429, 20429, **{"Retry-After": written}))

    at = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
    with time_machine.travel(at, tick=False), pytest.raises(CarrierError) as caught:
        Twilio().send(credentials(server), OutboundText(OURS, SENDER, "Hello", "1", ""))

    assert caught.value.retry_after == seconds


# What becomes of a text that may have left


def test_an_uncertain_text_is_settled_by_twilios_status_when_its_sid_is_known(server):
    given = scene(DIALECT, api_base=server.url)
    server.will_answer(DIALECT.taken(OUT))
    message = send(given)
    Message.objects.update(state="uncertain")

    report(given, "status_delivered")

    message.refresh_from_db()
    assert message.state == "delivered"


def test_an_uncertain_text_without_a_sid_is_settled_by_the_status_that_names_it(server):
    given = scene(DIALECT, api_base=server.url)
    server.will_answer("cut")
    message = send(given)
    assert (message.state, message.carrier_message_id) == ("uncertain", "")

    report(given, "status_delivered", f"text={message.pk}")

    message.refresh_from_db()
    assert (message.state, message.carrier_message_id) == ("delivered", OUT)


@pytest.mark.parametrize("name", ["0", "²", "x", "9" * 400, ""])
def test_a_status_that_names_no_text_of_the_account_changes_nothing(server, name):
    given = scene(DIALECT, api_base=server.url)
    server.will_answer("cut")
    message = send(given)

    answer = report(given, "status_failed_21610", urlencode({"text": name}))

    message.refresh_from_db()
    assert answer.status_code == 200
    assert (message.state, message.carrier_message_id) == ("uncertain", "")
    assert not OptOut.objects.exists()


@pytest.mark.parametrize(
    ("base", "state"),
    [
        ("ftp://127.0.0.1", "failed"),
        ("nonsense", "failed"),
        # Nobody can be reached there, which may pass: the text waits until it is too old.
        ("http://[", "sending"),
        ("http://127.0.0.1:99999", "sending"),
        ("http://no-such-host.invalid", "sending"),
    ],
)
def test_a_wrong_address_hinders_its_own_texts_and_not_the_worker(base, state):
    message = send(scene(DIALECT, api_base=base))

    assert message.state == state
    assert (message.next_attempt_at is not None) == (state == "sending")


# Whether the connection works


def test_the_test_names_the_account_and_changes_nothing(server):
    server.will_answer(
        Answer.json(200, {"sid": AC, "friendly_name": "Acme Dental", "status": "active", "type": "Full"})
    )

    said = Twilio().test(credentials(server))

    assert said == "Twilio knows the account “Acme Dental”, and it is active."
    assert [(one.method, one.path) for one in server.asked] == [("GET", f"/Accounts/{AC}.json")]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (DIALECT.refused(401, 20003), "Copy the Account SID and the primary auth token anew"),
        (DIALECT.refused(404, 20404), "Copy the Account SID"),
        (Answer.json(200, {"friendly_name": "Acme", "status": "suspended"}), "is suspended"),
        (Answer(200, b"<html>Welcome to our hotel</html>"), "none of Twilio's"),
        (DIALECT.refused(500, 20500), "HTTP 500"),
        ("cut", "No answer"),
    ],
)
def test_a_connection_that_does_not_work_says_how_to_mend_it(server, answer, words):
    server.will_answer(answer)

    with pytest.raises(CarrierError, match=words) as caught:
        Twilio().test(credentials(server))

    assert TOKEN not in str(caught.value)


# The list


def listed_item(number: int, **more: Any) -> dict[str, Any]:
    return {
        "sid": f"SM{number:032x}", "direction": "inbound", "from": SENDER, "to": OURS, "body": "STOP",
        "status": "received", "num_media": "0", "num_segments": "1", "error_code": None, "error_message": None,
        "date_created": WITHIN, "date_sent": WITHIN, "date_updated": WITHIN, "account_sid": AC, "price": None, **more,
    }  # fmt: skip


def page(*items: object, following: str | None = None) -> Answer:
    return Answer.json(200, {"messages": list(items), "next_page_uri": following, "page": 0, "page_size": 1000})


def test_every_page_of_the_list_is_read_for_the_days_of_the_window(server):
    server.will_answer(
        page(listed_item(1), following=f"/2010-04-01/Accounts/{AC}/Messages.json?PageSize=1000&Page=1&PageToken=PASM1"),
        page(listed_item(2), following=f"{server.url}/2010-04-01/third?Page=2"),
        page(listed_item(3)),
    )

    texts = list(Twilio().listed(credentials(server), SINCE, UNTIL))

    assert [text.message_id for text in texts] == [f"SM{n:032x}" for n in (1, 2, 3)]
    assert [one.path.partition("?")[0] for one in server.asked] == [
        f"/Accounts/{AC}/Messages.json",
        f"/2010-04-01/Accounts/{AC}/Messages.json",
        "/2010-04-01/third",
    ]
    asked = dict(parse_qsl(server.asked[0].path.partition("?")[2]))
    assert asked == {"DateSent>": "2026-11-22", "DateSent<": "2026-11-24", "PageSize": "1000"}
    assert all("Authorization" in one.headers for one in server.asked)


def test_each_entry_is_told_as_it_is(server):
    server.will_answer(
        page(
            listed_item(1),
            listed_item(
                2, direction="outbound-api", status="undelivered", error_code=21610, **{"from": OURS}, to=SENDER
            ),
            listed_item(3, direction="outbound-reply", status="queued", date_sent=None),
            listed_item(4, num_media="2", body=""),
            listed_item(5, body=""),
            listed_item(6, body=None),
            # At the edges of the window, and beyond.
            listed_item(7, date_created="Sun, 22 Nov 2026 03:00:00 +0000"),
            listed_item(8, date_created="Sat, 21 Nov 2026 22:00:00 -0500"),
            listed_item(9, date_created="Sun, 22 Nov 2026 02:59:59 +0000"),
            listed_item(10, date_created="Mon, 23 Nov 2026 03:00:01 +0000"),
            # Without what tells one from another.
            listed_item(11, date_created="yesterday", date_sent=None),
            listed_item(12, sid=None),
            None,
        )
    )

    texts = {int(text.message_id[2:], 16): text for text in Twilio().listed(credentials(server), SINCE, UNTIL)}

    assert sorted(texts) == [1, 2, 3, 4, 5, 6, 7, 8]
    at = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
    assert texts[1] == ListedText(f"SM{1:032x}", True, SENDER, OURS, at, "STOP", [], None, "received", False)
    assert (texts[2].is_inbound, texts[2].state, texts[2].opted_out) == (False, "failed", True)
    assert texts[2].detail == "undelivered 21610"
    assert (texts[3].is_inbound, texts[3].state) == (False, None)
    assert (texts[4].text, [one.url for one in texts[4].media]) == (
        "",
        [f"{server.url}/Accounts/{AC}/Messages/SM{4:032x}/Media.json"],
    )
    # No words and no files: they were redacted, and may have been a STOP.
    assert (texts[5].text, texts[6].text) == (None, None)


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example.com/2010-04-01/x", "//evil.example.com/x", "http://127.0.0.1:1/x", "http://["]
)
def test_a_next_page_on_another_host_is_not_opened(server, elsewhere):
    server.will_answer(page(listed_item(1), following=elsewhere))
    found = []

    with pytest.raises(CarrierError, match="another host"):
        found.extend(Twilio().listed(credentials(server), SINCE, UNTIL))

    assert len(server.asked) == 1


def test_a_list_that_leads_back_to_itself_ends(server):
    server.will_answer(page(listed_item(1), following="/same"))

    assert len(list(Twilio().listed(credentials(server), SINCE, UNTIL))) == 2
    assert len(server.asked) == 2


@pytest.mark.parametrize("answer", [DIALECT.failing(), DIALECT.locked_out(), Answer(200, b"{}"), "cut"])
def test_a_list_that_breaks_off_says_so_and_what_came_before_it_counts(server, answer):
    server.will_answer(page(listed_item(1), following="/next"), answer)
    listed = Twilio().listed(credentials(server), SINCE, UNTIL)

    first = next(listed)

    assert isinstance(first, ListedText)
    with pytest.raises(CarrierError) as caught:
        next(listed)
    assert not caught.value.uncertain
