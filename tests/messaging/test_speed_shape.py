"""The cost of an answer does not grow with the tables: a fixed number of queries, each by an index."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from messaging import consent, gate, inbound, outbox
from messaging.models import CarrierHealth, Hold, Recipient
from offices.models import Number
from tests.factories import HelpMessageFactory, NumberFactory
from tests.messaging.texting import document, receive, request_of, send, somebody

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

ROWS = 45_000
BIG = ["recipient", "conversation", "message", "consentevent", "optout", "hold", "webhookreceipt"]

# A company with tens of thousands of recipients who have texted, opted out (half of them back in) and been texted.
# Their numbers are of the fictional range in area codes that no factory uses.
FILL = """
INSERT INTO messaging_recipient (company_id, e164, name)
SELECT %(company)s, '+1' || (520 + i / 100) || '55501' || lpad((i %% 100)::text, 2, '0'), ''
FROM generate_series(0, %(rows)s - 1) i ON CONFLICT DO NOTHING;

CREATE TEMPORARY TABLE person ON COMMIT DROP AS
SELECT id, e164, row_number() OVER (ORDER BY id) AS n, now() - interval '300 days' + id * interval '1 second' AS at
FROM messaging_recipient WHERE company_id = %(company)s;

INSERT INTO messaging_conversation (company_id, number_id, recipient_id, last_text, last_direction)
SELECT %(company)s, %(number)s, id, 'STOP', 'in' FROM person ON CONFLICT DO NOTHING;

INSERT INTO messaging_message (company_id, conversation_id, recipient_id, number_id, account_id, direction, channel,
    purpose, text, media, segments, state, outcome, carrier_message_id, idempotency_key, author_name, created_at,
    received_at, attempts, error)
SELECT %(company)s, c.id, p.id, %(number)s, %(account)s, d.direction, 'sms',
    CASE WHEN d.direction = 'out' AND p.n %% 2 = 0 THEN 'confirmation' ELSE 'ordinary' END, 'STOP', '[]', 1, d.state,
    d.outcome, d.direction || p.id, CASE WHEN d.direction = 'out' THEN 'key-' || p.id ELSE '' END, '', p.at, p.at, 0, ''
FROM person p JOIN messaging_conversation c ON c.recipient_id = p.id AND c.number_id = %(number)s,
    (VALUES ('in', 'received', 'opted_out'), ('out', 'sent', '')) d (direction, state, outcome);

INSERT INTO messaging_consentevent (company_id, office_id, recipient_id, recipient_e164, kind, source, number_e164,
    number_kind, office_name, campaign_name, campaign_registry_id, campaign_status, scope, received_text,
    matched_words, reading, rule_version, reason, received_at, carrier, carrier_message_id, actor_name, hash)
SELECT %(company)s, %(office)s, id, e164, k.kind, 'recipient', %(e164)s, 'ten_digit', '', '', '', '', 'company', 'STOP',
    'stop', 'exact', '', '', at, 'console', '', '', repeat('0', 64)
FROM person, (VALUES ('opt_out'), ('opt_in')) k (kind);

INSERT INTO messaging_optout (company_id, office_id, recipient_id, scope, texted_number, text, texted_at, opened_at,
    opened_by_id, closed_at, closed_by_id, is_carrier)
SELECT %(company)s, %(office)s, p.id, 'company', %(e164)s, 'STOP', p.at, p.at, e.id,
    CASE WHEN p.n %% 2 = 0 THEN p.at END, CASE WHEN p.n %% 2 = 0 THEN e.id END, false
FROM person p JOIN messaging_consentevent e ON e.recipient_id = p.id AND e.kind = 'opt_out';

INSERT INTO messaging_hold (company_id, office_id, recipient_id, scope, texted_number, text, texted_at, opened_at,
    opened_by_id, near_miss, matched_words, message_id, due_at, outcome, review_reason)
SELECT %(company)s, %(office)s, p.id, 'company', %(e164)s, 'stop!!', p.at, p.at, e.id, 'decorated command', 'stop',
    m.id, now() + interval '10 days', 'waiting', ''
FROM person p JOIN messaging_consentevent e ON e.recipient_id = p.id AND e.kind = 'opt_out'
    JOIN messaging_message m ON m.recipient_id = p.id AND m.direction = 'in' WHERE p.n %% 5 = 0;

