"""Seals are added, never changed or deleted: the database refuses, whoever asks."""

from django.db import migrations

TABLES = {"seal": "messaging_seal", "sealed_event": "messaging_sealedevent"}
FORWARD = "".join(
    f"""
CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION portal_append_only();
CREATE TRIGGER {name}_no_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION portal_append_only();
"""
    for name, table in TABLES.items()
)
BACKWARD = "".join(
    f"DROP TRIGGER {name}_no_truncate ON {table}; DROP TRIGGER {name}_append_only ON {table};"
    for name, table in TABLES.items()
)


class Migration(migrations.Migration):
    dependencies = [("messaging", "0006_seals")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
