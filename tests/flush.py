"""Let tests that really commit empty the tables afterwards, although the record's triggers forbid it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from unittest import mock

from django.db import connection, transaction
from django.db.backends.base.operations import BaseDatabaseOperations
from psycopg import sql

# How a trigger is brought back, by pg_trigger.tgenabled. One that is off (D) is left alone.
ENABLE = {"O": sql.SQL("ENABLE"), "A": sql.SQL("ENABLE ALWAYS"), "R": sql.SQL("ENABLE REPLICA")}

USER_TRIGGERS = """
    SELECT namespace.nspname, class.relname, tgname, tgenabled::text
    FROM pg_trigger
    JOIN pg_class class ON class.oid = tgrelid
    JOIN pg_namespace namespace ON namespace.oid = class.relnamespace
    WHERE NOT tgisinternal AND tgenabled <> 'D' AND pg_table_is_visible(class.oid)
"""


def flush_past_triggers(operations: BaseDatabaseOperations, sql_list: Iterable[str]) -> None:
    """Run Django's statements for emptying tables while our own triggers are off, in one transaction.

    All tables' triggers, not only those of the tables named: TRUNCATE may cascade. A foreign key's own
    triggers stay on. Only a table's owner may do this, which the portal's runtime role is not.
    """
    with transaction.atomic(using=operations.connection.alias), operations.connection.cursor() as cursor:
        cursor.execute(USER_TRIGGERS)
        triggers = cursor.fetchall()
        for schema, table, trigger, _ in triggers:
            cursor.execute(alter(schema, table, sql.SQL("DISABLE"), trigger))
        for statement in sql_list:
            cursor.execute(statement)
        for schema, table, trigger, mode in triggers:
            cursor.execute(alter(schema, table, ENABLE[mode], trigger))


def alter(schema: str, table: str, how: sql.SQL, trigger: str) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} {} TRIGGER {}").format(sql.Identifier(schema, table), how, sql.Identifier(trigger))


@contextmanager
def past_triggers() -> Iterator[None]:
    """Have every flush of Django's done by `flush_past_triggers`."""
    with mock.patch.object(type(connection.ops), "execute_sql_flush", flush_past_triggers):
        yield
