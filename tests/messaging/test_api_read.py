"""Reading over the API: filters, pages by cursor, and never a row of another company."""

import base64
from datetime import UTC, datetime
from itertools import chain
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.utils import timezone

from messaging import consent
from messaging.models import ConsentEvent, Message, OptOut, Recipient
from tests.factories import CampaignFactory, CarrierAccountFactory, CompanyFactory, NumberFactory, OfficeFactory
from tests.messaging.api_calls import SOMEBODY, SOMEBODY_ELSE, bearer, call, get, is_problem

pytestmark = pytest.mark.django_db

ENDPOINTS = {"opt-outs": OptOut, "consent-events": ConsentEvent, "messages": Message}


def path(name: str) -> str:
    return f"/api/v1/{name}/"


class Business:
    """A company with an office, two numbers, a campaign, and one of everything that can be read."""

    def __init__(self, name: str, people: tuple[str, str]) -> None:
        self.company = CompanyFactory(name=f"{name} Dental")
        self.account = CarrierAccountFactory(company=self.company, name=f"{name} account")
        office = OfficeFactory(company=self.company, name=f"{name} office")
        self.plain = NumberFactory(office=office, account=self.account)
        self.campaign = CampaignFactory(company=self.company, name=f"{name} campaign")
        self.registered = NumberFactory(office=office, account=self.account, campaign=self.campaign)
        self.people = people
        self.name = name
        self.token = bearer(self.company, account=self.account)
        self.ids = 0

    def receive(self, number, text, sender):
        self.ids += 1
        sent = {"from": sender, "to": number.e164, "text": text, "message_id": f"{self.name}-{self.ids}"}
        assert call("/api/v1/inbound/", sent, token=self.token).status_code == 201

    def live(self) -> None:
        one, two = self.people
        self.receive(self.plain, f"{self.name} hello", one)
        self.receive(self.plain, "STOP", one)
        self.receive(self.registered, "stop", two)
        self.receive(self.registered, f"please stop texting me, {self.name}", two)
        self.receive(self.plain, "UNSTOP", one)
        self.receive(self.plain, "help", one)
        for to in self.people:
            for number in (self.plain, self.registered):
                sent = {"from": number.e164, "to": to, "text": f"{self.name} offer"}
                assert call("/api/v1/messages/", sent, token=self.token).status_code in (201, 409)

    def marks(self) -> list[str]:
        """What only this company's rows hold."""
        return [self.name, self.plain.e164, self.registered.e164]


@pytest.fixture
def ours():
    business = Business("Ours", (SOMEBODY, SOMEBODY_ELSE))
    business.live()
    return business


@pytest.fixture
def theirs():
    business = Business("Theirs", (SOMEBODY, "+15125550177"))
    business.live()
    return business


@pytest.fixture
def token():
    """Of a company without a row, where no row is needed."""
    return bearer(CompanyFactory(), "read")


def walk(name, token, page_size=2, **query):
    """Every row of a list, page by page, and all that the pages said."""
    rows, said = [], ""
    query["page_size"] = page_size
    for _ in range(100):
        answer = get(path(name), token=token, **query)
        assert answer.status_code == 200, answer.content
        said += answer.content.decode()
        rows += answer.json()["results"]
        if not answer.json()["next"]:
            return rows, said
        query = {key: values[0] for key, values in parse_qs(urlsplit(answer.json()["next"]).query).items()}
    raise AssertionError("the pages do not end")


# Other companies


@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_token_reads_all_rows_of_its_company_and_none_of_another(ours, theirs, name):
    model = ENDPOINTS[name]
    for mine, other in ((ours, theirs), (theirs, ours)):
        rows, said = walk(name, mine.token)
        expected = list(model.objects.filter(company=mine.company).order_by("-pk").values_list("pk", flat=True))
        assert expected
        assert [row["id"] for row in rows] == expected
        for mark in [*other.marks(), other.people[1] if other is theirs else "\0"]:
            assert mark not in said


