"""Companies' settings and API tokens in the admin: who changes what, and that secrets stay secret."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from offices.models import ApiToken, tokens
from tests.factories import CarrierAccountFactory, CompanyFactory
from tests.offices.places import Role, address, as_role, hidden_fields, operator

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("pages")]


@pytest.fixture
def company():
    return CompanyFactory(name="Acme Dental")


def errors(response):
    return response.context["adminform"].form.errors


def words(response):
    return " ".join(response.content.decode().split())


# Companies ----------------------------------------------------------------------------------------------------------


def set_up(client, company, **fields):
    posted = {
        "name": company.name, "trade_names": "", "reading": company.reading, "confirm_stop": "on",
        "confirmation_text": "", "extra_stop_words": "", "extra_start_words": "", "extra_help_words": "", **fields,
    }  # fmt: skip
    response = client.post(address("company_change", company.pk), posted)
    company.refresh_from_db()
    return response


def test_a_company_admin_sets_up_the_company(company):
    set_up(
        as_role(Role.COMPANY_ADMIN, company), company,
        reading="forgiving", toll_free_stop="on", extra_stop_words=" Halt , enough  now,, halt",
    )  # fmt: skip

    assert company.reading == "forgiving"
    assert company.toll_free_stop
    assert company.extra_stop_words == ["halt", "enough now"]


def test_the_name_is_the_operators_to_change(company):
    set_up(as_role(Role.COMPANY_ADMIN, company), company, name="Mine", trade_names="a")
    assert (company.name, company.trade_names) == ("Acme Dental", [])

    set_up(operator(), company, name="Acme Group", trade_names="Acme, Acme West")
    assert (company.name, company.trade_names) == ("Acme Group", ["Acme", "Acme West"])


@pytest.mark.parametrize(
    ("field", "word"),
    [
        ("extra_start_words", "stop"),
        ("extra_start_words", "halt"),
        ("extra_help_words", "Unsubscribe"),
        ("extra_help_words", "start"),
        ("extra_stop_words", "unstop"),
        ("extra_stop_words", "HELP"),
    ],
)
def test_a_word_cannot_mean_two_things(field, word, company):
    fields = {"extra_stop_words": "halt", field: word}

    response = set_up(as_role(Role.COMPANY_ADMIN, company), company, **fields)

    assert "means something else already" in errors(response)[field][0]
    assert company.extra_stop_words == []


def test_only_operators_make_companies(company):
    assert as_role(Role.COMPANY_ADMIN, company).get(address("company_add")).status_code == 403
    assert operator().get(address("company_add")).status_code == 200


# API tokens ---------------------------------------------------------------------------------------------------------


def add_token(client, **fields):
    return client.post(address("apitoken_add"), {"name": "CRM", "scopes": ["check", "read"], **fields})


def test_a_new_tokens_secret_is_shown_once_and_works(company):
    client = as_role(Role.COMPANY_ADMIN, company)

    response = add_token(client)

    secret = re.search(r'value="(sop_[^"]+)"', words(response)).group(1)
    token = tokens.find(secret)
    assert (token.company, token.scopes) == (company, ["check", "read"])
    assert "no-store" in response["Cache-Control"]
    for page in (address("apitoken_change", token.pk), address("apitoken_changelist"),
                 address("apitoken_history", token.pk)):  # fmt: skip
        later = words(client.get(page))
        assert secret not in later
        assert token.digest not in later
    assert not LogEntry.objects.filter(change_message__contains=secret).exists()


def test_a_token_lives_until_the_end_of_its_last_day(company):
    today = timezone.localdate()

    add_token(as_role(Role.COMPANY_ADMIN, company), expires_on=today.isoformat())

    token = ApiToken.objects.get()
    assert token.is_live
    assert timezone.localtime(token.expires_at).date() == today + timedelta(days=1)
    yesterday = (today - timedelta(days=1)).isoformat()
    assert "expires_on" in errors(add_token(as_role(Role.COMPANY_ADMIN, company), expires_on=yesterday))


def test_a_token_that_delivers_texts_needs_an_account_of_its_company(company):
    client = as_role(Role.COMPANY_ADMIN, company)
    own, strange = CarrierAccountFactory(company=company), CarrierAccountFactory()

    assert "account" in errors(add_token(client, scopes=["inbound"]))
    assert "account" in errors(add_token(client, scopes=["inbound"], account=strange.pk))
    assert "account" in errors(add_token(operator(), scopes=["inbound"], account=strange.pk, company=company.pk))
    assert not ApiToken.objects.exists()

    add_token(client, scopes=["inbound"], account=own.pk)
    assert ApiToken.objects.get().account == own


@pytest.mark.parametrize("scopes", [[], ["everything"]])
def test_a_token_without_a_known_scope_is_refused(scopes, company):
    assert "scopes" in errors(add_token(as_role(Role.COMPANY_ADMIN, company), scopes=scopes))


def test_a_token_is_revoked_for_good_and_only_by_posting(company):
    token, secret = tokens.issue(company, "CRM", ["check"])
    client, page = as_role(Role.COMPANY_ADMIN, company), address("apitoken_revoke", token.pk)

    assert client.get(page).status_code == 200
    assert tokens.find(secret)

    client.post(page)
    assert tokens.find(secret) is None
    assert "Revoke</a>" not in words(client.get(address("apitoken_change", token.pk)))


def test_of_a_token_that_somebody_has_only_the_name_changes(company):
    token, secret = tokens.issue(company, "CRM", ["check"])
    client, page = as_role(Role.COMPANY_ADMIN, company), address("apitoken_change", token.pk)

    client.post(page, hidden_fields(client, page) | {"name": "Dialler", "scopes": ["send"], "expires_at": ""})

    token.refresh_from_db()
    assert (token.name, token.scopes) == ("Dialler", ["check"])
    assert tokens.find(secret)


def test_auditors_see_tokens_and_change_none(company):
    token, secret = tokens.issue(company, "CRM", ["check"])
    client = as_role(Role.AUDITOR, company)

    assert client.get(address("apitoken_change", token.pk)).status_code == 200
    assert client.post(address("apitoken_revoke", token.pk)).status_code == 403
    assert add_token(client).status_code == 403
    assert tokens.find(secret)
