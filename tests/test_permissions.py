"""Every address of the portal, for every role, with rows of their own, of another office and of another company.

The tables below say who may what in the words of design.md; they are not read from the code. An address that is in
none of them fails the first test, so that nobody adds a page without saying whose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection, transaction
from django.db.models import ForeignKey, Model
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from messaging import consent
from messaging.models import ConsentEvent, Conversation, Hold, LiftRequest, Message, OptOut, WebhookReceipt
from offices import e164
from offices.models import ApiToken, CarrierAccount, Company, Membership, Number, Office, User
from tests.factories import (
    CampaignFactory,
    CarrierAccountFactory,
    CompanyFactory,
    HelpMessageFactory,
    MembershipFactory,
    NumberFactory,
    OfficeFactory,
    UserFactory,
)
from tests.messaging.api_calls import bearer, call

pytestmark = pytest.mark.django_db

# Who is who

OPERATOR = "operator"
COMPANY_ADMIN = "company admin"
AUDITOR = "auditor"
OFFICE_ADMIN = "office admin"
AGENT = "agent"
OTHER_OFFICE_ADMIN = "office admin of the other office"
OTHER_COMPANY_ADMIN = "company admin of another company"
NOBODY = "login without a place"
NO_STAFF = "login that is no staff"
STRANGER = "stranger"
ROLES = [
    OPERATOR, COMPANY_ADMIN, AUDITOR, OFFICE_ADMIN, AGENT, OTHER_OFFICE_ADMIN, OTHER_COMPANY_ADMIN, NOBODY, NO_STAFF,
    STRANGER,
]  # fmt: skip

# Whose a row is. Both offices are of the company ALPHA; BETA is another company, with an office of its own.
NORTH, SOUTH, ALPHA, BETA = "Northmark", "Southmark", "Alphamark", "Betamark"

# model -> who sees rows of it: of the whole company, and of their own office.
IN_COMPANY, IN_OFFICE = {COMPANY_ADMIN, AUDITOR}, {OFFICE_ADMIN, AGENT}
SEEN_BY: dict[str, set[str]] = {
    "offices.company": IN_COMPANY,
    "offices.office": IN_COMPANY | IN_OFFICE,
    "offices.membership": IN_COMPANY | {OFFICE_ADMIN},
    "offices.user": set(),  # people have their page under People; the login itself is the operator's
    "offices.campaign": IN_COMPANY | {OFFICE_ADMIN},
    "offices.carrieraccount": IN_COMPANY,
    "offices.number": IN_COMPANY | IN_OFFICE,
    "offices.apitoken": IN_COMPANY,
    "messaging.recipient": IN_COMPANY | IN_OFFICE,
    "messaging.conversation": IN_COMPANY | IN_OFFICE,
    "messaging.message": IN_COMPANY | IN_OFFICE,
    "messaging.optout": IN_COMPANY | IN_OFFICE,
    "messaging.hold": IN_COMPANY | IN_OFFICE,
    "messaging.liftrequest": IN_COMPANY,
    "messaging.consentevent": IN_COMPANY | {OFFICE_ADMIN},
    "messaging.webhookreceipt": set(),
}
# Rows of the whole company that office people may see all the same.
SHARED_WITH_OFFICES = {"offices.campaign"}

# The addresses: name -> the model whose row it is about.
FOR_EACH_MODEL = ["changelist", "add", "history", "delete", "change"]
ROW_PAGES = {
    "messaging:conversation": "messaging.conversation",
    "messaging:conversation_live": "messaging.conversation",
    "messaging:conversation_older": "messaging.conversation",
    "messaging:conversation_send": "messaging.conversation",
    "messaging:text": "messaging.message",
    "admin:messaging_hold_it_is_an_opt_out": "messaging.hold",
    "admin:messaging_hold_release_it": "messaging.hold",
    "admin:messaging_recipient_record_opt_out": "messaging.recipient",
    "admin:messaging_optout_ask_to_lift": "messaging.optout",
    "admin:messaging_liftrequest_decide_it": "messaging.liftrequest",
    "admin:messaging_webhookreceipt_run_again": "messaging.webhookreceipt",
    "admin:messaging_webhookreceipt_dismiss": "messaging.webhookreceipt",
    "admin:messaging_message_it_was_sent": "messaging.message",
    "admin:messaging_message_it_was_not_sent": "messaging.message",
    "admin:offices_apitoken_revoke": "offices.apitoken",
    "admin:offices_carrieraccount_test_connection": "offices.carrieraccount",
    "admin:offices_carrieraccount_remove_secret": "offices.carrieraccount",
    "admin:offices_number_give_up": "offices.number",
    "admin:offices_number_take_back": "offices.number",
    "admin:auth_user_password_change": "offices.user",
    "admin:offices_office_settings": "offices.office",
    "admin:offices_office_help_message": "offices.office",
    "admin:offices_office_numbers": "offices.office",
    "admin:offices_office_people": "offices.office",
    "admin:offices_membership_new_password": "offices.membership",
    "admin:offices_membership_take_away": "offices.membership",
    "admin:offices_membership_close_login": "offices.membership",
    "admin:offices_membership_reopen_login": "offices.membership",
}
# Bulk decisions: the rows are named by ?id=.
DECIDE_PAGES = {
    "admin:messaging_hold_decide": "messaging.hold",
    "admin:messaging_webhookreceipt_decide": "messaging.webhookreceipt",
    "admin:messaging_message_decide": "messaging.message",
}
# Pages that are about a part of a row.
QUERIES: dict[str, Callable[[Any], str]] = {
    "admin:offices_carrieraccount_remove_secret": lambda account: f"?secret={account.secrets[0]['id']}",
}
PLAIN_PAGES = {
    "messaging:help_check", "messaging:new_conversation", "messaging:check_recipient", "messaging:segments",
    "messaging:simulator", "messaging:simulator_live", "messaging:simulator_send",
    "admin:index", "admin:app_list", "admin:search", "admin:autocomplete", "admin:jsi18n", "admin:view_on_site",
    "admin:messaging_conversation_new_conversation", "admin:messaging_optout_record_opt_out",
    "admin:messaging_optout_download_list", "suppression_list",
}  # fmt: skip
OF_EVERYBODY = {"home", "admin:login", "admin:logout", "admin:password_change", "admin:password_change_done"}
# Not of the admin: they know tokens or signatures, and have tests of their own in tests/messaging/.
OTHERWISE_GUARDED = {
    "webhook", "api:inbound", "api:check", "api:messages", "api:opt_outs", "api:consent_events", "schema", "docs",
    "healthz", "readyz", "metrics",
}  # fmt: skip
WITHOUT_NAME = {"admin/(?P<url>.*)$"}  # the admin's own "no such page"

# Who may change something there, in their own company or office. Whatever is not named changes for nobody but the
# operator; the record and what came in change for nobody at all.
COMPANY = {COMPANY_ADMIN}
OFFICE = {COMPANY_ADMIN, OFFICE_ADMIN}
SENDERS = {COMPANY_ADMIN, OFFICE_ADMIN, AGENT}
MAY_CHANGE: dict[str, set[str]] = {
    "admin:offices_company_change": COMPANY,
    "admin:offices_office_add": COMPANY,
    "admin:offices_office_change": OFFICE,
    "admin:offices_office_help_message": OFFICE,
    "admin:offices_membership_add": OFFICE,
    "admin:offices_membership_change": OFFICE,
    "admin:offices_membership_take_away": OFFICE,
    "admin:offices_membership_new_password": OFFICE,
    "admin:offices_membership_close_login": OFFICE,
    "admin:offices_membership_reopen_login": OFFICE,
    "admin:offices_campaign_add": COMPANY,
    "admin:offices_campaign_change": COMPANY,
    "admin:offices_number_add": COMPANY,
    "admin:offices_number_change": COMPANY,
    "admin:offices_number_give_up": COMPANY,
    "admin:offices_number_take_back": COMPANY,
    "admin:offices_apitoken_add": COMPANY,
    "admin:offices_apitoken_change": COMPANY,
    "admin:offices_apitoken_revoke": COMPANY,
    "admin:messaging_recipient_change": SENDERS,
    "admin:messaging_hold_decide": COMPANY,
    "admin:messaging_optout_ask_to_lift": COMPANY,
    "admin:messaging_liftrequest_decide_it": COMPANY,  # a second one; how it is done: test_lifting.py
    "admin:messaging_message_decide": COMPANY,  # whether an uncertain text left; its words stay
    "messaging:conversation_send": SENDERS,
    "messaging:new_conversation": SENDERS,
}
# What an operator's post must change: else the tests below would prove nothing.
OPERATOR_CHANGES = {
    "admin:offices_company_change", "admin:offices_office_add", "admin:offices_office_change",
    "admin:offices_office_help_message", "admin:offices_membership_change", "admin:offices_membership_take_away",
    "admin:offices_membership_close_login", "admin:offices_campaign_change", "admin:offices_number_change",
    "admin:offices_number_give_up", "admin:offices_apitoken_change", "admin:offices_apitoken_revoke",
    "admin:offices_carrieraccount_change", "admin:offices_carrieraccount_remove_secret",
    "admin:offices_user_change", "admin:messaging_recipient_change",
    "admin:messaging_hold_decide", "admin:messaging_webhookreceipt_decide", "messaging:conversation_send",
    "messaging:new_conversation", "admin:messaging_message_decide",
}  # fmt: skip
NEVER_CHANGED = ["messaging.consentevent", "messaging.optout"]


def model_name(model: type[Model]) -> str:
    return model._meta.label_lower


def known_pages() -> dict[str, str]:
    """name -> model, of the pages that Django's admin makes for each registered model."""
    return {
        f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}": model_name(model)
        for model in admin.site._registry
        for page in FOR_EACH_MODEL
    }


