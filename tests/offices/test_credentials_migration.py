"""The migrations that sealed carriers' credentials: nothing plain is left, nothing is lost, and there is a way back."""

import json
from importlib import import_module

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import override_settings

from offices.credentials import Unreadable, seal
from offices.models import CarrierAccount
from tests.factories import CompanyFactory

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE = [("offices", "0002_help_message_append_only"), ("messaging", "0002_record_append_only")]
SEALED = [("offices", "0004_seal_credentials")]
SID = "AC" + "0" * 32


def migrate(*targets):
    """Bring the database there; returns the models as they are there."""
    executor = MigrationExecutor(connection)
    return executor.migrate(list(targets)).apps


@pytest.fixture
def old():
    """The models as they were before; afterwards the database is as it should be again, with nothing in the way."""
    company = CompanyFactory()
    apps = migrate(*BEFORE)
    yield apps.get_model("offices", "CarrierAccount"), company.pk
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM offices_carrieraccount")
    migrate(*MigrationExecutor(connection).loader.graph.leaf_nodes())


def leaves():
    return MigrationExecutor(connection).loader.graph.leaf_nodes()


def everything():
    """All columns of all accounts, as the database has them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(account)::text FROM offices_carrieraccount account ORDER BY id")
        return [row[0] for row in cursor.fetchall()]


CASES = {
    "twilio": {"account_sid": SID, "auth_token": "plain-token-é☎"},
    "generic": {"send_url": "https://gateway.example.com/send", "send_token": "plain-token"},
    "test server": {"account_sid": SID, "auth_token": "plain-token", "api_base": "http://127.0.0.1:1"},
    "unknown name": {"something": "plain-token"},
    "nothing": {},
}


def test_forwards_nothing_plain_is_left_and_backwards_nothing_is_lost(old):
    accounts, company = old
    for name, credentials in CASES.items():
        accounts.objects.create(company_id=company, name=name, carrier="twilio", credentials=credentials)

    sealed = migrate(*SEALED).get_model("offices", "CarrierAccount")
    assert "plain-token" not in "".join(everything())
    assert [json.loads(row)["credentials"] for row in everything()] == [{}] * len(CASES)

    # With a lost key there is no way back, and nothing has changed.
    before = everything()
    with override_settings(SECRET_KEY="another" * 10, SECRET_KEY_FALLBACKS=[]), pytest.raises(Unreadable):
        migrate(*BEFORE)
    assert everything() == before

    # Of several secrets the newest, which is the last, is the one in use.
    twilio = sealed.objects.get(name="twilio")
    twilio.secrets = [*twilio.secrets, {**twilio.secrets[0], "id": "newer", "sealed": seal("plain-token newer")}]
    twilio.save()
    accounts = migrate(*BEFORE).get_model("offices", "CarrierAccount")
    expected = {**CASES, "twilio": {"account_sid": SID, "auth_token": "plain-token newer"}}
    assert {account.name: account.credentials for account in accounts.objects.all()} == expected

    migrate(*leaves())
    assert "plain-token" not in "".join(everything())
    assert not [row for row in everything() if "credentials" in json.loads(row)]
    for account in CarrierAccount.objects.all():
        credentials = expected[account.name]
        assert {name: account.credentials.get(name) for name in credentials} == credentials
        assert set(account.settings) == {"account_sid", "send_url", "api_base"} & set(credentials)
        assert {secret["added_by"] for secret in account.secrets} <= {""}
        assert (account.stop_answered_by, account.segments_per_minute) == ("portal", None)
    kept = [one["sealed"] for account in CarrierAccount.objects.all() for one in account.secrets]
    assert len(set(kept)) == len(kept) == 4


def test_the_migration_of_data_is_apart_and_can_be_reversed():
    module = import_module("offices.migrations.0004_seal_credentials")
    assert [type(operation).__name__ for operation in module.Migration.operations] == ["RunPython"]
    assert module.Migration.operations[0].reversible
