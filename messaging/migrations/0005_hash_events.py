"""The events that are there get their hashes. The record's trigger steps aside for this one column, and comes back."""

from itertools import islice
from typing import Any

from django.db import connection, migrations

from messaging import evidence, proof

AT_ONCE = 5_000


def forwards(apps: Any, schema_editor: Any) -> None:
    events = apps.get_model("messaging", "ConsentEvent").objects.filter(hash="").iterator(chunk_size=AT_ONCE)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE messaging_consentevent DISABLE TRIGGER consent_event_append_only")
        while chunk := list(islice(events, AT_ONCE)):
            cursor.executemany(
                "UPDATE messaging_consentevent SET hash = %s WHERE id = %s",
                [(proof.event_hash(evidence.values(event)), event.pk) for event in chunk],
            )
        # The deferred checks of the rows that were written, so that the table can be altered again.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE messaging_consentevent ENABLE TRIGGER consent_event_append_only")


class Migration(migrations.Migration):
    dependencies = [("messaging", "0004_event_hash")]
    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