def all_addresses() -> Iterator[tuple[str, str]]:
    """(name with its namespaces or "", pattern) of every address that the resolver knows."""

    def below(resolver: URLResolver, namespace: str, path: str) -> Iterator[tuple[str, str]]:
        for entry in resolver.url_patterns:
            pattern = f"{path}{entry.pattern}"
            if isinstance(entry, URLPattern):
                yield (f"{namespace}{entry.name}" if entry.name else ""), pattern
            else:
                inner = f"{namespace}{entry.namespace}:" if entry.namespace else namespace
                yield from below(entry, inner, pattern)

    yield from below(get_resolver(), "", "")


# The rows


@dataclass
class Place:
    """One office with a row of everything; `company_rows` are those that belong to no office."""

    mark: str
    rows: dict[str, Model] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)


class World:
    """Two offices of one company, an office of another, and somebody in every role."""

    def __init__(self) -> None:
        alpha = CompanyFactory(name=f"{ALPHA} Dental")
        beta = CompanyFactory(name=f"{BETA} Dental")
        self.places: dict[str, Place] = {}
        accounts = {}
        for company, mark in ((alpha, ALPHA), (beta, BETA)):
            account = CarrierAccountFactory(
                company=company,
                name=f"{mark} account",
                carrier="console",
                settings={"x": f"{mark} setting"},
                secrets={"y": f"{mark} secret"},
            )
            accounts[company] = account
            campaign = CampaignFactory(
                company=company, name=f"{mark} campaign", registry_id=f"C{mark[:4]}", description=f"{mark} " * 10
            )
            token = ApiToken(company=company, name=f"{mark} token", scopes=["read"])
            token.renew_secret()
            token.save()
            receipt = WebhookReceipt.objects.create(
                company=company, account=account, carrier="console", body=f"{mark} body".encode(),
                status="not_understood", error=f"{mark} error",
            )  # fmt: skip
            self.places[mark] = Place(
                mark,
                {model_name(type(row)): row for row in (company, account, campaign, token, receipt)},
                [mark],
            )
        self.people: dict[str, User | None] = {STRANGER: None}
        for mark, company, n in ((NORTH, alpha, 1), (SOUTH, alpha, 2), (BETA, beta, 3)):
            self._furnish(mark, company, accounts[company], n)
        self._staff(alpha, beta)

    def _furnish(self, mark: str, company: Company, account: CarrierAccount, n: int) -> None:
        place = self.places.setdefault(mark, Place(mark, {}, [mark]))
        office = OfficeFactory(
            company=company, name=f"{mark} office", main_line=f"+151255501{n}9", email=f"{mark}@example.com"
        )
        number = NumberFactory(office=office, account=account, e164=f"+151255501{n}0", label=f"{mark} desk")
        HelpMessageFactory(office=office, text=f"{mark}: call us. Msg rates apply. Reply STOP to opt out.")
        person = UserFactory(username=f"{mark}-person", first_name=mark, last_name="Person")
        membership = MembershipFactory(user=person, office=office, role=Membership.Role.AGENT)
        bearer_of = bearer(company, "inbound", account=account)
        people = [f"+151255501{n}{m}" for m in range(1, 4)]
        for m, (sender, text) in enumerate(
            [
                (people[0], f"{mark} hello"),
                (people[1], "STOP"),
                (people[2], f"please stop texting me, {mark}"),
            ]
        ):
            sent = {"from": sender, "to": number.e164, "text": text, "message_id": f"{mark}-{m}"}
            assert call("/api/v1/inbound/", sent, token=bearer_of).status_code == 201
        ApiToken.objects.filter(company=company, scopes=["inbound"]).delete()
        conversation = Conversation.objects.get(number=number, recipient__e164=people[0])
        conversation.recipient.name = f"{mark} recipient"
        conversation.recipient.save()
        uncertain = Message.objects.create(
            company=company, conversation=conversation, recipient=conversation.recipient, number=number,
            account=account, direction="out", channel="sms", state="uncertain", text=f"{mark} uncertain",
        )  # fmt: skip
        opt_out = OptOut.objects.get(texted_number=number.e164)
        asked = {"recipient": opt_out.recipient, "company": company, "opt_out": opt_out}
        event = consent.note(opt_out.recipient, opt_out, actor=person, reason=f"{mark} evidence")
        request = LiftRequest.objects.create(
            **asked,
            evidence=f"{mark} evidence",
            requested_by=person,
            requested_at=timezone.now(),
            requested_event=event,
        )
        rows: list[Model] = [
            request, office, number, person, membership, conversation, conversation.recipient, uncertain,
            opt_out, Hold.objects.get(texted_number=number.e164),
            ConsentEvent.objects.get(number_e164=number.e164, kind="opt_out"),
        ]  # fmt: skip
        place.rows |= {model_name(type(row)): row for row in rows}
        for address in (*people, number.e164, office.main_line):
            place.marks += [address, e164.show(address), address[2:], address[1:]]

    def _staff(self, alpha: Company, beta: Company) -> None:
        north, south = self.places[NORTH].rows["offices.office"], self.places[SOUTH].rows["offices.office"]
        roles = Membership.Role
        for who, place in {
            COMPANY_ADMIN: {"company": alpha, "role": roles.COMPANY_ADMIN},
            AUDITOR: {"company": alpha, "role": roles.AUDITOR},
            OFFICE_ADMIN: {"office": north, "role": roles.OFFICE_ADMIN},
            AGENT: {"office": north, "role": roles.AGENT},
            OTHER_OFFICE_ADMIN: {"office": south, "role": roles.OFFICE_ADMIN},
            OTHER_COMPANY_ADMIN: {"company": beta, "role": roles.COMPANY_ADMIN},
        }.items():
            user = UserFactory(username=who.replace(" ", "-"), last_name="Somebody")
            MembershipFactory(user=user, **place)
            self.people[who] = user
        self.people[NOBODY] = UserFactory(username="nobody")
        no_staff = UserFactory(username="no-staff", is_staff=False)
        MembershipFactory(user=no_staff, company=alpha)
        self.people[NO_STAFF] = no_staff
        self.people[OPERATOR] = UserFactory(username="operator", is_superuser=True)

    def client(self, who: str) -> Client:
        client = Client()
        user = self.people[who]
        if user is not None:
            client.force_login(user)
        return client

    def rows(self, model: str) -> list[tuple[str, Model]]:
        return [(mark, place.rows[model]) for mark, place in self.places.items() if model in place.rows]


