"""The demo: what it fills in obeys the portal's own rules, and `manage.py demo` serves and ends cleanly."""

import io
import json
import os
import random
import re
import secrets
import signal
import socket
import stat
import subprocess
import sys
import time
from datetime import timedelta

import httpx
import psycopg
import pytest
from django.conf import settings
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client
from django.utils import timezone

from compliance.demo import companies, environment, filling, scenes, serving
from messaging import gate, inbound
from messaging.carriers.base import WebhookRequest
from messaging.models import (
    ConsentEvent,
    Conversation,
    Hold,
    Message,
    OptOut,
    Recipient,
    WebhookReceipt,
)
from offices.models import ApiToken, CarrierAccount, Company, HelpMessage, Number, tokens
from tests.factories import CompanyFactory

ROLES = ["operator", "company_admin", "office_admin", "agent", "auditor", "other_company_admin"]
LEFT = [Message.State.SENT, Message.State.DELIVERED, Message.State.FAILED, Message.State.UNCERTAIN]


@pytest.fixture(scope="module")
def demo(django_db_setup, django_db_blocker, tmp_path_factory):
    """The path of a demo.json, with all behind it in a database that is rolled back in the end."""
    path = tmp_path_factory.mktemp("demo") / "demo.json"
    with django_db_blocker.unblock(), transaction.atomic():
        call_command("demo", "--no-serve", "--json", str(path), stdout=io.StringIO())
        yield path
        transaction.set_rollback(True)


@pytest.fixture
def sheet(demo):
    """What demo.json says; what a test changes in the database is undone after it."""
    with transaction.atomic():
        yield json.loads(demo.read_text())
        transaction.set_rollback(True)


def test_the_demo_tells_a_year_of_some_five_thousand_texts_in_two_companies(sheet):
    assert {company.name for company in Company.objects.all()} == {companies.FIRST, companies.OTHER}
    assert 4_500 <= Message.objects.count() <= 6_000
    oldest = Message.objects.earliest("created_at").created_at
    assert timedelta(days=355) < timezone.now() - oldest < timedelta(days=367)
    assert not Message.objects.filter(created_at__gt=timezone.now()).exists()


def test_filling_again_changes_nothing_and_keeps_passwords_and_tokens(demo, sheet):
    before = (Message.objects.count(), ConsentEvent.objects.count(), ApiToken.objects.count())

    call_command("demo", "--no-serve", "--json", str(demo), stdout=io.StringIO())

    assert (Message.objects.count(), ConsentEvent.objects.count(), ApiToken.objects.count()) == before
    again = json.loads(demo.read_text())
    assert again == sheet


def test_a_lost_demo_json_is_written_anew_with_what_works(sheet, tmp_path):
    path = tmp_path / "new" / "demo.json"
    call_command("demo", "--no-serve", "--json", str(path), stdout=io.StringIO())

    fresh = json.loads(path.read_text())

    assert authenticate(**fresh["users"]["agent"])
    assert tokens.find(fresh["api_token"]) is not None
    assert fresh["api_token"] != sheet["api_token"]


def test_a_database_of_somebody_else_is_refused(db):
    CompanyFactory(name="Somebody Else")
    with pytest.raises(CommandError, match="does not mix"):
        call_command("demo", "--no-serve")


def test_demo_json_has_all_that_scripts_need_and_is_closed_to_others(demo, sheet):
    assert stat.S_IMODE(demo.stat().st_mode) == 0o600
    assert list(sheet["users"]) == ROLES
    assert sheet["inbound_url"] == f"{sheet['url']}/api/v1/inbound/"
    assert len(sheet["numbers"]["campaign"]) >= 2
    for kind in ("campaign", "uncampaigned", "toll_free", "other_company"):
        for number in sheet["numbers"][kind]:
            assert Number.objects.get(pk=number["id"]).e164 == number["e164"]
    of_campaign = Number.objects.filter(pk__in=[one["id"] for one in sheet["numbers"]["campaign"]])
    campaigns = {number.current_assignment().campaign for number in of_campaign}
    assert len(campaigns) == 1
    assert campaigns.pop().is_registered


