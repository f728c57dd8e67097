"""Consent events are added, never changed or deleted: the database refuses, whoever asks (N9)."""

from django.db import migrations

FORWARD = """
CREATE TRIGGER consent_event_append_only BEFORE UPDATE OR DELETE ON messaging_consentevent
    FOR EACH ROW EXECUTE FUNCTION portal_append_only();
CREATE TRIGGER consent_event_no_truncate BEFORE TRUNCATE ON messaging_consentevent
    FOR EACH STATEMENT EXECUTE FUNCTION portal_append_only();
"""
BACKWARD = """
DROP TRIGGER consent_event_no_truncate ON messaging_consentevent;
DROP TRIGGER consent_event_append_only ON messaging_consentevent;
"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0001_initial"), ("offices", "0002_help_message_append_only")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