def sees(who: str, model: str, mark: str) -> bool:
    """Does this role see the row of this model in this place?"""
    if who == OPERATOR:
        return True
    if who in (COMPANY_ADMIN, AUDITOR):
        return mark != BETA and who in SEEN_BY[model]
    if who == OTHER_COMPANY_ADMIN:
        return mark == BETA and COMPANY_ADMIN in SEEN_BY[model]
    own = {OFFICE_ADMIN: NORTH, AGENT: NORTH, OTHER_OFFICE_ADMIN: SOUTH}.get(who)
    in_role = OFFICE_ADMIN if who == OTHER_OFFICE_ADMIN else who
    return in_role in SEEN_BY[model] and (mark == own or (mark == ALPHA and model in SHARED_WITH_OFFICES))


def may_change(who: str, name: str, model: str, mark: str) -> bool:
    if who == OPERATOR:
        return model not in NEVER_CHANGED
    in_role = {OTHER_OFFICE_ADMIN: OFFICE_ADMIN, OTHER_COMPANY_ADMIN: COMPANY_ADMIN}.get(who, who)
    return in_role in MAY_CHANGE.get(name, ()) and (not mark or sees(who, model, mark))


def hidden_marks(world: World, who: str) -> list[str]:
    """What this role must read nowhere."""
    hidden = {
        OPERATOR: [],
        COMPANY_ADMIN: [BETA],
        AUDITOR: [BETA],
        OFFICE_ADMIN: [SOUTH, BETA],
        AGENT: [SOUTH, BETA],
        OTHER_OFFICE_ADMIN: [NORTH, BETA],
        OTHER_COMPANY_ADMIN: [NORTH, SOUTH, ALPHA],
    }.get(who, [NORTH, SOUTH, ALPHA, BETA])
    return [mark for place in hidden for mark in world.places[place].marks]


