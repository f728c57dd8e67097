"""A database role that can run the portal, and cannot change the record (N9)."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from messaging import consent, sealing
from messaging.models import ConsentEvent, Message, OptOut
from tests.factories import HelpMessageFactory, NumberFactory
from tests.messaging.texting import receive, send, somebody, work

pytestmark = [pytest.mark.django_db, pytest.mark.behaviour("N9")]
ROLE = "portal_test_web"


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def role():
    """A role as the command leaves it; the test's transaction takes it away again."""
    run(f"CREATE ROLE {ROLE}")
    call_command("restrict_role", ROLE, stdout=StringIO())
    return ROLE


def test_the_role_runs_the_portal(role):
    number, phone, other = NumberFactory(registered=True), somebody(), somebody()
    run(f"SET LOCAL ROLE {role}")

    send(number, other)
    work()
    receive(number, phone, "STOP")
    receive(number, phone, "UNSTOP")
    receive(number, phone, "stop!!")
    hold = consent.Hold.objects.get()
    consent.review(hold.pk, is_opt_out=True, reviewer=None, reason="")
    sealing.seal(number.company_id)

    run("RESET ROLE")
    assert Message.objects.get(recipient__e164=other).state == "sent"
    assert OptOut.objects.filter(recipient__e164=phone, closed_at__isnull=True).count() == 1
    assert list(sealing.verify(number.company_id)) == []


@pytest.mark.parametrize(
    "table", ["messaging_consentevent", "messaging_seal", "messaging_sealedevent", "offices_helpmessage"]
)
def test_the_role_may_not_change_the_record_even_without_the_triggers(role, table):
    number = NumberFactory()
    HelpMessageFactory(office=number.office)
    receive(number, somebody(), "STOP")
    sealing.seal(number.company_id)
    run("SET CONSTRAINTS ALL IMMEDIATE")
    run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    run(f"SET LOCAL ROLE {role}")

    for statement in (f"UPDATE {table} SET company_id = company_id", f"DELETE FROM {table}", f"TRUNCATE {table}"):
        if table == "offices_helpmessage":
            statement = statement.replace("company_id = company_id", "text = ''")
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            run(statement)

    run("RESET ROLE")
    assert ConsentEvent.objects.count() == 1


@pytest.mark.parametrize(("name", "why"), [("nobody_is_called_so", "no role"), (None, "superuser or owns")])
def test_a_role_that_does_not_exist_or_could_do_it_all_the_same_is_refused(name, why):
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        (owner,) = cursor.fetchone()

    with pytest.raises(CommandError, match=why):
        call_command("restrict_role", name or owner, stdout=StringIO())
