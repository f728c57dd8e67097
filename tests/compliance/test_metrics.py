"""What whoever is paged reads."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from messaging.models import Message
from tests.factories import CarrierAccountFactory, MessageFactory, NumberFactory
from tests.messaging.texting import receive, somebody

pytestmark = pytest.mark.django_db


@pytest.fixture
def token(settings):
    settings.METRICS_TOKEN = "only-for-this-test"
    return settings.METRICS_TOKEN


def scrape(token: str):
    return Client().get("/metrics", headers={"Authorization": f"Bearer {token}"})


def figures(token: str) -> dict[str, float]:
    answer = scrape(token)
    assert answer.status_code == 200
    return {family.name: family.samples[0].value for family in text_string_to_metric_families(answer.content.decode())}


def outbound(**more):
    return MessageFactory(direction="out", received_at=None, **more)


def test_without_a_token_set_there_are_no_figures(settings):
    settings.METRICS_TOKEN = ""

    assert scrape("").status_code == 404


@pytest.mark.parametrize("given", ["", "wrong", "only-for-this-test2", "ü"])
def test_only_who_has_the_token_reads_the_figures(token, given):
    answer = scrape(given)

    assert answer.status_code == 401
    assert b"portal_" not in answer.content


def test_nothing_to_do_is_all_zeros(token):
    assert set(figures(token).values()) == {0}


def test_what_waits_is_counted_and_timed(token):
    now = timezone.now()
    outbound(state=Message.State.QUEUED, next_attempt_at=now - timedelta(seconds=90))
    outbound(state=Message.State.SENDING, next_attempt_at=now + timedelta(hours=1))
    outbound(state=Message.State.UNCERTAIN)
    number = NumberFactory()
    receive(number, somebody(), "please stop texting me")

    seen = figures(token)

    assert seen["portal_texts_due"] == 1
    assert 90 <= seen["portal_oldest_due_text_age_seconds"] < 150
    assert seen["portal_texts_uncertain"] == 1
    assert seen["portal_holds_waiting"] == 1
    assert seen["portal_next_hold_due_seconds"] > timedelta(days=10).total_seconds()


def test_the_cost_is_the_same_however_much_there_is(token, django_assert_num_queries):
    CarrierAccountFactory()
    for _ in range(5):
        outbound(state=Message.State.UNCERTAIN)

    with django_assert_num_queries(6):
        assert figures(token)["portal_texts_uncertain"] == 5