@pytest.fixture(autouse=True)
def _quick(settings):
    """Nobody has run collectstatic for the tests, and nobody attacks their passwords."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture
def world():
    return World()


def row_addresses(world: World) -> Iterator[tuple[str, str, str, str]]:
    """(name, model, mark, address) of every page about one row, for every row."""
    single = {name: model for name, model in known_pages().items() if not name.endswith(("_changelist", "_add"))}
    for name, model in {**single, **ROW_PAGES}.items():
        for mark, row in world.rows(model):
            named = QUERIES[name](row) if name in QUERIES else ""
            yield name, model, mark, reverse(name, args=[row.pk]) + named
    for name, model in DECIDE_PAGES.items():
        for decision in admin.site._registry[apps.get_model(model)].decisions:  # type: ignore[attr-defined]
            for mark, row in world.rows(model):
                yield name, model, mark, f"{reverse(name, args=[decision.slug])}?id={row.pk}"


def list_addresses() -> Iterator[tuple[str, str, str]]:
    """(name, model, address) of the lists and forms for new rows."""
    for name, model in known_pages().items():
        if name.endswith(("_changelist", "_add")):
            yield name, model, reverse(name)


def assert_shows_nothing_hidden(answer: Any, hidden: list[str], where: str) -> None:
    said = (answer.getvalue() if answer.streaming else answer.content).decode()
    found = [mark for mark in hidden if mark in said]
    assert not found, f"{where} shows {found[0]}: …{said[max(0, said.index(found[0]) - 200) :][:300]}…"


# Is the walk complete?


def test_every_address_is_classified():
    known = {*known_pages(), *ROW_PAGES, *DECIDE_PAGES, *PLAIN_PAGES, *OF_EVERYBODY, *OTHERWISE_GUARDED}
    unknown = [
        (name, pattern)
        for name, pattern in all_addresses()
        if name not in known and pattern not in WITHOUT_NAME and not (not name and "<path:object_id>" in pattern)
    ]

    assert not unknown, f"say in tests/test_permissions.py whose these are: {unknown}"


def test_no_classified_address_is_gone():
    served = {name for name, _ in all_addresses()}
    assert not {*ROW_PAGES, *DECIDE_PAGES, *PLAIN_PAGES, *OF_EVERYBODY} - served
    assert {model_name(model) for model in admin.site._registry} == set(SEEN_BY)


def test_every_model_with_a_company_is_walked_in_every_place(world):
    for model in admin.site._registry:
        assert {mark for mark, _ in world.rows(model_name(model))} >= {BETA}, model
    assert set(MAY_CHANGE) | OPERATOR_CHANGES <= {*known_pages(), *ROW_PAGES, *DECIDE_PAGES, *PLAIN_PAGES}


# Reading


@pytest.mark.parametrize("who", ROLES)
def test_a_rows_page_is_shown_to_those_who_see_the_row_and_to_nobody_else(world, who):
    client, hidden = world.client(who), hidden_marks(world, who)
    shown = 0
    for name, model, mark, address in row_addresses(world):
        answer = client.get(address)
        where = f"{address} ({name}, {mark}) for {who}"
        assert answer.status_code in (200, 302, 403, 404, 405), where
        if who in (STRANGER, NOBODY, NO_STAFF):
            assert answer.status_code != 200, where
        if who == STRANGER:
            assert answer.status_code == 302, where
            assert answer["Location"].startswith(reverse("admin:login")), where
        if answer.status_code == 200:
            shown += 1
            assert sees(who, model, mark), f"{where} is shown"
            assert_shows_nothing_hidden(answer, hidden, where)
        elif name.endswith("_change") and model != "messaging.conversation":
            assert not sees(who, model, mark), f"{where} is answered {answer.status_code}"
    assert (shown > 10) == (who not in (STRANGER, NOBODY, NO_STAFF))


@pytest.mark.parametrize("who", ROLES)
def test_lists_searches_and_forms_name_nothing_of_others(world, who):
    client, hidden = world.client(who), hidden_marks(world, who)
    shown = []
    for name, model, address in list_addresses():
        queries = [""]
        if name.endswith("_changelist"):
            queries += [urlencode({"q": mark[1:-1]}) for mark in (NORTH, SOUTH, BETA)]
            queries += ["q=5550131", "q=5550121", "_facets=True", "all=", "_popup=1"]
        for query in queries:
            where = f"{address}?{query} for {who}"
            answer = client.get(f"{address}?{query}")
            assert answer.status_code in (200, 302, 403), where
            if answer.status_code == 200:
                shown.append(name)
                assert who in (OPERATOR, COMPANY_ADMIN, AUDITOR, OFFICE_ADMIN, AGENT, OTHER_OFFICE_ADMIN,
                               OTHER_COMPANY_ADMIN), where  # fmt: skip
                assert_shows_nothing_hidden(answer, hidden, where)
            elif name.endswith("_changelist") and not query:
                assert not any(sees(who, model, mark) for mark in world.places), where
    if who in (COMPANY_ADMIN, AUDITOR, OFFICE_ADMIN):
        assert "admin:offices_number_changelist" in shown
    for name in shown:
        if name.endswith("_add"):
            assert may_change(who, name, known_pages()[name], ""), f"{name} offers {who} a form"


@pytest.mark.parametrize("who", [COMPANY_ADMIN, OFFICE_ADMIN, AGENT, AUDITOR, OTHER_COMPANY_ADMIN])
def test_no_filter_in_an_address_answers_for_others(world, who):
    """A filter by another company's row neither names it nor lets its rows through."""
    client, hidden = world.client(who), hidden_marks(world, who)
    for model in admin.site._registry:
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for column in model._meta.get_fields():
            if not isinstance(column, ForeignKey):
                continue
            related = model_name(column.remote_field.model)
            for mark in (SOUTH, BETA, ALPHA):
                row = world.places[mark].rows.get(related)
                if row is None:
                    continue
                for lookup in (column.name, f"{column.name}__id__exact"):
                    answer = client.get(address, {lookup: row.pk})
                    assert answer.status_code in (200, 302, 400, 403)
                    if answer.status_code == 200:
                        assert_shows_nothing_hidden(answer, hidden, f"{address}?{lookup}={mark} for {who}")


