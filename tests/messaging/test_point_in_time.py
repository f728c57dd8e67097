"""The function behind “Could we text them then?”: the gate's verdict of that moment, since when and until when."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from messaging import gate, point_in_time
from messaging.admin import asking_then
from messaging.models import OptOut, Recipient
from offices.models import Number
from offices.models.campaigns import assign
from tests.factories import CampaignFactory, NumberFactory, UserFactory
from tests.messaging.pages import shown
from tests.messaging.test_history_property import NUMBERS, PEOPLE, Histories
from tests.messaging.texting import receive, recipient_of, somebody

MINUTE = timedelta(minutes=1)
LONGER_AGO = timedelta(days=3)


@pytest.fixture
def clock():
    """Three days ago, and standing still until moved."""
    start = timezone.now().replace(microsecond=0) - LONGER_AGO
    with time_machine.travel(start, tick=False) as moved:
        yield moved


def asked(number: Number, to: str, at: datetime) -> point_in_time.Answer:
    return point_in_time.answer(Number.objects.get(pk=number.pk), recipient_of(number, to), at)


def after(clock: Any, pause: timedelta = MINUTE) -> datetime:
    clock.shift(pause)
    return timezone.now()


# One story ------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.behaviour("N8")
def test_an_answer_holds_from_the_text_that_made_it_until_the_one_that_changed_it(clock):
    number, to = NumberFactory(), somebody()
    receive(number, to, "Hello")
    stopped = after(clock)
    receive(number, to, "STOP")
    after(clock)
    receive(number, to, "HELP")
    back = after(clock)
    receive(number, to, "UNSTOP")
    held = after(clock)
    receive(number, to, "stop!!")
    opted_out = after(clock)
    receive(number, to, "STOP")
    now = after(clock)

    story = [(None, "ok"), (stopped, "opted_out_company"), (back, "ok"), (held, "held"),
             (opted_out, "opted_out_company"), (None, "")]  # fmt: skip
    for (since, code), (until, _) in pairwise(story):
        for moment in ((since or stopped - MINUTE), (until or now) - timedelta(microseconds=1)):
            found = asked(number, to, moment)
            assert (found.verdict.code, found.since, found.until) == (code, since, until)


@pytest.mark.django_db
@pytest.mark.behaviour("N8")
def test_the_answer_names_the_opt_out_of_then_although_it_is_closed(clock):
    number, to = NumberFactory(registered=True), somebody()
    receive(number, to, "Stop")
    opt_out = OptOut.objects.get()
    then = after(clock)
    receive(number, to, "UNSTOP")
    after(clock)

    verdict = asked(number, to, then - MINUTE / 2).verdict

    assert verdict.code == "opted_out_campaign"
    assert verdict.voice_allowed
    assert verdict.opt_out == {
        "id": opt_out.pk,
        "texted_number": number.e164,
        "text": "Stop",
        "at": opt_out.texted_at.isoformat(),
        "event": opt_out.opened_by_id,
    }


@pytest.mark.django_db
@pytest.mark.behaviour("N4")
def test_an_answer_changes_when_the_number_joins_the_campaign_or_is_out_of_use(clock):
    texted, to = NumberFactory(registered=True), somebody()
    other = NumberFactory(office=texted.office)
    receive(texted, to, "STOP")
    joined = after(clock)
    assign(other, texted.current_campaign())
    left = after(clock)
    assign(other, CampaignFactory(company=texted.company))
    gone = after(clock)
    other.give_up()
    taken_back = after(clock)
    Number.objects.get(pk=other.pk).take_back()
    given_up = after(clock)
    Number.objects.get(pk=other.pk).give_up()
    after(clock)

    story = [(None, "ok"), (joined, "opted_out_campaign"), (gone, "number_inactive"),
             (taken_back, "opted_out_campaign"), (given_up, "number_inactive"), (None, "")]  # fmt: skip
    for (since, code), (until, _) in pairwise(story):
        found = asked(other, to, since or joined - MINUTE)
        assert (found.verdict.code, found.since, found.until) == (code, since, until)
    assert asked(other, to, left).since == joined


@pytest.mark.django_db
@pytest.mark.behaviour("B01")
def test_an_answer_changes_when_the_other_number_comes_into_the_portal(clock):
    number, to = NumberFactory(), somebody()
    receive(number, to, "STOP")
    Number.objects.filter(pk=number.pk).update(created_at=timezone.now())
    came = after(clock)
    NumberFactory(e164=to, created_at=came)
    after(clock)

    before, since = asked(number, to, came - MINUTE), asked(number, to, came)

    assert (before.verdict.code, before.until) == ("opted_out_company", came)
    assert (since.verdict.code, since.since, since.until) == ("chat", came, None)


@pytest.mark.django_db
def test_a_move_that_is_planned_for_later_is_no_change_yet(clock):
    texted, to = NumberFactory(registered=True), somebody()
    other = NumberFactory(office=texted.office)
    receive(texted, to, "STOP")
    assign(other, texted.current_campaign(), at=timezone.now() + timedelta(days=1))

    found = asked(other, to, timezone.now())

    assert (found.verdict.code, found.until) == ("ok", None)


@pytest.mark.django_db
def test_the_search_for_a_change_ends_and_says_so(clock, django_assert_max_num_queries):
    number, to = NumberFactory(), somebody()
    receive(number, to, "STOP")
    opened = OptOut.objects.get()
    other = CampaignFactory(company=number.company)
    most = point_in_time.MOST_ASKED
    OptOut.objects.bulk_create(
        OptOut(
            company=number.company, office=number.office, recipient=opened.recipient, scope="campaign", campaign=other,
            texted_number="+12025550199", text="STOP", texted_at=opened.opened_at + n * MINUTE,
            opened_at=opened.opened_at + n * MINUTE, opened_by=opened.opened_by,
            closed_at=opened.opened_at + n * MINUTE + MINUTE / 2, closed_by=opened.opened_by,
        )
        for n in range(1, most + 2)
    )  # fmt: skip
    clock.shift(timedelta(days=2))

    with django_assert_max_num_queries(10 * most):
        found = asked(number, to, opened.opened_at + (most + 5) * MINUTE)
        first = asked(number, to, opened.opened_at)

    assert (found.since_at_least, found.until, found.until_at_least) == (True, None, False)
    assert found.since > opened.opened_at
    assert (first.since, first.since_at_least, first.until_at_least) == (opened.opened_at, False, True)


# Any story ------------------------------------------------------------------------------------------------------------


class Remembered(Histories):
    """The random histories of the gate's own test. What the gate said live, in full, is compared at the end with what
    the function and the page say of those moments."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[tuple[datetime, dict[tuple[str, str], gate.Verdict]]] = []

    def ask(self, at: datetime | None) -> dict[tuple[str, str], str]:
        if at is None:
            verdicts = {(n, p): gate.check(self.row(n), who) for p, who in self.known().items() for n in NUMBERS}
            self.live.append((timezone.now(), verdicts))
        return super().ask(at)

    def row(self, name: str) -> Number:
        return Number.objects.select_related("company", "account").get(pk=self.number[name].pk)

    def known(self) -> dict[str, Recipient]:
        """The people whom the first company knows by now."""
        theirs = Recipient.objects.filter(company=self.company["x"])
        return {name: found for name in PEOPLE if (found := theirs.filter(e164=self.person[name]).first())}

    def replay(self) -> None:
        people = self.known()
        pairs = [(number, person) for number in NUMBERS[:6] for person in people]
        for place, (number, person) in enumerate(pairs):
            for at, verdicts in self.live[place % 7 :: 7]:
                if (number, person) in verdicts:
                    self.compare(self.row(number), people[person], at, verdicts[number, person], (number, person))
        late = [(at, verdicts) for at, verdicts in self.live[1:] if verdicts]
        operator = Client()
        operator.force_login(UserFactory(is_superuser=True))
        for at, verdicts in late[:: max(len(late) // 3, 1)]:
            number, person = sorted(verdicts)[len(verdicts) // 2]
            page = reverse("admin:messaging_recipient_change", args=[people[person].pk])
            answer = operator.get(page + asking_then.address(self.number[number].e164, at))
            if at >= point_in_time.in_portal_since(self.row(number)) and not number.startswith("y"):
                assert escape(verdicts[number, person].reason) in shown(answer)

    def compare(
        self, number: Number, person: Recipient, at: datetime, said: gate.Verdict, pair: tuple[str, str]
    ) -> None:
        found = point_in_time.answer(number, person, at)
        assert found.verdict == said
        assert not found.since_at_least
        assert not found.until_at_least
        for moment, verdicts in self.live:
            begun, over = not found.since or found.since <= moment, found.until and found.until <= moment
            if pair in verdicts and begun and not over:
                assert verdicts[pair] == said
        for edge in filter(None, [found.since and found.since - point_in_time.INSTANT, found.until]):
            assert gate.check(number, person, at=edge) != said


@pytest.mark.django_db
@pytest.mark.usefixtures("static_files")
@pytest.mark.behaviour("N8")
def test_of_every_moment_of_any_history_it_says_what_the_gate_said_then():
    run_state_machine_as_test(
        Remembered,
        settings=settings(
            max_examples=5,
            stateful_step_count=35,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