def test_the_token_of_demo_json_delivers_asks_sends_and_reads(sheet):
    token = tokens.find(sheet["api_token"])
    assert token is not None
    assert set(token.scopes) == set(ApiToken.Scope.values)
    assert token.company.name == companies.FIRST
    assert token.account is not None
    other = tokens.find(sheet["other_company_api_token"])
    assert other is not None
    assert other.company.name == companies.OTHER


@pytest.mark.parametrize("role", ROLES)
def test_everybody_in_the_table_can_log_in(sheet, role):
    assert Client().login(**sheet["users"][role])


def test_the_recipient_of_demo_json_can_be_texted_from_every_number(sheet):
    company = Company.objects.get(name=companies.FIRST)
    active = Number.objects.filter(company=company, given_up_at__isnull=True)
    pairs = [(number.e164, sheet["recipient"]) for number in active]
    assert all(verdict.allowed for verdict in gate.check_addresses(company, pairs))


def test_another_recipient_is_named_once_the_first_has_spoken(sheet, tmp_path):
    take(sheet["recipient"], sheet["numbers"]["campaign"][0]["e164"], "STOP")
    call_command("demo", "--no-serve", "--json", str(tmp_path / "demo.json"), stdout=io.StringIO())
    assert json.loads((tmp_path / "demo.json").read_text())["recipient"] != sheet["recipient"]


def test_no_ordinary_text_left_while_an_opt_out_or_a_hold_covered_its_number(sheet):
    blocked_once = [*OptOut.objects.values("recipient"), *Hold.objects.values("recipient")]
    sent = list(
        Message.objects.filter(
            direction="out",
            purpose="ordinary",
            state__in=LEFT,
            recipient__in={row["recipient"] for row in blocked_once},
        ).select_related("number__account", "recipient")
    )
    assert len(sent) > 150
    for message in random.Random(1).sample(sent, 150):
        verdict = gate.check(message.number, message.recipient, at=message.created_at)
        assert verdict.allowed, f"{message.text} at {message.created_at}: {verdict.reason}"


def test_every_refused_or_cancelled_text_says_what_the_gate_said_and_is_on_record(sheet):
    refused = Message.objects.filter(state__in=["refused", "cancelled"])
    assert refused.filter(state="refused").count() > 10
    assert refused.filter(state="cancelled").count() >= 3
    for message in refused.select_related("number__account", "recipient"):
        event = ConsentEvent.objects.get(kind="refusal", message_id_then=message.pk)
        verdict = gate.check(message.number, message.recipient, at=event.stored_at)
        assert not verdict.allowed
        assert message.verdict == verdict.as_dict()
        assert event.reason == f"{verdict.code}: {verdict.reason}"


def test_every_opt_out_was_opened_by_its_event_and_closed_by_an_opt_in(sheet):
    rows = OptOut.objects.select_related("opened_by", "closed_by")
    assert rows.count() > 60
    for row in rows:
        assert row.opened_by.kind in ("opt_out", "carrier")
        assert row.opened_by.recipient_id == row.recipient_id
        assert row.opened_by.stored_at == row.opened_at
        assert row.closed_by is None or row.closed_by.kind == "opt_in"
        assert row.closed_by is None or row.closed_by.stored_at == row.closed_at
    assert rows.filter(closed_at__isnull=False).count() >= 5


def test_every_event_of_a_received_text_copies_that_text(sheet):
    texts = Message.objects.in_bulk()
    events = ConsentEvent.objects.filter(source="recipient")
    assert events.count() > 80
    for event in events:
        message = texts[event.message_id_then]
        assert (event.received_text, event.received_at) == (message.text, message.received_at)
        assert event.carrier_message_id == message.carrier_message_id


def test_holds_are_there_in_every_state_and_wait_with_different_due_times(sheet):
    outcomes = dict.fromkeys(Hold.objects.values_list("outcome", flat=True))
    assert {"waiting", "released", "opted_out"} <= set(outcomes)
    waiting = Hold.objects.filter(outcome="waiting")
    assert len({hold.due_at.date() for hold in waiting}) >= 3
    assert not waiting.filter(due_at__lte=timezone.now()).exists()