SECRETS = {
    "offices.carrieraccount": [
        "settings__x__startswith",
        "settings__contains",
        "secrets__0__sealed__startswith",
        "public_id__startswith",
    ],
    "offices.apitoken": ["digest__startswith", "digest"],
    "offices.membership": ["user__password__startswith", "user__last_login__isnull"],
    "offices.number": ["account__secrets__0__sealed__startswith", "company__api_tokens__digest__startswith"],
    "offices.user": ["password__startswith"],
    "messaging.message": ["account__secrets__0__sealed__startswith", "company__name__startswith"],
}


@pytest.mark.parametrize("who", [COMPANY_ADMIN, AUDITOR, OFFICE_ADMIN])
def test_no_address_filters_by_a_secret_letter_by_letter(world, who):
    client = world.client(who)
    for model, lookups in SECRETS.items():
        for lookup in lookups:
            answer = client.get(reverse(f"admin:{model.replace('.', '_')}_changelist"), {lookup: "a"})
            assert answer.status_code in (302, 400, 403), f"{model}: {lookup} for {who}"


@pytest.mark.parametrize("who", ROLES)
def test_autocomplete_names_nothing_of_others(world, who):
    client, hidden = world.client(who), hidden_marks(world, who)
    answered = 0
    for model in apps.get_models():
        for column in model._meta.get_fields():
            if not isinstance(column, ForeignKey) or column.remote_field.model not in admin.site._registry:
                continue
            for term in ("", "mark", "+1512", "512555"):
                query = {"app_label": model._meta.app_label, "model_name": model._meta.model_name,
                         "field_name": column.name, "term": term}  # fmt: skip
                answer = client.get(reverse("admin:autocomplete"), query)
                assert answer.status_code in (200, 302, 403, 404)
                if answer.status_code == 200:
                    answered += 1
                    assert_shows_nothing_hidden(answer, hidden, f"autocomplete {query} for {who}")
    if who in (STRANGER, NOBODY, NO_STAFF):
        assert not answered
    if who == OPERATOR:
        assert answered


