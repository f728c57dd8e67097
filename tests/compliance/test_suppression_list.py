"""The suppression list as a file: what is in force, for those who may take it out, however long it is."""

import csv
import io
from datetime import datetime

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from compliance import suppression_list
from compliance.suppression_list import BYTE_ORDER_MARK, COLUMNS
from messaging import consent
from messaging.models import OptOut
from tests.factories import NumberFactory, RecipientFactory
from tests.messaging.pages import Role, logged_in
from tests.messaging.texting import receive, somebody

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _static_files(settings):
    """Without what collectstatic would make."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


def rows_of(answer):
    assert answer.status_code == 200
    content = b"".join(answer.streaming_content).decode()
    assert content.startswith(BYTE_ORDER_MARK)
    return list(csv.DictReader(io.StringIO(content.removeprefix(BYTE_ORDER_MARK), newline="")))


def download(client):
    return client.get(reverse("suppression_list"))


@pytest.fixture
def number():
    return NumberFactory(registered=True)


@pytest.fixture
def auditor(number):
    return logged_in(Role.AUDITOR, number.office)


def test_every_opt_out_in_force_is_in_it_with_its_scope_and_its_text(number, auditor):
    other = NumberFactory(office=number.office, account=number.account)
    in_campaign, in_company, at_carrier, came_back = (somebody() for _ in range(4))
    receive(number, in_campaign, "STOP")
    receive(other, in_company, "stop")
    recipient = RecipientFactory(company=number.company, e164=at_carrier)
    consent.opt_out_at_carrier(recipient, number, carrier="twilio", detail="21610")
    receive(number, came_back, "STOP")
    receive(number, came_back, "UNSTOP")

    rows = {row["recipient"]: row for row in rows_of(download(auditor))}

    assert set(rows) == {in_campaign, in_company, at_carrier}
    campaign = number.current_campaign()
    first = rows[in_campaign]
    assert (first["blocks_texts_from"], first["campaign"], first["campaign_registry_id"]) == (
        "One campaign", campaign.name, campaign.registry_id,
    )  # fmt: skip
    assert (first["our_number"], first["text"], first["known_from"]) == (number.e164, "STOP", "recipient")
    assert datetime.fromisoformat(first["opted_out_at"]).utcoffset() is not None
    assert int(first["event"]) == OptOut.objects.get(recipient__e164=in_campaign).opened_by_id
    assert rows[in_company]["blocks_texts_from"] == "Whole company"
    assert (rows[at_carrier]["blocks_texts_from"], rows[at_carrier]["known_from"]) == ("One number", "carrier")
    assert list(first) == COLUMNS


def test_nothing_in_it_runs_in_a_spreadsheet_and_numbers_stay_numbers(number, auditor):
    number.office.name = '=HYPERLINK("https://x.example")'
    number.office.save()
    number.company.reading = "forgiving"
    number.company.save()
    receive(number, person := somebody(), '"Stop!"\r\n')

    (row,) = rows_of(download(auditor))

    assert row["recipient"] == person
    assert row["office"] == '\'=HYPERLINK("https://x.example")'
    assert row["text"] == '"Stop!"\r\n'


@pytest.mark.parametrize(
    ("role", "status"),
    [(Role.COMPANY_ADMIN, 200), (Role.AUDITOR, 200), (Role.OFFICE_ADMIN, 403), (Role.AGENT, 403)],
)
def test_company_admins_and_auditors_may_take_it_out_and_nobody_else(number, role, status):
    client = logged_in(role, number.office)

    assert download(client).status_code == status
    assert ("Download the suppression list" in page(client)) == (status == 200)


def page(client):
    return client.get(reverse("admin:messaging_optout_changelist")).content.decode()


def test_it_holds_nothing_of_another_company(number, auditor):
    elsewhere = NumberFactory()
    receive(elsewhere, somebody(), "STOP")
    receive(number, mine := somebody(), "STOP")

    assert [row["recipient"] for row in rows_of(download(auditor))] == [mine]


def test_who_took_it_is_written_down(number, auditor):
    download(auditor)

    entry = LogEntry.objects.get()
    assert entry.get_change_message() == "Downloaded the suppression list."
    assert entry.user.email == auditor.get(reverse("admin:index")).wsgi_request.user.email


def test_it_costs_one_query_however_long_it_is(number, auditor, monkeypatch):
    monkeypatch.setattr(suppression_list, "CHUNK", 3)
    for _ in range(10):
        receive(number, somebody(), "STOP")
    answer = download(auditor)

    with CaptureQueriesContext(connection) as queries:
        assert len(rows_of(answer)) == 10

    assert len(queries) <= 1
