"""Versions of the HELP message are added, never changed or deleted: the database refuses."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION portal_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER help_message_append_only BEFORE UPDATE OR DELETE ON offices_helpmessage
    FOR EACH ROW EXECUTE FUNCTION portal_append_only();
CREATE TRIGGER help_message_no_truncate BEFORE TRUNCATE ON offices_helpmessage
    FOR EACH STATEMENT EXECUTE FUNCTION portal_append_only();
"""
BACKWARD = """
DROP TRIGGER help_message_no_truncate ON offices_helpmessage;
DROP TRIGGER help_message_append_only ON offices_helpmessage;
DROP FUNCTION portal_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("offices", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
