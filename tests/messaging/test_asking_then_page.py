"""“Could we text them then?” on a recipient's page: the question, the answer, and what whom it is told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from messaging import gate
from messaging.models import ConsentEvent, Hold, OptOut, Recipient
from offices import e164
from offices.models import Number
from tests.factories import NumberFactory, OfficeFactory
from tests.messaging.pages import Role, logged_in, shown
from tests.messaging.texting import receive, recipient_of, somebody

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("static_files")]

EVERYBODY = [Role.COMPANY_ADMIN, Role.OFFICE_ADMIN, Role.AGENT, Role.AUDITOR, None]
SEES_RECORD = [Role.COMPANY_ADMIN, Role.OFFICE_ADMIN, Role.AUDITOR, None]
ALLOWED, REFUSED = ">Allowed</span>", ">Not allowed</span>"
NOON = datetime(2026, 11, 3, 17, tzinfo=UTC)  # noon in New York


class Story:
    """Hello at 11, STOP at noon, HELP at 1, UNSTOP at 2, “please stop” at 3; all on one number."""

    def __init__(self) -> None:
        with time_machine.travel(NOON - timedelta(days=9), tick=False):
            self.number = NumberFactory(created_at=timezone.now(), label="Front desk")
        self.to = somebody()
        for hours, text in [(-1, "Hello"), (0, "STOP"), (1, "HELP"), (2, "UNSTOP"), (3, "please stop texting me")]:
            with time_machine.travel(NOON + timedelta(hours=hours), tick=False):
                receive(self.number, self.to, text)
        self.person = recipient_of(self.number, self.to)
        Recipient.objects.filter(pk=self.person.pk).update(created_at=NOON - timedelta(hours=1))

    @property
    def address(self) -> str:
        return reverse("admin:messaging_recipient_change", args=[self.person.pk])

    def ask(self, client: Client, at: Any, number: Any = None) -> str:
        answer: Any = client.get(
            self.address,
            {"number": number if number is not None else self.number.e164, "at": written(at)},
            follow=True,
        )
        assert answer.status_code == 200
        return shown(answer).split('id="then-title"')[1]


def written(at: Any) -> str:
    return at.isoformat().replace("+00:00", "Z") if isinstance(at, datetime) else at


def page_of(row: Any) -> str:
    return reverse(f"admin:messaging_{row._meta.model_name}_change", args=[row.pk])


@pytest.fixture
def story():
    return Story()


@pytest.fixture
def admin(story):
    return logged_in(Role.COMPANY_ADMIN, story.number.office)


# The question ---------------------------------------------------------------------------------------------------------


def test_before_anybody_asks_there_is_the_question_and_no_answer(story, admin):
    newest = NumberFactory(office=story.number.office)
    NumberFactory(office=story.number.office)
    receive(newest, story.to, "Hello again")

    page = shown(admin.get(story.address)).split('id="then-title"')[1]

    assert f'<option value="{newest.e164}" selected>' in page
    assert 'type="datetime-local"' in page
    assert 'step="1"' in page
    assert "America/New_York" in page
    assert f'value="{timezone.localtime():%Y-%m-%dT%H:%M}' in page
    assert ALLOWED not in page
    assert REFUSED not in page


def test_what_is_typed_in_the_portals_zone_leads_to_an_address_that_means_the_same_everywhere(story, admin):
    answer = admin.get(story.address, {"number": story.number.e164, "at": "2026-11-03T12:30:05"})

    assert answer.status_code == 302
    assert answer["Location"] == f"{story.address}?number=%2B{story.number.e164[1:]}&at=2026-11-03T17:30:05Z"
    page = shown(admin.get(answer["Location"]))
    assert REFUSED in page
    assert 'value="2026-11-03T12:30:05"' in page
    with timezone.override("Asia/Tokyo"):
        assert REFUSED in shown(admin.get(answer["Location"]))


@pytest.mark.parametrize(
    ("at", "sentence"),
    [
        ("2999-01-01T00:00:00", "yet to come"),
        (lambda: timezone.now() + timedelta(minutes=2), "yet to come"),
        ("", "Choose a date and a time."),
        ("soon", "Write a date and a time"),
        ("2026-13-40T00:00", "Write a date and a time"),
        ("\x00", "Write a date and a time"),
        ("0001-01-01T00:00:00Z", "from 1970 on"),
        ("9999-12-31T23:59:59Z", "from 1970 on"),
        ("2026-03-08T02:30:00", "never showed this time"),
        ("2026-10-25T17:00:00Z", "came into the portal on Oct 25, 2026, 1:00:00 PM EDT"),
    ],
)
def test_a_moment_that_cannot_be_answered_is_refused_with_a_sentence(story, admin, at, sentence):
    minute_before = timedelta(minutes=1) if "came into" in sentence else timedelta(0)
    moment = at() if callable(at) else at
    if minute_before:
        moment = datetime.fromisoformat(at) - minute_before

    page = story.ask(admin, moment)

    assert sentence in page
    assert ALLOWED not in page
    assert REFUSED not in page


def test_an_hour_that_the_clocks_showed_twice_can_be_asked_both_ways(story, admin):
    page = story.ask(admin, "2026-11-01T01:30:00")

    assert "showed this time twice" in page
    for at, name in (("05:30:00Z", "1:30:00 AM EDT"), ("06:30:00Z", "1:30:00 AM EST")):
        assert f"at=2026-11-01T{at}" in page
        assert name in page
        assert ALLOWED in story.ask(admin, f"2026-11-01T{at}")


def test_a_moment_before_the_recipient_was_known_says_so(story, admin):
    page = story.ask(admin, NOON - timedelta(hours=2))

    assert f"{e164.show(story.to)} was not known to {story.number.company} then" in page
    assert "of Nov 3, 2026, 11:00:00 AM EST" in page
    assert ALLOWED in page
    assert "was not known" not in story.ask(admin, NOON - timedelta(minutes=30))


# The answer -----------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("N8")
@pytest.mark.behaviour("B12")
@pytest.mark.parametrize("role", EVERYBODY)
def test_the_answer_names_verdict_opt_out_and_event_and_that_calls_are_allowed(story, role):
    client, opt_out = logged_in(role, story.number.office), OptOut.objects.get()
    at = NOON + timedelta(minutes=90)

    page = story.ask(client, at)

    said = gate.check(Number.objects.get(pk=story.number.pk), story.person, at=at)
    assert REFUSED in page
    assert "Opted out of the whole company" in page
    assert escape(said.reason) in page
    assert "<dt>Phone calls</dt><dd>Allowed</dd>" in page
    assert 'dir="auto">STOP</dd>' in page
    assert f"<dt>Texted number</dt><dd>{e164.show(story.number.e164)}</dd>" in page
    assert "<dt>Texted</dt><dd>Nov 3, 2026, 12:00:00 PM EST</dd>" in page
    assert "From Nov 3, 2026, 12:00:00 PM EST until Nov 3, 2026, 2:00:00 PM EST" in page
    assert f"Every number of {story.number.company}" in page
    assert page_of(opt_out) in page
    assert (page_of(opt_out.opened_by) in page) == (role in SEES_RECORD)
    assert ("Entries of the record around that moment" in page) == (role in SEES_RECORD)
    assert ("/consentevent/" in page) == (role in SEES_RECORD)


@pytest.mark.behaviour("N8")
def test_a_hold_is_named_as_one_and_leads_to_its_page(story, admin):
    page = story.ask(admin, NOON + timedelta(hours=4))

    assert "On hold until reviewed" in page
    assert page_of(Hold.objects.get()) in page
    assert "and still" in page


def test_since_when_and_until_when_are_told_and_lead_to_the_moments_beyond(story, admin):
    page = story.ask(admin, NOON + timedelta(minutes=90))

    assert "<dt>This answer holds since</dt><dd>Nov 3, 2026, 12:00:00 PM EST · " in page
    assert "<dt>Until</dt><dd>Nov 3, 2026, 2:00:00 PM EST · " in page
    assert "at=2026-11-03T16:59:59.999999Z" in page
    assert ALLOWED in story.ask(admin, "2026-11-03T16:59:59.999999Z")
    assert "at=2026-11-03T19:00:00Z" in page
    assert ALLOWED in story.ask(admin, "2026-11-03T19:00:00Z")
    assert "The beginning" in story.ask(admin, NOON - timedelta(minutes=1))
    assert "Now: nothing on record" in story.ask(admin, NOON + timedelta(days=1))


def test_the_three_entries_before_and_the_three_after_stand_around_the_moment(story, admin):
    for hours, text in [(4, "STOP"), (5, "UNSTOP"), (6, "STOP"), (7, "UNSTOP")]:
        with time_machine.travel(NOON + timedelta(hours=hours), tick=False):
            receive(story.number, story.to, text)
    kept = list(ConsentEvent.objects.filter(recipient=story.person).order_by("pk"))

    page = story.ask(admin, NOON + timedelta(hours=4))

    table = page.split("<tbody>")[1].split("</tbody>")[0]
    at = table.index("the moment asked about")
    before = [event for event in kept if f'{page_of(event)}"' in table[:at]]
    after = [event for event in kept if f'{page_of(event)}"' in table[at:]]
    stored_before = [event for event in kept if event.stored_at <= NOON + timedelta(hours=4)]
    assert before == stored_before[-3:]
    assert after == kept[len(stored_before) :][:3]
    nobody = story.ask(admin, NOON - timedelta(hours=2))
    assert "None before" in nobody


def test_a_text_of_theirs_is_shown_as_words_and_never_as_markup(story, admin):
    with time_machine.travel(NOON + timedelta(hours=5), tick=False):
        receive(story.number, story.to, "UNSTOP")
    with time_machine.travel(NOON + timedelta(hours=6), tick=False):
        receive(story.number, story.to, "<script>x()</script> stop texting me!")

    page = story.ask(admin, NOON + timedelta(hours=7))

    assert "<script>x()" not in page
    assert "&lt;script&gt;x()" in page


# For whom -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", EVERYBODY)
def test_numbers_of_other_companies_and_no_numbers_are_not_answered(story, role):
    client = logged_in(role, story.number.office)
    foreign = NumberFactory(label="Foreign desk")
    for number in (foreign.e164, "+12025550199", "", "1", "\x00", "' OR 1=1"):
        page = story.ask(client, NOON + timedelta(hours=1), number)
        assert ("Null characters are not allowed" if number == "\x00" else "Choose one of our numbers") in page
        assert ALLOWED not in page
        assert REFUSED not in page
        assert "Foreign desk" not in page


@pytest.mark.parametrize("role", [Role.OFFICE_ADMIN, Role.AGENT])
def test_an_office_asks_about_its_own_numbers_only(story, role):
    other = NumberFactory(office=OfficeFactory(company=story.number.company), label="Other desk")
    receive(other, story.to, "Hello")
    own, whole = logged_in(role, story.number.office), logged_in(Role.AUDITOR, story.number.office)

    page = story.ask(own, NOON + timedelta(hours=1), other.e164)

    assert "Choose one of our numbers" in page
    assert "Other desk" not in page
    assert e164.show(other.e164) not in page
    assert "Other desk" in story.ask(whole, NOON + timedelta(hours=1))


@pytest.mark.parametrize("role", [Role.OFFICE_ADMIN, Role.AGENT])
def test_another_offices_opt_out_is_told_without_its_number_its_page_and_its_events(role):
    story = Story()
    mine = NumberFactory(office=OfficeFactory(company=story.number.company), created_at=NOON - timedelta(days=9))
    receive(mine, story.to, "Hello")
    opt_out = OptOut.objects.get()

    page = story.ask(logged_in(role, mine.office), NOON + timedelta(hours=1), mine.e164)

    assert REFUSED in page
    assert "replied STOP on" in page
    assert "A number of another office" in page
    assert e164.show(story.number.e164) not in page
    assert "Front desk" not in page
    assert page_of(opt_out) not in page
    for event in ConsentEvent.objects.filter(office=story.number.office):
        assert f'{page_of(event)}"' not in page


@pytest.mark.parametrize("role", EVERYBODY[:-1])
def test_whoever_does_not_see_the_recipient_gets_no_answer(story, role):
    offices = [OfficeFactory()]
    if role in (Role.OFFICE_ADMIN, Role.AGENT):
        offices.append(OfficeFactory(company=story.number.company))
    for office in offices:
        for number in (story.number.e164, NumberFactory(office=office).e164):
            answer = logged_in(role, office).get(story.address, {"number": number, "at": written(NOON)})
            assert answer.status_code in (302, 403, 404)
            assert "number=" not in answer.get("Location", "")
    stranger = Client().get(story.address, {"number": story.number.e164, "at": written(NOON)})
    assert stranger["Location"].startswith(reverse("admin:login"))


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.AGENT])
def test_asking_writes_nothing_and_a_number_that_was_given_up_can_be_asked_about(story, role, settings):
    Number.objects.filter(pk=story.number.pk).update(given_up_at=NOON + timedelta(days=2))
    client = logged_in(role, story.number.office)
    events = ConsentEvent.objects.count()

    page = story.ask(client, NOON + timedelta(days=3))

    assert "Our number was not in use" in page
    assert "given up</option>" in page
    assert REFUSED in story.ask(client, NOON + timedelta(hours=1))
    assert ConsentEvent.objects.count() == events


def test_the_name_can_still_be_saved_while_an_answer_is_shown(story, admin):
    answer = admin.post(
        f"{story.address}?number=%2B{story.number.e164[1:]}&at=2026-11-03T17:30:05Z",
        {
            "name": "Ann",
            **{f"{prefix}-{end}": "0" for prefix in ("optouts", "holds", "conversations", "events")
               for end in ("TOTAL_FORMS", "INITIAL_FORMS")},
        },
    )  # fmt: skip

    assert answer.status_code == 302
    assert Recipient.objects.get(pk=story.person.pk).name == "Ann"