@pytest.mark.parametrize("name", ENDPOINTS)
def test_no_filter_reaches_rows_of_another_company(ours, theirs, name):
    for query in (
        {"recipient": "+15125550177"},
        {"recipient": SOMEBODY},
        {"number": theirs.plain.e164},
        {"since": "2000-01-01T00:00:00Z"},
        {"cursor": base64.b64encode(b"p=99999999").decode()},
        {"cursor": base64.b64encode(b"r=1&p=0").decode()},
    ):
        if name == "opt-outs" and "number" in query:
            continue
        rows, said = walk(name, ours.token, **query)
        known = set(ENDPOINTS[name].objects.filter(company=ours.company).values_list("pk", flat=True))
        assert {row["id"] for row in rows} <= known
        assert "Theirs" not in said


@pytest.mark.parametrize("name", ENDPOINTS)
def test_every_field_of_another_company_is_refused_as_a_filter(ours, theirs, name):
    for field in ("company", "company_id", "account", "account__settings__auth_token__startswith", "pk", "id"):
        assert is_problem(get(path(name), token=ours.token, **{field: theirs.company.pk}), 400)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_reading_needs_a_token_with_the_read_scope(ours, name):
    others = bearer(ours.company, "check", "send", "inbound", account=ours.account)

    assert is_problem(get(path(name)), 401)
    assert is_problem(get(path(name), token="Bearer sop_no"), 401)
    assert is_problem(get(path(name), token=others), 403)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("name", ["opt-outs", "consent-events"])
def test_the_record_is_read_and_nothing_else(ours, name, method):
    before = list(ConsentEvent.objects.order_by("pk").values())

    for address in (path(name), f"{path(name)}1/"):
        answer = call(address, {"kind": "opt_in"}, token=ours.token, method=method)
        assert answer.status_code in (404, 405)
    assert list(ConsentEvent.objects.order_by("pk").values()) == before


# Rows


def test_an_opt_out_tells_its_whole_story(ours):
    rows, _ = walk("opt-outs", ours.token)

    by_scope = {row["scope"]: row for row in rows}
    campaign, company = by_scope["campaign"], by_scope["company"]
    assert set(campaign) == {
        "id", "recipient", "scope", "campaign", "texted_number", "text", "texted_at", "opened_at", "opened_by",
        "closed_at", "closed_by", "in_force", "is_carrier",
    }  # fmt: skip
    assert campaign["recipient"] == SOMEBODY_ELSE
    assert campaign["campaign"] == {
        "id": ours.campaign.pk, "name": "Ours campaign", "registry_id": ours.campaign.registry_id,
    }  # fmt: skip
    assert (campaign["text"], campaign["in_force"], campaign["closed_by"]) == ("stop", True, None)
    assert (company["text"], company["in_force"], company["campaign"]) == ("STOP", False, None)
    assert ConsentEvent.objects.get(pk=company["closed_by"]).kind == "opt_in"


def test_an_event_tells_who_when_and_by_which_words(ours):
    rows, _ = walk("consent-events", ours.token, kind="opt_out")

    first = rows[-1]
    assert (first["recipient_e164"], first["number_e164"]) == (SOMEBODY, ours.plain.e164)
    assert (first["received_text"], first["matched_words"], first["scope"]) == ("STOP", "stop", "company")
    assert (first["source"], first["carrier"], first["carrier_message_id"]) == ("recipient", "console", "Ours-2")
    assert first["office_name"] == "Ours office"
    assert first["rule_version"]
    assert datetime.fromisoformat(first["received_at"]).tzinfo


def test_texts_in_both_directions_say_from_and_to(ours):
    rows, _ = walk("messages", ours.token)

    for row in rows:
        own = {ours.plain.e164, ours.registered.e164}
        assert ({row["from"], row["to"]} & own) == {row["from"] if row["direction"] == "out" else row["to"]}


# Filters


def ids(name, token, **query):
    return [row["id"] for row in walk(name, token, **query)[0]]