@pytest.mark.parametrize("who", ROLES)
def test_pages_about_no_row_name_nothing_of_others(world, who):
    # What is typed into a page may stand on it again.
    hidden = [mark for mark in hidden_marks(world, who) if not mark.replace("-", "").endswith("5550131")]
    client = world.client(who)
    number, office = (world.places[BETA].rows[f"offices.{name}"] for name in ("number", "office"))
    arguments = {"admin:app_list": ["offices"], "admin:view_on_site": [1, 1]}
    asked = {"number": number.pk, "office": office.pk, "to": "+15125550131", "text": "x", "q": "mark", "s": "mark"}
    for name in PLAIN_PAGES - {"admin:autocomplete"}:
        address = reverse(name, args=arguments.get(name, []))
        for answer in (client.get(address), client.get(address, asked), client.post(address, asked)):
            where = f"{address} for {who}"
            assert answer.status_code in (200, 302, 400, 403, 404, 405, 422), where
            if who == STRANGER and name != "admin:jsi18n" and answer.status_code not in (403, 405):
                assert answer.status_code == 302, where
            if who in (NOBODY, NO_STAFF, STRANGER) and name == "messaging:help_check":
                assert answer.status_code in (403, 404, 405), where
            if answer.status_code == 200:
                assert_shows_nothing_hidden(answer, hidden, where)


def test_strangers_reach_the_login_and_nothing_else(world):
    client = world.client(STRANGER)

    for name in OF_EVERYBODY - {"admin:login"}:
        assert client.get(reverse(name)).status_code in (302, 405), name
    page = client.get(reverse("admin:login"))
    assert page.status_code == 200
    assert_shows_nothing_hidden(page, hidden_marks(world, STRANGER), "the login page")


# Changing


class Forms(HTMLParser):
    """The fields of every form on a page that is posted, as a browser would send them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: list[tuple[str, str]] = []
        self.posting = False
        self.select: str | None = None
        self.textarea: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            action = given.get("action") or ""
            self.posting = (given.get("method") or "").lower() == "post" and "logout" not in action
        if not self.posting:
            return
        name = given.get("name") or ""
        if tag == "input" and name and name != "csrfmiddlewaretoken":
            kind = given.get("type", "text")
            if kind in ("checkbox", "radio") and "checked" not in given:
                return
            if kind not in ("submit", "button", "file"):
                self.fields.append((name, given.get("value") or ""))
        elif tag == "select":
            self.select = name
        elif tag == "option" and self.select and "selected" in given:
            self.fields.append((self.select, given.get("value") or ""))
        elif tag == "textarea" and name:
            self.textarea = name
            self.fields.append((name, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.posting = False
        if tag == "select":
            self.select = None
        if tag == "textarea":
            self.textarea = None

    def handle_data(self, data: str) -> None:
        if self.textarea:
            name, value = self.fields[-1]
            self.fields[-1] = (name, (value + data).lstrip("\n"))


@contextmanager
def writes_noted() -> Iterator[list[str]]:
    """The tables written to meanwhile, without those of sessions and of when a token was last used."""
    noted: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        words = sql.split()
        if words and words[0] in ("INSERT", "UPDATE", "DELETE"):
            table = words[2 if words[0] != "UPDATE" else 1].strip('"')
            if table not in ("django_session", "django_admin_log"):
                noted.append(table)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield noted


def snapshot() -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of ours."""
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values_list())
        for model in apps.get_models()
        if model._meta.app_label in ("offices", "messaging")
    }


def posts(world: World) -> list[tuple[str, str, str, str, dict[str, Any]]]:
    """(name, model, mark, address, data): what would change something, taken from the operator's own forms."""
    operator = world.client(OPERATOR)
    found = []
    addresses = list(row_addresses(world)) + [(name, model, "", address) for name, model, address in list_addresses()]
    addresses += [
        (name, "messaging.conversation", BETA, reverse(name))
        for name in ("messaging:new_conversation", "messaging:simulator_send")
    ]
    beta = world.places[BETA].rows
    for name, model, mark, address in addresses:
        page = operator.get(address, follow=True)
        if page.redirect_chain and "decide" in page.redirect_chain[-1][0]:
            address = page.redirect_chain[-1][0]  # a row's button leads to the question
            name = DECIDE_NAME[model]
        data: dict[str, Any] = {}
        for key, value in Forms(page.content.decode()).fields if page.status_code == 200 else []:
            data.setdefault(key, []).append(value)
        data |= WORDS.get(name, {})
        if name == "messaging:new_conversation":
            data["number"] = beta["offices.number"].pk
        if name == "admin:offices_office_help_message":
            data["text"] = HELP.format(world.places[mark].rows["offices.office"])
        if name.endswith("_delete"):
            data = {"post": "yes"}
        if name.endswith("_changelist"):
            ids = [row.pk for _, row in world.rows(model)]
            data = {"action": "delete_selected", "_selected_action": ids, "post": "yes"}
        if name.endswith("_add"):
            data |= new_row(world, name)
        found.append((name, model, mark, address, data))
    return found