def test_a_stop_is_confirmed_once_within_five_minutes_and_never_on_toll_free(sheet):
    confirmations = Message.objects.filter(purpose="confirmation").select_related("number", "conversation")
    assert confirmations.count() > 40
    for message in confirmations:
        assert message.number.kind != Number.Kind.TOLL_FREE
        stop = message.conversation.messages.filter(direction="in", pk__lt=message.pk).latest("pk")
        assert stop.outcome == "opted_out"
        assert message.sent_at - stop.received_at < timedelta(minutes=5)
    stops = Message.objects.filter(outcome="opted_out").exclude(number__kind=Number.Kind.TOLL_FREE)
    assert confirmations.count() == stops.count()


def test_help_was_answered_by_the_text_that_was_live_at_that_moment(sheet):
    replies = Message.objects.filter(purpose="help_reply").select_related("number__office")
    assert replies.count() >= 5
    for reply in replies:
        office = reply.number.office
        live = HelpMessage.objects.filter(office=office, created_at__lte=reply.created_at).order_by("-pk").first()
        assert reply.help_message == live
        assert reply.text == (live.text if live and not live.is_canned else office.canned_help_text())


def test_toll_free_commands_are_the_networks_and_chat_touches_no_carrier(sheet):
    network = Message.objects.filter(outcome="network_keyword")
    assert network.count() >= 4
    assert set(network.values_list("number__kind", flat=True)) == {"toll_free"}
    assert Message.objects.filter(channel="chat", account__isnull=True).count() > 20


def test_every_conversation_shows_its_last_text(sheet):
    for conversation in Conversation.objects.prefetch_related("messages"):
        shown = [one for one in conversation.messages.all() if one.state != Message.State.REFUSED]
        if shown:
            last = max(shown, key=lambda one: one.pk)
            assert (conversation.last_message_at, conversation.last_text) == (last.created_at, last.text[:120])


def test_recent_days_are_alive_and_nothing_waits_for_the_worker(sheet):
    recent = Message.objects.filter(created_at__gte=timezone.now() - timedelta(days=30))
    assert len({message.created_at.date() for message in recent}) >= 18
    assert recent.filter(created_at__gte=timezone.now() - timedelta(hours=3)).count() >= 5
    assert not Message.objects.filter(next_attempt_at__isnull=False).exists()
    assert not Message.objects.filter(state__in=["queued", "sending"]).exists()


def test_some_requests_wait_for_the_operator(sheet):
    waiting = WebhookReceipt.objects.filter(status="not_understood")
    assert waiting.count() == 2
    assert all(receipt.error for receipt in waiting)


def test_all_numbers_are_fictional(sheet):
    addresses = [*Number.objects.values_list("e164", flat=True), *Recipient.objects.values_list("e164", flat=True)]
    assert all(re.fullmatch(r"\+1[2-9]\d\d55501\d\d", address) for address in addresses)


def test_life_goes_on_after_the_year(sheet):
    front = sheet["numbers"]["campaign"][0]["e164"]

    assert take(sheet["recipient"], front, "STOP").outcome == "opted_out"
    assert take(scenes.BLOCKED, front, "UNSTOP").outcome == "opted_in"

    assert ConsentEvent.objects.first().kind == "opt_in"
    number = Number.objects.select_related("account").get(e164=front)
    assert gate.check(number, Recipient.objects.get(e164=scenes.BLOCKED)).allowed


@pytest.mark.parametrize(("weekday", "hour"), [(0, 0), (4, 15), (5, 23), (6, 7)])
def test_the_year_can_end_at_any_hour_of_the_week(db, weekday, hour):
    """`fill` itself asks the gate about the outcome, and refuses what does not agree."""
    now = timezone.now().replace(hour=hour, minute=3)
    now -= timedelta(days=(now.weekday() - weekday) % 7 or 7)

    filling.fill("not used here", now=now)

    assert Message.objects.filter(created_at__gte=now - timedelta(hours=3)).count() >= 5