def test_opt_outs_filter_by_scope_recipient_and_force(ours):
    everything = set(ids("opt-outs", ours.token))
    in_force, closed = (ids("opt-outs", ours.token, in_force=v) for v in ("true", "false"))

    assert set(in_force) | set(closed) == everything
    assert in_force
    assert closed
    assert not set(in_force) & set(closed)
    assert ids("opt-outs", ours.token, scope="campaign") == in_force
    assert ids("opt-outs", ours.token, scope="number") == []
    assert ids("opt-outs", ours.token, recipient=SOMEBODY) == closed
    assert ids("opt-outs", ours.token, recipient="(512) 555-0143") == closed
    assert ids("opt-outs", ours.token, recipient=SOMEBODY, in_force="true") == []


def test_events_filter_by_kind_source_recipient_and_number(ours):
    everything = walk("consent-events", ours.token)[0]

    for field, column in (("kind", "kind"), ("source", "source")):
        found = [ids("consent-events", ours.token, **{field: v}) for v in sorted({row[column] for row in everything})]
        assert sorted(chain.from_iterable(found)) == sorted(row["id"] for row in everything)
        assert all(found)
    for field, column in (("recipient", "recipient_e164"), ("number", "number_e164")):
        for value in {row[column] for row in everything}:
            assert ids("consent-events", ours.token, **{field: value}) == [
                row["id"] for row in everything if row[column] == value
            ]


def test_texts_filter_by_direction_state_channel_recipient_and_number(ours):
    everything = walk("messages", ours.token)[0]

    for field in ("direction", "state", "channel"):
        for value in {row[field] for row in everything}:
            expected = [row["id"] for row in everything if row[field] == value]
            assert ids("messages", ours.token, **{field: value}) == expected
    for value in (SOMEBODY, SOMEBODY_ELSE, "+15125550199"):
        expected = [row["id"] for row in everything if value in (row["from"], row["to"])]
        assert ids("messages", ours.token, recipient=value) == expected
    expected = [row["id"] for row in everything if ours.plain.e164 in (row["from"], row["to"])]
    assert ids("messages", ours.token, number=ours.plain.e164) == expected


@pytest.mark.parametrize(("name", "moment"), [("opt-outs", "opened_at"), ("consent-events", "stored_at")])
def test_since_is_from_that_moment_on_and_until_before_it(ours, name, moment):
    rows = walk(name, ours.token)[0]
    middle = rows[len(rows) // 2][moment]

    later = ids(name, ours.token, since=middle)
    earlier = ids(name, ours.token, until=middle)

    at = datetime.fromisoformat(middle)
    assert later == [row["id"] for row in rows if datetime.fromisoformat(row[moment]) >= at]
    assert earlier == [row["id"] for row in rows if datetime.fromisoformat(row[moment]) < at]
    assert rows[len(rows) // 2]["id"] in later


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"}, {"since": ""}, {"since": "2026-11-23T18:30:00"}, {"since": "2026-11-23x"},
        {"until": "2026-02-30T00:00:00Z"}, {"until": "\x00"}, {"recipient": ""}, {"recipient": "\x00"},
        {"recipient": "☎ nobody at all"}, {"cursor": "nonsense"}, {"cursor": "é"},
        {"cursor": base64.b64encode(b"p=abc").decode()}, {"cursor": base64.b64encode(b"p=1.5").decode()},
        {"cursor": base64.b64encode(b"p=%00").decode()}, {"cursor": base64.b64encode(b"o=abc").decode()},
        {"cursor": base64.b64encode(b"\xff\xfe").decode()}, {"cursor": base64.b64encode(b"p=\xd9\xa3").decode()},
        {"page_size": "abc"}, {"page_size": "0"}, {"page_size": "-1"}, {"page_size": "1001"}, {"page_size": ""},
        {"page_size": "٣"}, {"nonsense": "1"}, {"ordering": "pk"},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_bad_filter_is_a_problem_that_names_it(token, name, query):
    answer = get(path(name), token=token, **query)

    assert is_problem(answer, 400), answer.content
    assert list(answer.json()["errors"]) == list(query)


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("opt-outs", {"scope": "planet"}), ("opt-outs", {"in_force": "maybe"}), ("opt-outs", {"in_force": ""}),
        ("opt-outs", {"number": SOMEBODY}), ("consent-events", {"kind": "STOP"}), ("consent-events", {"kind": ""}),
        ("consent-events", {"source": "x"}), ("consent-events", {"number": "nonsense at all"}),
        ("consent-events", {"in_force": "true"}), ("messages", {"direction": "up"}), ("messages", {"state": "odd"}),
        ("messages", {"channel": "voice"}), ("messages", {"in_force": "true"}), ("messages", {"number": "\x00"}),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_that_no_row_can_have_is_a_problem_and_not_an_empty_list(token, name, query):
    answer = get(path(name), token=token, **query)

    assert is_problem(answer, 400), answer.content
    assert list(answer.json()["errors"]) == list(query)


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-14:00",
        "2026-11-23T18:30:00+19:44",
    ],
)
@pytest.mark.parametrize("name", ENDPOINTS)
def test_moments_at_the_ends_of_the_calendar_never_fail(token, name, moment):
    for query in ({"since": moment}, {"until": moment}):
        assert get(path(name), token=token, **query).status_code in (200, 400)


