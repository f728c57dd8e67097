"""manage.py restrict_role NAME: let a database role run the portal, without the right to change the record."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction
from psycopg import sql

from messaging.models import ConsentEvent, Seal, SealedEvent
from offices.models import HelpMessage

# Only added to, by everybody who is not the tables' owner.
APPEND_ONLY = [ConsentEvent, Seal, SealedEvent, HelpMessage]


class Command(BaseCommand):
    help = (
        "Give a database role what the portal needs to run, and neither UPDATE nor DELETE nor TRUNCATE on the record, "
        "its seals and the versions of HELP messages. Run it as the tables' owner, after each migration."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role", help="An existing database role that may log in and owns no table.")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        role = options["role"]
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT rolsuper, EXISTS (
                    SELECT FROM pg_class WHERE relowner = pg_roles.oid AND relnamespace = 'public'::regnamespace
                ) FROM pg_roles WHERE rolname = %s
                """,
                [role],
            )
            known = cursor.fetchone()
            if known is None:
                raise CommandError(f"There is no role {role}. As a superuser: CREATE ROLE {role} LOGIN PASSWORD '…'")
            if any(known):
                raise CommandError(f"{role} is a superuser or owns tables, so nothing can be kept from it.")
            name = sql.Identifier(role)
            for statement in (
                "GRANT USAGE ON SCHEMA public TO {}",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}",
                "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {}",
                "REVOKE CREATE ON SCHEMA public FROM {}",
            ):
                cursor.execute(sql.SQL(statement).format(name))
            for model in APPEND_ONLY:
                table = sql.Identifier(model._meta.db_table)
                cursor.execute(sql.SQL("REVOKE UPDATE, DELETE, TRUNCATE ON {} FROM {}").format(table, name))
        self.stdout.write(f"{role} can run the portal, and cannot change the record.")