@pytest.mark.parametrize(
    ("arguments", "port"),
    [([], ""), (["--port", "8123"], "8123"), (["--port=8123"], "8123"), (["--no-serve"], ""), (["--port"], "")],
)
def test_the_port_is_read_from_the_command_line(arguments, port):
    assert environment.asked_port(arguments) == port


def test_the_secret_key_is_made_once_and_closed_to_others(tmp_path):
    path = tmp_path / "var" / "key"
    secret = environment.kept_secret(path)
    assert len(secret) > 50
    assert environment.kept_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("port", ["", "abc", "0", "99999", "-1"])
def test_what_is_no_port_is_said_so(port):
    with pytest.raises(serving.CannotServe, match="is no port"):
        serving.refuse_taken_port(f"127.0.0.1:{port}")


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(serving.CannotServe, match=f"Port {port} cannot be used"):
            serving.refuse_taken_port(f"127.0.0.1:{port}")


@pytest.mark.slow
def test_the_demo_serves_takes_a_stop_and_ends_cleanly(own_database, tmp_path):
    port = free_port()
    path = tmp_path / "demo.json"
    inherited = {name: value for name, value in os.environ.items() if name not in ("PUBLIC_URL", "BIND", "PORT")}
    command = [sys.executable, "manage.py", "demo", "--port", str(port), "--json", str(path)]
    process = subprocess.Popen(
        command,
        cwd=settings.BASE_DIR,
        env={**inherited, "DATABASE_URL": own_database, "WEB_CONCURRENCY": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as web:
            wait_for(lambda: web.get("/readyz").status_code == 200, process)
            assert web.get("/healthz").json() == {"status": "ok"}
            sheet = json.loads(path.read_text())
            assert sheet["url"] == f"http://127.0.0.1:{port}"
            answer = web.post(
                sheet["inbound_url"],
                headers={"Authorization": f"Bearer {sheet['api_token']}"},
                json={
                    "from": sheet["recipient"],
                    "to": sheet["numbers"]["campaign"][0]["e164"],
                    "text": "STOP",
                    "message_id": secrets.token_hex(8),
                },
            )
            assert answer.status_code == 201
            assert answer.json()["outcome"] == "opted_out"
            stylesheet = web.get("/static/unfold/css/styles.css")
            assert stylesheet.status_code == 200
            assert stylesheet.headers["Content-Type"].startswith("text/css")
            wait_for(lambda: confirmed(web, sheet), process)
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=50)
    assert process.returncode == 0, said
    assert "agent@quillfeather.example" in said
    assert "The demo has ended." in said
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz")


@pytest.fixture
def own_database():
    """The address of an empty database beside the tests' own."""
    known, name = settings.DATABASES["default"], f"demo_{secrets.token_hex(4)}"
    server = psycopg.connect(
        host=known["HOST"],
        port=known["PORT"] or None,
        user=known["USER"],
        password=known["PASSWORD"],
        dbname="postgres",
        autocommit=True,
    )
    with server:
        server.execute(f'CREATE DATABASE "{name}"')
        yield f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{name}"
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def take(sender, to, text):
    account = CarrierAccount.objects.get(numbers__e164=to)
    body = {"from": sender, "to": to, "text": text, "message_id": secrets.token_hex(8)}
    return inbound.take(account, WebhookRequest("POST", "", json.dumps(body).encode(), "application/json"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def confirmed(web, sheet):
    """Whether the worker has sent the confirmation of the STOP."""
    answer = web.get(
        sheet["messages_url"],
        params={"recipient": sheet["recipient"]},
        headers={"Authorization": f"Bearer {sheet['api_token']}"},
    )
    return any((one["purpose"], one["state"]) == ("confirmation", "sent") for one in answer.json()["results"])


def wait_for(is_so, process, seconds=50):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read()
        try:
            if is_so():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail("It did not come to that in time.")
