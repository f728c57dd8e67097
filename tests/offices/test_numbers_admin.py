"""Numbers and campaigns in the admin: joining, moving, giving up, and what is refused with a sentence."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from offices.models import Campaign, CampaignAssignment, Number
from offices.models.tokens import issue
from tests.factories import (
    CampaignFactory,
    CarrierAccountFactory,
    MembershipFactory,
    NumberFactory,
    OfficeFactory,
)
from tests.offices.places import Role, address, as_role, hidden_fields, operator

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("pages")]

SAMPLES = ["Your appointment is tomorrow at 9.", "Please call us about your appointment."]


@pytest.fixture
def number():
    return NumberFactory()


@pytest.fixture
def client(number):
    return as_role(Role.COMPANY_ADMIN, number.office)


def change(client, number, **fields):
    current = number.current_assignment()
    page = address("number_change", number.pk)
    posted = hidden_fields(client, page) | {
        "label": number.label, "office": number.office_id, "account": number.account_id,
        "campaign": current.campaign_id if current else "", **fields,
    }  # fmt: skip
    return client.post(page, posted)


def add(client, office, written, **fields):
    account = CarrierAccountFactory(company=office.company)
    posted = {"e164": written, "label": "", "office": office.pk, "account": account.pk, "campaign": "", **fields}
    return client.post(address("number_add"), posted)


def errors(response):
    return response.context["adminform"].form.errors


def words(response):
    return " ".join(response.content.decode().split())


def test_a_number_is_added_however_it_is_written_and_belongs_to_its_offices_company(number, client):
    response = add(client, number.office, "(202) 555-0187")

    assert response.status_code == 302
    added = Number.objects.get(e164="+12025550187")
    assert (added.company, added.kind) == (number.company, Number.Kind.TEN_DIGIT)


@pytest.mark.parametrize("written", ["555", "hello", "+1 155 555 0143", "+1 202 555 0143 ext. 7", ""])
def test_what_is_no_number_is_refused_with_a_sentence(written, number, client):
    response = add(client, number.office, written)

    assert errors(response)["e164"][0].endswith(".")
    assert Number.objects.count() == 1


def test_a_number_that_is_in_the_portal_is_refused(number, client):
    assert errors(add(client, number.office, number.e164))["e164"] == ["This number is already in the portal."]


def test_choosing_a_campaign_moves_the_number_and_keeps_the_former_time_on_record(number, client):
    first, second = CampaignFactory(company=number.company), CampaignFactory(company=number.company)

    for campaign in (first, second, second):
        change(client, number, campaign=campaign.pk)

    times = list(number.assignments.order_by("starts_at"))
    assert [time.campaign for time in times] == [first, second]
    assert times[0].ends_at == times[1].starts_at
    assert times[1].ends_at is None
    page = words(client.get(address("number_change", number.pk)))
    assert str(first) in page[page.index("assignments-data") :]


def test_choosing_none_takes_the_number_out_of_its_campaign(number, client):
    change(client, number, campaign=CampaignFactory(company=number.company).pk)

    change(client, number, campaign="")

    assert number.current_assignment() is None
    assert number.assignments.count() == 1


def test_a_number_joins_a_campaign_when_it_is_added(number, client):
    campaign = CampaignFactory(company=number.company)

    add(client, number.office, "+1 202 555 0187", campaign=campaign.pk)

    assert Number.objects.get(e164="+12025550187").current_assignment().campaign == campaign


def test_a_campaign_of_another_company_is_not_to_be_chosen(number, client):
    strange = CampaignFactory()

    assert "campaign" in errors(change(client, number, campaign=strange.pk))
    assert "campaign" in errors(change(operator(), number, campaign=strange.pk))
    assert "campaign" in errors(add(operator(), number.office, "+1 202 555 0187", campaign=strange.pk))
    assert not CampaignAssignment.objects.exists()


@pytest.mark.parametrize("written", ["+1 800 555 0187", "24680"])
def test_only_ten_digit_numbers_go_into_a_campaign(written, number, client):
    campaign = CampaignFactory(company=number.company)

    assert "ten-digit" in errors(add(client, number.office, written, campaign=campaign.pk))["campaign"][0]
    assert add(client, number.office, written).status_code == 302


def test_a_number_moves_to_another_office_of_its_company_and_to_no_other(number, client):
    sibling, strange = OfficeFactory(company=number.company), OfficeFactory()

    change(client, number, office=sibling.pk)
    number.refresh_from_db()
    assert number.office == sibling

    assert "office" in errors(change(client, number, office=strange.pk))
    assert "office" in errors(change(operator(), number, office=strange.pk))
    number.refresh_from_db()
    assert number.office == sibling


def test_the_number_itself_never_changes(number, client):
    before = number.e164

    change(client, number, e164="+12025550199")

    number.refresh_from_db()
    assert number.e164 == before


def test_a_number_is_given_up_and_taken_back_with_its_campaign_and_only_by_posting(number, client):
    change(client, number, campaign=CampaignFactory(company=number.company).pk)

    assert "Give up" in words(client.get(address("number_change", number.pk)))
    assert client.get(address("number_give_up", number.pk)).status_code == 200
    number.refresh_from_db()
    assert number.is_active

    client.post(address("number_give_up", number.pk))
    number.refresh_from_db()
    assert not number.is_active
    assert number.current_assignment()
    page = words(client.get(address("number_change", number.pk)))
    assert "Take back" in page
    assert "Give up" not in page

    client.post(address("number_take_back", number.pk))
    number.refresh_from_db()
    assert number.is_active


@pytest.mark.parametrize("role", [Role.OFFICE_ADMIN, Role.AGENT, Role.AUDITOR])
def test_only_company_admins_change_numbers(role, number):
    client = as_role(role, number.office)
    campaign = CampaignFactory(company=number.company)

    assert client.get(address("number_change", number.pk)).status_code == 200
    assert change(client, number, campaign=campaign.pk).status_code == 403
    assert client.post(address("number_give_up", number.pk)).status_code == 403
    assert add(client, number.office, "+1 202 555 0187").status_code == 403
    number.refresh_from_db()
    assert number.is_active
    assert number.current_assignment() is None


@pytest.mark.parametrize("typed", ["(202) 555-0187", "+1 202 555 0187", "5550187", "2025550187", "Front"])
def test_a_number_is_found_however_it_is_typed(typed, number, client):
    add(client, number.office, "+1 202 555 0187", label="Front desk")

    found = client.get(address("number_changelist"), {"q": typed}).context["cl"].result_list

    assert [row.e164 for row in found] == ["+12025550187"]


@pytest.mark.parametrize(
    ("chosen", "found"), [("none", {"outside"}), ("unregistered", {"outside", "draft"}), ("other", {"draft"})]
)
def test_numbers_are_filtered_by_campaign(chosen, found, number, client):
    draft = CampaignFactory(company=number.company, status=Campaign.Status.DRAFT)
    Number.objects.filter(pk=number.pk).update(label="outside")
    NumberFactory(office=number.office, campaign=draft, label="draft")
    NumberFactory(office=number.office, campaign=CampaignFactory(company=number.company), label="registered")

    query = {"campaign": draft.pk if chosen == "other" else chosen}
    rows = client.get(address("number_changelist"), query).context["cl"].result_list

    assert {row.label for row in rows} == found


def test_a_campaign_takes_two_to_five_samples_and_says_what_is_wrong_with_one(number, client):
    def save(samples, **fields):
        posted = {"name": "Reminders", "status": "registered", "registry_id": "C123456", **fields}
        posted |= {f"sample_messages_{n}": sample for n, sample in enumerate(samples)}
        return client.post(address("campaign_add"), posted)

    assert "sample_messages" in errors(save(SAMPLES[:1]))
    assert "20 characters" in str(errors(save([*SAMPLES, "short"]))["sample_messages"])
    assert "registry_id" in errors(save(SAMPLES, registry_id=""))
    assert not Campaign.objects.exists()

    assert save([SAMPLES[0], "", SAMPLES[1]]).status_code == 302
    made = Campaign.objects.get()
    assert made.sample_messages == SAMPLES
    assert made.company == number.company


def test_a_campaign_shows_its_numbers(client, number):
    campaign = CampaignFactory(company=number.company)
    change(client, number, campaign=campaign.pk)

    page = words(client.get(address("campaign_change", campaign.pk)))

    assert address("number_change", number.pk) in page


@pytest.mark.parametrize("model", ["number", "campaign", "office", "membership", "apitoken", "carrieraccount"])
def test_a_list_asks_as_many_questions_for_thirty_rows_as_for_five(model, client, number):
    def asked():
        with CaptureQueriesContext(connection) as queries:
            response = client.get(address(f"{model}_changelist"))
        return len(queries), response.context["cl"].result_count

    _fill(number.company, 5)
    few, count = asked()
    _fill(number.company, 25)
    many, more = asked()

    assert more > count
    assert many == few


def _fill(company, count):
    for _ in range(count):
        office = OfficeFactory(company=company)
        NumberFactory(office=office, campaign=CampaignFactory(company=company))
        MembershipFactory(office=office, role=Role.AGENT)
        issue(company, "CRM", ["inbound"], account=CarrierAccountFactory(company=company))
