"""Secrets of carrier accounts: sealed in the database, several at a time, and safe through a new SECRET_KEY."""

from __future__ import annotations

import json
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from offices import credentials
from offices.credentials import Credentials, Unreadable
from offices.models import CarrierAccount
from tests.factories import CarrierAccountFactory

OLD, NEW, OTHER = ("an-old-key" * 5, "a-new-key" * 5, "another-key" * 5)
SECRET = "the-auth-token"


@pytest.fixture
def account(db, settings):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OLD, []
    return CarrierAccountFactory(carrier="twilio", secrets={"auth_token": SECRET})


def row(account):
    """The account as the database has it, every column."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(a)::text FROM offices_carrieraccount a WHERE id = %s", [account.pk])
        return cursor.fetchone()[0]


def fresh(account):
    return CarrierAccount.objects.get(pk=account.pk)


def test_the_newest_secret_is_used_and_every_one_is_tried():
    known = Credentials({"account_sid": "AC1", "token": "plain"}, {"auth_token": ["new", "old"]})

    assert (known.get("auth_token"), known.all("auth_token")) == ("new", ("new", "old"))
    assert (known.get("account_sid"), known.all("account_sid")) == ("AC1", ("AC1",))
    assert (known.get("nothing"), known.all("nothing")) == ("", ())


def test_the_database_holds_nothing_that_can_be_read(account):
    account.add_secret("auth_token", "the-second")
    kept = row(account)

    assert json.loads(kept)["secrets"][1]["name"] == "auth_token"
    for plain in (SECRET, "the-second", SECRET.encode().hex()):
        assert plain not in kept


def test_the_same_secret_is_sealed_differently_every_time(account):
    assert credentials.seal(SECRET) != credentials.seal(SECRET)


def test_what_was_changed_in_the_database_is_not_taken_for_a_secret(account):
    sealed = account.secrets[0]["sealed"]
    changed = sealed[:40] + ("A" if sealed[40] != "A" else "B") + sealed[41:]

    with pytest.raises(Unreadable):
        credentials.unseal(changed)


def test_no_secret_is_in_what_a_log_or_a_traceback_would_write(account):
    assert SECRET not in repr(account.credentials)
    assert SECRET not in repr(account.kept_secrets("auth_token"))
    assert SECRET not in repr(vars(account))


def test_a_secret_is_kept_with_who_entered_it_and_removed_alone(account):
    account.add_secret("auth_token", "the-second", by="Robin Doe")

    newest, first = fresh(account).kept_secrets("auth_token")
    assert (newest.added_by, first.added_by) == ("Robin Doe", "")
    assert newest.added_at >= first.added_at
    assert account.remove_secret(first.id)
    assert not account.remove_secret(first.id)
    assert fresh(account).credentials.all("auth_token") == ("the-second",)


def test_a_former_key_still_opens_what_it_sealed_and_seals_nothing_new(account, settings):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]

    assert account.credentials.get("auth_token") == SECRET
    account.add_secret("auth_token", "the-second")

    settings.SECRET_KEY_FALLBACKS = []
    assert fresh(account).credentials.all("auth_token") == ("the-second",)


def test_after_a_new_key_the_command_seals_everything_anew_and_the_old_key_can_go(account, settings, capsys):
    CarrierAccountFactory(carrier="generic", secrets={"send_token": "a", "signing_secret": "b"})
    CarrierAccountFactory()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    before = account.kept_secrets("auth_token")

    call_command("seal_credentials")

    assert "3 secrets of 2 accounts." in capsys.readouterr().out
    settings.SECRET_KEY_FALLBACKS = []
    assert fresh(account).credentials.get("auth_token") == SECRET
    assert fresh(account).kept_secrets("auth_token") == before
    assert SECRET not in row(account)


def test_with_a_lost_key_the_command_names_what_cannot_be_read_keeps_it_and_fails(account, settings, capsys):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OTHER]
    account.add_secret("auth_token", "the-second")
    before = fresh(account).secrets[0]

    with pytest.raises(CommandError) as failed:
        call_command("seal_credentials")

    assert failed.value.returncode == 1
    assert f"{account.company}, {account} (account {account.pk}): auth_token" in str(failed.value)
    assert "1 secret of 1 account." in capsys.readouterr().out
    assert fresh(account).credentials.all("auth_token") == ("the-second",)
    settings.SECRET_KEY_FALLBACKS = [OLD]
    assert fresh(account).secrets[0] == before
    assert fresh(account).credentials.all("auth_token") == ("the-second", SECRET)


def test_a_lost_key_leaves_the_account_working_with_what_is_entered_anew(account, settings):
    settings.SECRET_KEY = NEW

    assert account.credentials.get("auth_token") == ""
    assert not account.is_readable(account.secrets[0]["id"])
    account.add_secret("auth_token", "anew")
    assert account.credentials.all("auth_token") == ("anew",)


@pytest.mark.django_db(transaction=True)
def test_secrets_entered_removed_and_sealed_anew_at_the_same_time_are_none_lost(account):
    goes = account.secrets[0]["id"]
    together = threading.Barrier(4)

    def at_once(act):
        together.wait()
        try:
            act(fresh(account))
        finally:
            connections.close_all()

    acts = [
        lambda own: own.add_secret("auth_token", "one"),
        lambda own: own.add_secret("auth_token", "two"),
        lambda own: own.remove_secret(goes),
        lambda own: own.seal_again(),
    ]
    threads = [threading.Thread(target=at_once, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(fresh(account).credentials.all("auth_token")) == {"one", "two"}
