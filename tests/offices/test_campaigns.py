"""Campaigns, and which number was in which of them from when until when."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from offices.models import Campaign, CampaignAssignment
from offices.models.campaigns import assign
from tests.factories import CampaignFactory, NumberFactory

pytestmark = pytest.mark.django_db


def times(number):
    """The number's times in campaigns, oldest first."""
    return list(number.assignments.order_by("pk"))


def test_a_number_joins_a_campaign_now():
    number = NumberFactory()
    campaign = CampaignFactory(company=number.company)
    before = timezone.now()

    made = assign(number, campaign)

    assert made.campaign == campaign
    assert made.company == number.company
    assert before <= made.starts_at <= timezone.now()
    assert made.ends_at is None
    assert number.current_assignment() == made


def test_a_number_that_moves_keeps_its_time_in_the_former_campaign_on_record():
    number = NumberFactory(registered=True)
    (first,) = times(number)

    second = assign(number, CampaignFactory(company=number.company))

    former, current = times(number)
    assert former.pk == first.pk
    assert former.campaign == first.campaign
    assert former.ends_at == second.starts_at
    assert current.pk == second.pk
    assert number.current_assignment() == second


def test_a_number_leaves_its_campaign_for_none():
    number = NumberFactory(registered=True)

    assert assign(number, None) is None

    assert number.current_assignment() is None
    (former,) = times(number)
    assert former.ends_at is not None


def test_assigning_what_is_assigned_already_changes_nothing():
    number = NumberFactory(registered=True)
    (first,) = times(number)

    assert assign(number, first.campaign) == first
    assert [(t.pk, t.starts_at, t.ends_at) for t in times(number)] == [(first.pk, first.starts_at, None)]
    assert assign(NumberFactory(), None) is None


def test_a_number_that_comes_back_has_two_times_in_the_same_campaign():
    number = NumberFactory(registered=True)
    campaign = times(number)[0].campaign

    assign(number, None)
    assign(number, campaign)

    assert [(t.campaign, t.ends_at is None) for t in times(number)] == [(campaign, False), (campaign, True)]


def test_a_campaign_of_another_company_is_refused_with_a_sentence_and_nothing_changes():
    number = NumberFactory(registered=True)
    (first,) = times(number)

    with pytest.raises(ValidationError, match="own company"):
        assign(number, CampaignFactory())

    assert number.current_assignment() == first


@pytest.mark.behaviour("N4")
def test_a_number_cannot_leave_in_the_past_so_that_no_block_given_since_is_undone():
    number = NumberFactory(registered=True)
    now = timezone.now()
    number.assignments.update(starts_at=now - timedelta(days=30))

    assign(number, CampaignFactory(company=number.company), at=now - timedelta(days=2))

    former, current = times(number)
    assert former.ends_at >= now
    assert current.starts_at >= former.ends_at


def test_the_first_time_in_a_campaign_may_lie_in_the_past():
    number = NumberFactory()
    long_ago = timezone.now() - timedelta(days=300)
    assert assign(number, CampaignFactory(company=number.company), at=long_ago).starts_at == long_ago


def test_the_table_refuses_a_second_open_time_and_an_end_before_the_start():
    number = NumberFactory(registered=True)
    (first,) = times(number)
    now = timezone.now()

    with pytest.raises(IntegrityError, match="assignment_one_open_per_number"), transaction.atomic():
        CampaignAssignment.objects.create(company=number.company, campaign=first.campaign, number=number, starts_at=now)
    with pytest.raises(IntegrityError, match="assignment_ends_after_start"), transaction.atomic():
        CampaignAssignment.objects.filter(pk=first.pk).update(ends_at=first.starts_at - timedelta(seconds=1))


@pytest.mark.parametrize("status", Campaign.Status.values)
def test_only_a_registered_campaign_is_registered(status):
    assert CampaignFactory(status=status).is_registered == (status == "registered")


def test_a_campaign_beyond_draft_wants_samples_and_a_registered_one_its_registry_id():
    for status in ("pending", "registered", "suspended", "expired"):
        with pytest.raises(ValidationError) as refused:
            CampaignFactory.build(status=status, sample_messages=["One sample that is long enough."]).clean()
        assert "two to five" in refused.value.messages[0]
    with pytest.raises(ValidationError) as refused:
        CampaignFactory.build(status="registered", registry_id="").clean()
    assert "registry_id" in refused.value.message_dict
    for status in ("draft", "rejected"):
        CampaignFactory.build(status=status, sample_messages=[]).clean()
    CampaignFactory.build().clean()