DECIDE_NAME = {model: name for name, model in DECIDE_PAGES.items()}
WORDS: dict[str, dict[str, Any]] = {
    "messaging:conversation_send": {"text": "Hello there"},
    "messaging:new_conversation": {"to": "+15125550177", "text": "Hello there"},
    "admin:messaging_hold_decide": {"reason": "It reads like one."},
    "admin:messaging_webhookreceipt_decide": {"reason": "Seen."},
    "admin:messaging_message_decide": {"reason": "Seen at the carrier."},
    "admin:messaging_optout_ask_to_lift": {"evidence": "Signed on paper, and kept in a binder."},
    "admin:messaging_liftrequest_decide_it": {"decision": "approved", "note": "Seen."},
    "admin:messaging_recipient_change": {"name": "Changed"},
    "admin:offices_company_change": {"confirmation_text": "You get no more texts from us."},
    "admin:offices_office_change": {"name": "Changed"},
    "admin:offices_number_change": {"label": "Changed"},
    "admin:offices_campaign_change": {"use_case": "Changed"},
    "admin:offices_apitoken_change": {"name": "Changed"},
    "admin:offices_carrieraccount_change": {"name": "Changed"},
    "admin:offices_user_change": {"first_name": "Changed"},
    "admin:auth_user_password_change": {"password1": "correct horse battery", "password2": "correct horse battery"},
}


HELP = "{0}: call +1 512-555-0199. Msg and data rates may apply. Reply STOP to opt out. Thank you."


def new_row(world: World, name: str) -> dict[str, Any]:
    """What makes a new row in the other company's office; for somebody of that company it would be fine."""
    beta = world.places[BETA].rows
    company, office, account = (beta[f"offices.{one}"].pk for one in ("company", "office", "carrieraccount"))
    return {
        "admin:offices_office_add": {"company": company, "name": "New", "main_line": "+15125550155", "is_active": "on"},
        "admin:offices_membership_add": {
            "company": company, "office": office, "role": "agent", "email": "new@example.com", "first_name": "New",
            "last_name": "Person", "password": "correct horse battery staple",
        },
        "admin:offices_number_add": {
            "company": company, "office": office, "account": account, "e164": "+15125550156", "label": "New",
        },
        "admin:offices_campaign_add": {"company": company, "name": "New", "status": "draft"},
        "admin:offices_apitoken_add": {"company": company, "name": "New", "scopes": ["read"]},
        "admin:offices_carrieraccount_add": {"company": company, "name": "New", "carrier": "console"},
        "admin:offices_company_add": {"name": "New", "reading": "exact"},
    }.get(name, {})  # fmt: skip


@contextmanager
def taken_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_the_operators_posts_change_what_they_are_meant_to(world):
    """Guards the tests below: the same posts by others must be refused, not be wrong."""
    changed = set()
    for name, _, _, address, data in posts(world):
        # A new session for each: some pages renew it, and what they renewed is taken back.
        client = world.client(OPERATOR)
        with taken_back(), writes_noted() as written:
            client.post(address, data)
        if written:
            changed.add(name)

    assert changed >= OPERATOR_CHANGES, OPERATOR_CHANGES - changed


def test_nobody_changes_a_row_that_is_not_theirs_to_change(world):
    to_post = posts(world)
    for who in [one for one in ROLES if one != OPERATOR]:
        client, refused = world.client(who), 0
        before = snapshot()
        for name, model, mark, address, data in to_post:
            theirs = OTHER_COMPANY_ADMIN if name.endswith("_add") else who
            if who == theirs and may_change(who, name, model, mark):
                continue
            where = f"{address} ({name}, {mark}) by {who}"
            held = rows_of_beta(model)
            with taken_back(), writes_noted() as written:
                answer = client.post(address, data)
                # A form for a new row knows one company to its user, and ignores what is posted of another.
                in_own = name.endswith("_add") and may_change(who, name, model, "")
                assert not written or (in_own and rows_of_beta(model) == held), f"{where} wrote to {written}"
            assert answer.status_code in (200, 302, 400, 403, 404, 405, 422), where
            if who == STRANGER and answer.status_code == 302:
                assert answer["Location"].startswith(reverse("admin:login")), where
            refused += 1
        assert refused > 100
        assert snapshot() == before, f"{who} changed something"


def rows_of_beta(model: str) -> int:
    kind: Any = apps.get_model(model)
    return (
        kind._default_manager.filter(**{f"{kind.company_lookup}__name__startswith": BETA}).count()
        if (kind is not Company)
        else Company.objects.count()
    )


def test_a_new_row_in_another_company_is_made_for_its_own_admin_alone(world):
    """Control of the test above: what others cannot make there, its own admin can."""
    client = world.client(OTHER_COMPANY_ADMIN)
    made = set()
    for name, _, _, address, data in posts(world):
        if name.endswith("_add"):
            with taken_back(), writes_noted() as written:
                client.post(address, data)
            if written:
                made.add(name)

    assert made >= {"admin:offices_office_add", "admin:offices_number_add", "admin:offices_apitoken_add"}


@pytest.mark.parametrize("who", [OPERATOR, COMPANY_ADMIN, OTHER_COMPANY_ADMIN])
@pytest.mark.parametrize("model", NEVER_CHANGED)
def test_the_record_is_added_to_changed_and_deleted_by_nobody(world, who, model):
    client = world.client(who)
    prefix = f"admin:{model.replace('.', '_')}"
    rows = [row for _, row in world.rows(model)]
    addresses = [reverse(f"{prefix}_add")]
    addresses += [reverse(f"{prefix}_{page}", args=[row.pk]) for row in rows for page in ("change", "delete")]
    data = {"kind": "opt_in", "source": "person", "received_text": "START", "post": "yes", "_save": "Save"}
    with writes_noted() as written:
        for address in addresses:
            assert client.post(address, data).status_code in (302, 403, 404)
        selected = {"action": "delete_selected", "_selected_action": [row.pk for row in rows], "post": "yes"}
        client.post(reverse(f"{prefix}_changelist"), selected)

    assert not written
    for row in rows:
        page = client.get(reverse(f"{prefix}_change", args=[row.pk])).content.decode()
        assert 'name="_save"' not in page