INSERT INTO messaging_webhookreceipt (company_id, account_id, carrier, content_type, body, status, error, message_id)
SELECT %(company)s, %(account)s, 'console', '', '{}', 'understood', '', m.id
FROM messaging_message m WHERE m.direction = 'in' AND m.company_id = %(company)s;
"""


@pytest.fixture
def number() -> Number:
    number = NumberFactory(registered=True)
    HelpMessageFactory(office=number.office)
    # Written down once in ten seconds, and not with every text: not while this test runs.
    CarrierHealth.note(number.account, last_taken_at=timezone.now() + timedelta(hours=1))
    return Number.objects.select_related("company", "account").get(pk=number.pk)


def fill(number: Number, rows: int) -> None:
    with connection.cursor() as cursor:
        values: dict[str, int | str] = {
            "company": number.company_id, "number": number.pk, "account": number.account_id,
            "office": number.office_id, "e164": number.e164, "rows": rows,
        }  # fmt: skip
        for statement in FILL.split(";\n"):
            if statement.strip():
                cursor.execute(statement, values)
        for table in BIG:
            cursor.execute(f"ANALYZE messaging_{table}")


Path = tuple[str, Callable[[], Any]]


def paths(number: Number) -> list[Path]:
    """All that happens all day, each as somebody who has texted before and can be texted."""
    account = number.account

    def person() -> str:
        someone = somebody()
        receive(number, someone, "Hello")
        return someone

    def text(words: str, before: str | None = None) -> Callable[[], Any]:
        someone = person()
        if before:
            receive(number, someone, before)
        request = request_of(document(number, someone, words))
        return lambda: inbound.take(account, request)

    def again() -> Callable[[], Any]:
        request = request_of(document(number, somebody(), "STOP"))
        inbound.take(account, request)
        return lambda: inbound.take(account, request)

    def hand_over() -> Callable[[], Any]:
        send(number, someone := person())
        message = send(number, someone)
        lease, claimed = outbox.claim(100)
        assert message.pk in claimed
        return lambda: outbox.hand_over(message.pk, lease)

    def review() -> Callable[[], Any]:
        receive(number, someone := person(), "stop!!")
        hold = Hold.objects.get(recipient__e164=someone)
        return lambda: consent.review(hold.pk, is_opt_out=True, reviewer=None, reason="")

    someone, opted_out = person(), person()
    receive(number, opted_out, "STOP")
    fresh = Number.objects.select_related("company", "account").get(pk=number.pk)
    known = Recipient.objects.get(e164=opted_out, company=number.company_id)
    return [
        ("STOP", text("STOP")),
        ("UNSTOP", text("UNSTOP", before="STOP")),
        ("HELP", text("HELP")),
        ("near miss", text("stop!!")),
        ("plain text", text("Hello again")),
        ("delivered again", again()),
        ("accept", lambda: outbox.accept(fresh, someone, "Hi", idempotency_key="k")),
        ("accept again", lambda: outbox.accept(fresh, someone, "Hi", idempotency_key="k")),
        ("refuse", lambda: outbox.accept(fresh, opted_out, "Hi")),
        ("hand over", hand_over()),
        ("claim", lambda: outbox.claim(10)),
        ("check", lambda: gate.check(fresh, known)),
        ("check of then", lambda: gate.check(fresh, known, at=known.created_at)),
        ("check of twenty", lambda: gate.check_many([(fresh, somebody()) for _ in range(20)])),
        ("review", review()),
        ("due holds", consent.settle_due_holds),
        ("cut off", outbox.settle_cut_off),
    ]


def measured(number: Number) -> dict[str, list[str]]:
    """The statements of each path. Savepoints are left out: they cost next to nothing."""
    found = {}
    for name, path in paths(number):
        with CaptureQueriesContext(connection) as queries:
            path()
        found[name] = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    return found


# Savepoints apart; a little more than it takes today.
MOST_QUERIES = {
    "STOP": 18, "UNSTOP": 16, "HELP": 16, "near miss": 13, "plain text": 8, "delivered again": 5, "accept": 9,
    "accept again": 4, "refuse": 13, "hand over": 10, "claim": 1, "check": 4, "check of then": 4,
    "check of twenty": 4, "review": 11, "due holds": 1, "cut off": 1,
}  # fmt: skip


def test_each_path_takes_a_fixed_number_of_queries_and_each_goes_by_an_index(number):
    with rolled_back():
        fill(number, 10)
        small = {name: len(statements) for name, statements in measured(number).items()}
    with rolled_back():
        fill(number, ROWS)
        statements = measured(number)
        slow = [
            (name, scanned, statement[:300])
            for name, of_path in statements.items()
            for statement in of_path
            if statement.split(None, 1)[0] in ("SELECT", "UPDATE", "DELETE")
            for scanned in sequentially_scanned(statement)
        ]
        # That this look at the plans can notice anything at all:
        assert sequentially_scanned("SELECT * FROM messaging_message WHERE text = 'x'") == ["messaging_message"]
        assert sequentially_scanned("UPDATE messaging_optout SET text = '' WHERE text = 'x'") == ["messaging_optout"]

    large = {name: len(of_path) for name, of_path in statements.items()}
    assert large == small
    assert {name: count for name, count in large.items() if count > MOST_QUERIES[name]} == {}
    assert slow == []


@contextmanager
def rolled_back() -> Iterator[None]:
    """In a transaction that is undone here, so that the deferred foreign keys of so many rows need not be checked."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def sequentially_scanned(statement: str) -> list[str]:
    """The big tables that the planner would read from one end to the other for this statement."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}")
        (plan,) = cursor.fetchone()
    plan = json.loads(plan) if isinstance(plan, str) else plan
    found = []

    def walk(node: dict[str, Any]) -> None:
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in {f"messaging_{name}" for name in BIG}:
            found.append(node["Relation Name"])
        for child in node.get("Plans", []):
            walk(child)

    walk(plan[0]["Plan"])
    return found