# Pages


def test_a_page_holds_a_hundred_rows_unless_asked_otherwise(ours):
    person = Recipient.objects.get(company=ours.company, e164=SOMEBODY)
    for _ in range(120):
        consent.opt_in(person, ours.plain, text="UNSTOP", at=timezone.now())

    assert len(get(path("consent-events"), token=ours.token).json()["results"]) == 100
    assert len(get(path("consent-events"), token=ours.token, page_size=7).json()["results"]) == 7
    assert len(get(path("consent-events"), token=ours.token, page_size=1000).json()["results"]) > 120
    assert len(walk("consent-events", ours.token, page_size=50)[0]) == ConsentEvent.objects.count()


def test_rows_that_come_while_one_pages_are_neither_doubled_nor_in_the_way(ours):
    before = ids("messages", ours.token)
    first = get(path("messages"), token=ours.token, page_size=3).json()
    ours.receive(ours.plain, "in between", SOMEBODY)

    query = {key: values[0] for key, values in parse_qs(urlsplit(first["next"]).query).items()}
    rest = ids("messages", ours.token, **query)

    assert [row["id"] for row in first["results"]] + rest == before


def test_previous_leads_back(ours):
    first = get(path("messages"), token=ours.token, page_size=3).json()
    second = get(first["next"].partition("testserver")[2], token=ours.token).json()
    back = get(second["previous"].partition("testserver")[2], token=ours.token).json()

    assert back["results"] == first["results"]


def test_the_filter_stays_in_the_link_to_the_next_page(ours):
    answer = get(path("messages"), token=ours.token, page_size=1, direction="out").json()

    assert "direction=out" in answer["next"]


@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_page_takes_as_many_queries_for_a_hundred_rows_as_for_one(ours, name, django_assert_max_num_queries):
    for n in range(20):
        ours.receive(ours.plain, "STOP", f"+1512555011{n % 10}")
    get(path(name), token=ours.token)

    with django_assert_max_num_queries(3):
        rows = get(path(name), token=ours.token).json()["results"]

    assert len(rows) > 10


def test_times_are_written_with_their_zone(ours):
    with time_machine.travel(datetime(2026, 11, 3, 12, tzinfo=UTC), tick=False):
        ours.receive(ours.plain, "STOP", "+15125550166")
    row = walk("opt-outs", ours.token, recipient="+15125550166")[0][0]

    assert datetime.fromisoformat(row["opened_at"]) == datetime(2026, 11, 3, 12, tzinfo=UTC)
    assert datetime.fromisoformat(row["opened_at"]).utcoffset() is not None