@pytest.mark.parametrize("who", [AUDITOR])
def test_an_auditor_is_offered_nothing_to_save(world, who):
    client = world.client(who)
    for name, _, _, address in row_addresses(world):
        answer = client.get(address)
        if answer.status_code == 200:
            page = answer.content.decode()
            for button in ('name="_save"', 'name="_continue"', 'name="_addanother"', 'name="_canned"'):
                assert button not in page, f"{address} ({name}) offers {button}"


# Rights that grow: nobody makes themselves more than they are


@pytest.mark.parametrize(("who", "role"), [(OFFICE_ADMIN, "company_admin"), (OFFICE_ADMIN, "auditor")])
def test_an_office_admin_hands_out_no_role_of_the_whole_company(world, who, role):
    client, north = world.client(who), world.places[NORTH].rows
    place = Membership.objects.get(user=world.people[who])
    other = north["offices.membership"]
    company = north["offices.office"].company_id
    before = list(Membership.objects.order_by("pk").values())
    for membership in (place, other):
        for office in ("", north["offices.office"].pk):
            data = {"role": role, "office": office, "company": company}
            client.post(reverse("admin:offices_membership_change", args=[membership.pk]), data)
    data = {"role": role, "office": "", "company": company, "email": "new@example.com", "first_name": "A",
            "last_name": "B", "password": "correct horse battery staple"}  # fmt: skip
    client.post(reverse("admin:offices_membership_add"), data)

    assert list(Membership.objects.order_by("pk").values()) == before


@pytest.mark.parametrize("who", [OFFICE_ADMIN, COMPANY_ADMIN])
def test_nobody_moves_a_row_to_where_they_have_no_say(world, who):
    client = world.client(who)
    beta, south, north = (world.places[mark].rows for mark in (BETA, SOUTH, NORTH))
    target = beta if who == COMPANY_ADMIN else south
    membership, number = north["offices.membership"], north["offices.number"]
    company, office = target["offices.office"].company_id, target["offices.office"].pk

    client.post(
        reverse("admin:offices_membership_change", args=[membership.pk]),
        {"role": "agent", "office": office, "company": company},
    )
    client.post(
        reverse("admin:offices_number_change", args=[number.pk]),
        {"office": office, "company": company, "account": beta["offices.carrieraccount"].pk, "label": "x"},
    )

    membership.refresh_from_db()
    number.refresh_from_db()
    assert membership.office_id == north["offices.office"].pk
    assert (number.office_id, number.company_id) == (north["offices.office"].pk, north["offices.office"].company_id)


def test_becoming_operator_is_in_no_form_but_the_operators(world):
    for who in (COMPANY_ADMIN, OFFICE_ADMIN, AUDITOR, AGENT, OTHER_COMPANY_ADMIN):
        client, user = world.client(who), world.people[who]
        data = {"is_superuser": "on", "is_staff": "on", "username": user.username, "groups": [], "is_active": "on"}
        client.post(reverse("admin:offices_user_change", args=[user.pk]), data)
        client.post(reverse("admin:offices_user_add"), data)
        user.refresh_from_db()
        assert not user.is_superuser
    assert User.objects.filter(is_superuser=True).count() == 1


def test_a_closed_login_is_out_at_once(world):
    client = world.client(COMPANY_ADMIN)
    assert client.get(reverse("admin:index")).status_code == 200

    User.objects.filter(pk=world.people[COMPANY_ADMIN].pk).update(is_active=False)

    assert client.get(reverse("admin:index")).status_code == 302
    assert client.get(reverse("admin:offices_office_changelist")).status_code == 302


def test_a_place_that_is_taken_away_is_gone_at_once(world):
    client, office = world.client(OFFICE_ADMIN), world.places[NORTH].rows["offices.office"]
    settings_page = reverse("admin:offices_office_settings", args=[office.pk])
    assert client.get(settings_page).status_code == 200

    Membership.objects.filter(user=world.people[OFFICE_ADMIN]).delete()

    assert client.get(settings_page).status_code in (302, 403, 404)


def test_two_places_of_one_person_do_not_add_up(world):
    """An office admin in one company who is an agent in another is no admin there."""
    user = world.people[OFFICE_ADMIN]
    beta_office = world.places[BETA].rows["offices.office"]
    MembershipFactory(user=user, office=beta_office, role=Membership.Role.AGENT)
    client = world.client(OFFICE_ADMIN)
    before = snapshot()

    assert client.get(reverse("admin:offices_office_settings", args=[beta_office.pk])).status_code == 200
    for page in ("help_message", "change"):
        client.post(reverse(f"admin:offices_office_{page}", args=[beta_office.pk]), {"text": "x", "name": "x"})
    client.post(
        reverse("admin:offices_membership_close_login", args=[world.places[BETA].rows["offices.membership"].pk])
    )
    assert client.get(reverse("admin:offices_membership_changelist")).status_code == 200
    assert "Betamark Person" not in client.get(reverse("admin:offices_membership_changelist")).content.decode()
    assert snapshot() == before


def test_the_numbers_of_this_walk_are_distinct(world):
    assert Number.objects.count() == Office.objects.count() == 3
    assert Company.objects.count() == 2
