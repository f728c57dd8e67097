"""The admin's first page and its frame: what waits, the figures, the sidebar; for each role what is theirs."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from compliance import dashboard, theme
from messaging.models import CarrierHealth, Message, WebhookReceipt
from messaging.throughput import FAILURES_UNTIL_PAUSE
from tests.factories import (
    CarrierAccountFactory,
    ConversationFactory,
    MessageFactory,
    NumberFactory,
    OfficeFactory,
    UserFactory,
)
from tests.messaging.pages import Role, logged_in, person
from tests.messaging.texting import receive, somebody

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _static_files(settings):
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture
def office():
    return OfficeFactory(name="Downtown")


def open_it(client):
    response = client.get(reverse("admin:index"))
    assert response.status_code == 200
    return response


def due(response):
    return [f"{item.count} {item.title}" for item in response.context["due"]]


def drawn(chart):
    return {series["label"]: series["data"] for series in json.loads(chart["data"])["datasets"]}


def text(number, direction, *, ago=timedelta(0), state=None, channel="sms"):
    at = timezone.now() - ago
    state = state or ("received" if direction == "in" else "sent")
    message = MessageFactory(
        conversation=ConversationFactory(number=number), direction=direction, channel=channel, state=state,
        account=None if channel == "chat" else number.account,
    )  # fmt: skip
    Message.objects.filter(pk=message.pk).update(created_at=at)
    return message


def test_nothing_to_do_is_said_as_well(office):
    response = open_it(logged_in(Role.AGENT, office))

    assert due(response) == []
    assert "Nothing needs attention" in response.content.decode()
    assert "Nobody has opted out" in response.content.decode()


def test_holds_come_first_with_the_one_that_is_due_soonest_on_top(office):
    number = NumberFactory(office=office, registered=True)
    for words in ("stop!!", "please stop texting me"):
        receive(number, somebody(), words)

    response = open_it(logged_in(Role.COMPANY_ADMIN, office))

    assert due(response)[0] == "2 holds wait for review"
    assert [hold.text for hold in response.context["holds"]] == ["stop!!", "please stop texting me"]


def test_texts_that_went_wrong_since_yesterday_are_counted(office):
    number = NumberFactory(office=office, registered=True)
    text(number, "out", state="failed")
    text(number, "out", state="uncertain")
    text(number, "out", state="failed", ago=timedelta(hours=25))

    assert due(open_it(logged_in(Role.OFFICE_ADMIN, office))) == ["2 texts went wrong in the last 24 hours"]


def test_what_was_not_understood_waits_for_operators_alone(office):
    account = CarrierAccountFactory(company=office.company)
    WebhookReceipt.objects.create(
        company=office.company, account=account, carrier="console", body=b"?", status="not_understood"
    )

    assert due(open_it(logged_in(None, office))) == ["1 received request was not understood"]
    assert due(open_it(logged_in(Role.COMPANY_ADMIN, office))) == []


def failing(company, *, failures=FAILURES_UNTIL_PAUSE, ago=timedelta(0), is_active=True, name="Main line"):
    account = CarrierAccountFactory(company=company, name=name, is_active=is_active)
    CarrierHealth.note(
        account,
        failures=failures,
        last_failure=f"HTTP 401: {name} is not known. " + "x" * 500,
        last_failure_at=timezone.now() - ago,
    )
    return account


def test_a_carrier_account_that_fails_is_named_with_its_error_to_whoever_may_see_it(office):
    account = failing(office.company)

    for role, may_see in ((None, True), (Role.COMPANY_ADMIN, True), (Role.AUDITOR, True), (Role.AGENT, False)):
        response = open_it(logged_in(role, office))
        assert due(response) == (["1 carrier account fails"] if may_see else [])
        assert ("HTTP 401: Main line is not known." in response.content.decode()) == may_see
    item = open_it(logged_in(None, office)).context["due"][0]
    assert (item.tone, item.link) == ("bad", reverse("admin:offices_carrieraccount_change", args=[account.pk]))
    assert len(item.detail) < 130


def test_of_several_that_fail_the_one_that_failed_last_is_named_and_the_list_opened(office):
    failing(office.company, ago=timedelta(hours=1))
    failing(office.company, name="Second line")

    item = open_it(logged_in(Role.COMPANY_ADMIN, office)).context["due"][0]

    assert f"{item.count} {item.title}" == "2 carrier accounts fail"
    assert item.detail.startswith("Second line: HTTP 401")
    assert item.link == reverse("admin:offices_carrieraccount_changelist")


def test_a_passing_failure_an_account_that_is_off_and_one_of_others_raise_no_alarm(office):
    failing(office.company, failures=FAILURES_UNTIL_PAUSE - 1)
    failing(office.company, is_active=False, name="Old line")
    failing(OfficeFactory().company)

    assert due(open_it(logged_in(Role.COMPANY_ADMIN, office))) == []


def test_a_hundred_that_fail_cost_as_many_questions_as_one(office, monkeypatch):
    monkeypatch.setattr(dashboard, "MOST_COUNTED", 3)
    client = logged_in(Role.COMPANY_ADMIN, office)

    def asked(more):
        for _ in range(more):
            failing(office.company, name=f"Line {CarrierHealth.objects.count()}")
        with CaptureQueriesContext(connection) as queries:
            response = open_it(client)
        return len(queries), due(response)[0]

    assert asked(1)[1] == "1 carrier account fails"
    few, _ = asked(1)
    many, said = asked(6)
    assert (many, said) == (few, "3+ carrier accounts fail")


def test_numbers_in_no_registered_campaign_are_named_to_those_who_can_change_it(office):
    NumberFactory(office=office)
    NumberFactory(office=office, registered=True)
    NumberFactory(office=office, toll_free=True)

    assert due(open_it(logged_in(Role.COMPANY_ADMIN, office))) == ["1 number is in no registered campaign"]
    assert due(open_it(logged_in(Role.OFFICE_ADMIN, office))) == []


def test_texts_are_drawn_by_day_and_chats_left_out(office):
    number = NumberFactory(office=office, registered=True)
    text(number, "in")
    text(number, "out")
    text(number, "out", ago=timedelta(days=1))
    text(number, "in", ago=timedelta(days=31))
    text(number, "in", channel="chat")

    texts = open_it(logged_in(Role.AGENT, office)).context["texts"]

    assert (texts["received"], texts["sent"]) == (1, 2)
    series = drawn(texts["chart"])
    assert len(series["Sent"]) == 30
    assert series["Sent"][-2:] == [1, 1]
    assert series["Received"][-1] == 1


def test_opt_outs_and_opt_ins_are_drawn_by_week_as_recorded(office):
    number, sender = NumberFactory(office=office, registered=True), somebody()
    for words in ("STOP", "UNSTOP", "STOP"):
        receive(number, sender, words)

    response = open_it(logged_in(Role.AUDITOR, office))

    consent = response.context["consent"]
    assert (consent["opt_outs"], consent["opt_ins"]) == (2, 1)
    assert drawn(consent["chart"])["Opt-outs"][-1] == 2
    assert len(response.context["opt_outs"]) == 2


@pytest.mark.parametrize("role", Role.values)
def test_nothing_of_another_company_is_counted_or_named(role, office):
    elsewhere = NumberFactory(office=OfficeFactory(), registered=True)
    receive(elsewhere, somebody(), "STOP")
    receive(elsewhere, somebody(), "please stop texting me")
    text(elsewhere, "out", state="failed")
    NumberFactory(office=elsewhere.office)

    response = open_it(logged_in(role, office))

    assert due(response) == []
    assert response.context["opt_outs"] == []
    assert (response.context["texts"]["received"], response.context["texts"]["sent"]) == (0, 0)


@pytest.mark.parametrize("role", [Role.OFFICE_ADMIN, Role.AGENT])
def test_nothing_of_another_office_is_counted_or_named(role, office):
    sibling = NumberFactory(office=OfficeFactory(company=office.company), registered=True)
    receive(sibling, somebody(), "STOP")
    receive(sibling, somebody(), "please stop texting me")
    text(sibling, "out", state="failed")

    response = open_it(logged_in(role, office))

    assert due(response) == []
    assert response.context["opt_outs"] == []
    assert response.context["texts"]["sent"] == 0


def test_a_login_without_a_place_is_told_whom_to_ask():
    client = logged_in(Role.AGENT, OfficeFactory())
    client.force_login(UserFactory())

    assert "You have no place in an office yet" in open_it(client).content.decode()


def test_the_page_asks_as_many_questions_for_thirty_holds_as_for_five(office):
    number = NumberFactory(office=office, registered=True)
    client = logged_in(Role.COMPANY_ADMIN, office)

    def asked(more):
        for _ in range(more):
            receive(number, somebody(), "please stop texting me")
            receive(number, somebody(), "STOP")
        with CaptureQueriesContext(connection) as queries:
            open_it(client)
        return len(queries)

    assert asked(5) == asked(25) <= 20


def test_no_question_reads_more_texts_than_the_newest(office, monkeypatch):
    number = NumberFactory(office=office, registered=True)
    for _ in range(5):
        text(number, "in")
    monkeypatch.setattr(dashboard, "NEWEST_TEXTS", 3)

    texts = open_it(logged_in(Role.COMPANY_ADMIN, office)).context["texts"]

    assert texts["received"] == 3
    assert texts["is_part"]


# The frame ----------------------------------------------------------------------------------------------------------


def sidebar(user, rf):
    request = rf.get("/")
    request.user = user
    return {group.get("title", ""): [item["title"] for item in group["items"]] for group in theme.navigation(request)}


EVERYONE = ["Conversations", "Opt-outs", "Holds", "Recipients"]
OVERSEERS = ["Conversations", "Opt-outs", "Holds", "Lifting requests", "Recipients", "Record", "Failed texts"]


@pytest.mark.parametrize(
    ("role", "groups"),
    [
        (Role.AGENT, {
            "": ["Dashboard"], "Texting": [*EVERYONE, "Failed texts"], "Organization": ["Offices", "Numbers"],
        }),
        (Role.OFFICE_ADMIN, {
            "": ["Dashboard"], "Texting": [*EVERYONE, "Record", "Failed texts"],
            "Organization": ["Offices", "Numbers", "Campaigns", "People"],
        }),
        (Role.AUDITOR, {
            "": ["Dashboard"], "Texting": OVERSEERS,
            "Organization": ["Offices", "Numbers", "Campaigns", "People"],
            "Settings": ["Company settings", "Carrier accounts", "API tokens"],
        }),
        (None, {
            "": ["Dashboard"], "Texting": OVERSEERS,
            "Organization": ["Offices", "Numbers", "Campaigns", "People"],
            "Settings": ["Carrier accounts", "API tokens"],
            "Operator": ["Companies", "Received requests", "Logins"],
        }),
    ],
)  # fmt: skip
def test_the_sidebar_holds_what_the_role_may_see(role, groups, office, rf):
    assert sidebar(person(role, office), rf) == groups


def test_every_link_of_the_sidebar_opens(office, rf):
    for role in [*Role.values, None]:
        request = rf.get("/")
        request.user = person(role, office)
        client = logged_in(role, office)
        client.force_login(request.user)
        for group in theme.navigation(request):
            for item in group["items"]:
                assert client.get(item["link"]).status_code == 200, (role, item["title"])


def test_the_simulator_is_in_the_demo_alone(office, rf, settings):
    settings.DEMO = True

    assert sidebar(person(Role.AGENT, office), rf)["Try it out"] == ["Phone simulator"]


def test_the_badge_at_holds_counts_what_waits_for_this_user(office, rf):
    request = rf.get("/")
    request.user = person(Role.OFFICE_ADMIN, office)
    assert theme.holds_waiting(request) == ""

    receive(NumberFactory(office=office), somebody(), "please stop texting me")
    receive(NumberFactory(office=OfficeFactory(company=office.company)), somebody(), "please stop texting me")

    assert theme.holds_waiting(request) == "1"


def test_the_badge_stops_counting_at_what_fits_on_it(office, rf, monkeypatch):
    monkeypatch.setattr(theme, "MOST_ON_A_BADGE", 1)
    number = NumberFactory(office=office)
    for _ in range(2):
        receive(number, somebody(), "please stop texting me")
    request = rf.get("/")
    request.user = person(Role.AGENT, office)

    assert theme.holds_waiting(request) == "1+"


@pytest.mark.parametrize(
    ("demo", "debug", "badge"), [(True, True, "Demo"), (False, True, "Development"), (False, False, None)]
)
def test_a_badge_says_where_it_is_not_the_real_thing(demo, debug, badge, rf, settings):
    settings.DEMO, settings.DEBUG = demo, debug

    shown = theme.environment_badge(rf.get("/"))

    assert (shown and shown[0]) == badge


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [("/nothing-here/", 404, "There is nothing at this address"), ("/admin/offices/user/", 403, "not yours to see")],
)
def test_errors_have_a_page_that_helps(address, status, words, office):
    response = logged_in(Role.AGENT, office).get(address)

    assert response.status_code == status
    assert words in response.content.decode()
