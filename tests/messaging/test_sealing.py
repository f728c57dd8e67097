"""The record shows if anyone changed it (N9): by raw SQL, with full rights, of every kind and at random places."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging import evidence, proof, sealing
from messaging.models import ConsentEvent, Seal, SealedEvent
from tests.factories import CompanyFactory, NumberFactory, OfficeFactory
from tests.messaging.texting import at_once, receive, somebody

pytestmark = [pytest.mark.django_db, pytest.mark.behaviour("N9")]
SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def as_superuser() -> Iterator[None]:
    """Past every trigger, as somebody with full rights in the database can."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        try:
            yield
        finally:
            cursor.execute("SET session_replication_role = DEFAULT")


def by_hand(statement: str, *values: str | int | None) -> int:
    with as_superuser(), connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.rowcount


@contextmanager
def undone() -> Iterator[None]:
    """What is done in it is taken back at its end, so that no foreign key misses what was deleted."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def found(number) -> list[tuple[str, int | None]]:
    return sorted({(finding.kind, finding.event) for finding in sealing.verify(number.company_id)}, key=str)


@pytest.fixture
def number():
    """A number that people have texted: three seals of five events each."""
    made = NumberFactory(registered=True)
    for _ in range(3):
        for words in ("STOP", "UNSTOP", "HELP", "stop!!", "STOP"):
            receive(made, somebody(), words)
        assert sealing.seal(made.company_id) == 5
    return made


def events_of(number) -> list[ConsentEvent]:
    return list(ConsentEvent.objects.filter(company=number.company_id).order_by("pk"))


# Sealing


def test_an_untouched_record_passes(number):
    receive(number, somebody(), "STOP")

    assert found(number) == []


def test_seals_follow_each_other_and_cover_each_event_once(number):
    seals = list(Seal.objects.filter(company=number.company_id).order_by("number"))

    assert [(made.number, made.events) for made in seals] == [(1, 5), (2, 5), (3, 5)]
    assert [made.former for made in seals] == [proof.GENESIS, seals[0].hash, seals[1].hash]
    covered = list(SealedEvent.objects.order_by("event_id").values_list("event_id", flat=True))
    assert covered == [event.pk for event in events_of(number)]
    assert sealing.seal(number.company_id) == 0
    assert Seal.objects.count() == 3


def test_each_company_has_a_chain_of_its_own(number):
    other = NumberFactory(office=OfficeFactory(company=CompanyFactory()))
    receive(other, somebody(), "STOP")

    assert sealing.seal_all() == 1
    assert Seal.objects.get(company=other.company_id).former == proof.GENESIS


def test_a_long_record_is_sealed_in_several_seals(number, monkeypatch):
    monkeypatch.setattr(sealing, "MOST_AT_ONCE", 2)
    for _ in range(5):
        receive(number, somebody(), "STOP")

    assert [sealing.seal(number.company_id) for _ in range(4)] == [2, 2, 1, 0]
    assert found(number) == []


def test_the_hash_is_of_what_is_stored(number):
    for event in events_of(number):
        assert event.hash == proof.event_hash(evidence.values(event))


@pytest.mark.django_db(transaction=True)
def test_an_event_that_is_committed_late_is_in_the_next_seal():
    number = NumberFactory()
    inside, go_on = threading.Event(), threading.Event()

    def slow():
        with transaction.atomic():
            receive(number, somebody(), "STOP")
            inside.set()
            assert go_on.wait(20)

    def meanwhile():
        assert inside.wait(20)
        receive(number, somebody(), "STOP")  # a larger id, committed first
        assert sealing.seal(number.company_id) == 1
        go_on.set()

    at_once([slow, meanwhile])

    assert sealing.seal(number.company_id) == 1
    first, second = Seal.objects.order_by("number")
    assert second.first_event < first.first_event
    assert found(number) == []


@pytest.mark.django_db(transaction=True)
def test_a_stop_does_not_wait_for_a_seal_and_two_who_seal_make_one_chain():
    number = NumberFactory()
    for _ in range(4):
        receive(number, somebody(), "STOP")

    with transaction.atomic():
        assert sealing.seal(number.company_id) == 4  # and not committed yet
        at_once([lambda: receive(number, somebody(), "STOP")])

    at_once([lambda: sealing.seal(number.company_id)] * 6)
    assert [made.number for made in Seal.objects.order_by("number")] == [1, 2]
    assert found(number) == []


# Changes


def test_a_changed_field_is_found_and_its_event_named(number):
    event = events_of(number)[7]
    changes = {
        "received_text": "START", "recipient_e164": "+12025550199", "kind": "opt_in", "matched_words": "-",
        "received_at": "2020-01-01T00:00:00Z", "stored_at": "2020-01-01T00:00:00Z", "number_e164": "+12025550198",
        "number_kind": "toll_free", "campaign_name": "Another", "campaign_registry_id": "C999999",
        "campaign_status": "expired", "campaign_id_then": "1", "scope": "number", "reason": "by phone",
        "actor_name": "Somebody", "actor_id_then": "1", "carrier": "twilio", "carrier_message_id": "x",
        "rule_version": "1999-01-01", "reading": "-", "message_id_then": "1", "office_id": None, "office_name": "-",
        "source": "api",
    }  # fmt: skip

    for column, value in changes.items():
        with undone():
            assert by_hand(f"UPDATE messaging_consentevent SET {column} = %s WHERE id = %s", value, event.pk) == 1
            assert found(number) == [("edited", event.pk)], column

    assert {evidence.ATTRIBUTES.get(name, name) for name in proof.FIELDS} - set(changes) == {"company_id"}


def test_every_column_that_says_something_is_covered():
    ours = {evidence.ATTRIBUTES.get(name, name) for name in proof.FIELDS}
    columns = {field.attname for field in ConsentEvent._meta.concrete_fields}

    # The id is in the leaf; the recipient's row is told by its number, which is.
    assert columns - ours == {"id", "hash", "recipient_id"}


@SOME
@given(data=st.data())
def test_whatever_is_done_to_whichever_event_is_found_and_named(number, data):
    events = events_of(number)
    one, other = data.draw(st.permutations(events))[:2]
    what = data.draw(st.sampled_from(["edit", "edit and rehash", "remove", "swap", "insert", "leaf", "hash"]))
    with undone():
        if what == "edit":
            by_hand("UPDATE messaging_consentevent SET received_text = %s WHERE id = %s", "No.", one.pk)
            expected = [("edited", one.pk)]
        elif what == "edit and rehash":
            one.received_text = "No."
            by_hand(
                "UPDATE messaging_consentevent SET received_text = 'No.', hash = %s WHERE id = %s",
                proof.event_hash(evidence.values(one)), one.pk,
            )  # fmt: skip
            expected = [("edited", one.pk)]
        elif what == "remove":
            by_hand("DELETE FROM messaging_consentevent WHERE id = %s", one.pk)
            expected = [("removed", one.pk)]
        elif what == "swap":
            by_hand("UPDATE messaging_consentevent SET id = -1 WHERE id = %s", one.pk)
            by_hand("UPDATE messaging_consentevent SET id = %s WHERE id = %s", one.pk, other.pk)
            by_hand("UPDATE messaging_consentevent SET id = %s WHERE id = -1", other.pk)
            expected = None  # within one seal it is told as moved, across two as edited
        elif what == "insert":
            by_hand(
                "INSERT INTO messaging_consentevent SELECT (jsonb_populate_record(e, "
                "jsonb_build_object('id', -5))).* FROM messaging_consentevent e WHERE id = %s", one.pk,
            )  # fmt: skip
            expected = [("inserted", -5)]
        elif what == "leaf":
            by_hand("UPDATE messaging_sealedevent SET leaf = %s WHERE event_id = %s", "00" * 32, one.pk)
            expected = None
        else:
            by_hand("UPDATE messaging_consentevent SET hash = %s WHERE id = %s", "00" * 32, one.pk)
            expected = [("edited", one.pk)]
        with time_machine.travel(timezone.now() + timedelta(hours=2), tick=True):
            result = found(number)
    if expected is not None:
        assert result == sorted(expected, key=str)
    elif what == "swap":
        assert {event for _, event in result} == {one.pk, other.pk}
    else:
        assert ("seal", None) in result
    assert found(number) == []


def test_a_seal_that_was_touched_is_named(number):
    for change in (
        "DELETE FROM messaging_seal WHERE number = 2",
        "UPDATE messaging_seal SET root = repeat('0', 64) WHERE number = 2",
        "UPDATE messaging_seal SET sealed_at = sealed_at - interval '1 day' WHERE number = 2",
        "UPDATE messaging_seal SET former = repeat('1', 64) WHERE number = 3",
        "UPDATE messaging_seal SET number = 9 WHERE number = 3",
        "DELETE FROM messaging_sealedevent WHERE position = 2",
        "UPDATE messaging_sealedevent SET position = position + 10 WHERE position = 4",
    ):
        with undone():
            assert by_hand(change) > 0
            assert any(finding.kind == "seal" for finding in sealing.verify(number.company_id)), change


def test_a_record_written_anew_from_the_first_event_on_is_shown_by_a_seal_kept_elsewhere(number):
    kept = Seal.objects.get(number=2).hash
    with undone():
        by_hand("DELETE FROM messaging_sealedevent")
        by_hand("DELETE FROM messaging_seal")
        by_hand("DELETE FROM messaging_consentevent WHERE id = %s", events_of(number)[0].pk)
        sealing.seal(number.company_id)

        assert found(number) == []  # this is what a chain alone cannot show
        with pytest.raises(CommandError):
            call_command("verify_record", "--kept", kept, stdout=StringIO())


# The command, and the database itself


def test_the_command_says_that_the_record_holds(number):
    out = StringIO()

    call_command("verify_record", "--kept", Seal.objects.get(number=1).hash.upper(), stdout=out)

    assert "The record is as it was sealed." in out.getvalue()
    assert f"seal 3 of {timezone.now():%Y-%m-%d}" in out.getvalue()


def test_the_command_names_what_was_done_and_ends_with_an_error(number):
    event, out = events_of(number)[3], StringIO()

    with undone():
        by_hand("DELETE FROM messaging_consentevent WHERE id = %s", event.pk)
        with pytest.raises(CommandError):
            call_command("verify_record", stdout=out)

    assert f"Event {event.pk} was removed." in out.getvalue()


def test_the_database_refuses_to_change_what_is_on_record(number):
    with connection.cursor() as cursor:
        # What is to be checked at the commit is done, so that nothing but the trigger can refuse.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table in ("messaging_seal", "messaging_sealedevent", "messaging_consentevent"):
        for statement in ("UPDATE {} SET company_id = company_id", "DELETE FROM {}", "TRUNCATE {} CASCADE"):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement.format(table))
