"""The migrations that gave each event its hash: those that were there have it too, and the record is closed again."""

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from messaging import evidence, proof, sealing
from messaging.models import ConsentEvent
from tests.factories import NumberFactory
from tests.messaging.texting import receive, somebody

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.behaviour("N9"), pytest.mark.slow]
BEFORE = [("messaging", "0003_carrier_health_pace_and_parts")]


def migrate(*targets):
    MigrationExecutor(connection).migrate(list(targets))


@pytest.fixture
def leaves():
    found = MigrationExecutor(connection).loader.graph.leaf_nodes()
    yield found
    migrate(*found)


def test_events_from_before_get_the_hash_that_they_would_have_got(leaves):
    number = NumberFactory(registered=True)
    for words in ("STOP", "UNSTOP", "stop ✋", "HELP"):
        receive(number, somebody(), words)
    hashes = dict(ConsentEvent.objects.values_list("pk", "hash"))

    migrate(*BEFORE)
    with connection.cursor() as cursor:
        cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'messaging_consentevent'")
        assert "hash" not in {row[0] for row in cursor.fetchall()}
    migrate(*leaves)

    assert dict(ConsentEvent.objects.values_list("pk", "hash")) == hashes
    assert all(event.hash == proof.event_hash(evidence.values(event)) for event in ConsentEvent.objects.all())
    assert sealing.seal(number.company_id) == len(hashes)
    assert list(sealing.verify(number.company_id)) == []
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        ConsentEvent.objects.update(reason="")
