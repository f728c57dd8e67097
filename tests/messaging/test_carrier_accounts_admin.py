"""Carrier accounts in the admin: entered as each adapter asks, secrets that never come back, and how each one fares."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from messaging.carriers.registry import CARRIERS
from messaging.models import CarrierHealth
from offices.models import CarrierAccount
from tests.factories import CarrierAccountFactory, CompanyFactory, NumberFactory, OfficeFactory, UserFactory
from tests.messaging.pages import shown
from tests.offices.places import Role, address, as_role, hidden_fields, logged_in, operator

pytestmark = pytest.mark.django_db

SID = "AC" + "0" * 32
TOKEN = "the-first-auth-token"


@pytest.fixture(autouse=True)
def _pages(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    settings.PUBLIC_URL = "https://portal.example"


@pytest.fixture
def company():
    return CompanyFactory(name="Acme Dental")


@pytest.fixture
def account(company):
    return CarrierAccountFactory(
        company=company, name="Main", carrier="twilio", settings={"account_sid": SID}, secrets={"auth_token": TOKEN}
    )


def errors(response):
    return response.context["adminform"].form.errors


def add(client, company, **fields):
    posted = {"company": company.pk, "name": "Main", "carrier": "twilio", "is_active": "on", **fields}
    return client.post(address("carrieraccount_add"), posted)


def page_of(client, account):
    return client.get(address("carrieraccount_change", account.pk))


def save(client, account, **fields):
    own = {f"at_carrier__{name}": value for name, value in account.settings.items()}
    posted = {
        "name": account.name, "is_active": "on", "stop_answered_by": account.stop_answered_by,
        "help_answered_by": account.help_answered_by, "segments_per_minute": account.segments_per_minute or "",
        **own, **fields,
    }  # fmt: skip
    response = client.post(address("carrieraccount_change", account.pk), posted)
    account.refresh_from_db()
    return response


def fares(account, **state):
    CarrierHealth.note(account, **state)
    return account


def example(setting):
    """Something that the setting takes."""
    uuid = "0" * 8 + "-0000-0000-0000-" + "0" * 12
    tried = [SID, "x" * 40, "abcd1234", uuid, "MA" + "X" * 18, "KEY123", "A" * 43 + "=", "123", "us-east-1",
             "https://x.api.infobip.com", "https://gateway.example", "AKIA" + "A" * 16,
             "arn:aws:sns:us-east-1:000000000000:texts"]  # fmt: skip
    if setting.choices:
        return setting.choices[-1][0]
    fits = [one for one in tried if re.fullmatch(setting.pattern or ".*", one)]
    assert fits, f"give an example of {setting.name}"
    return fits[0]


# Entering one -------------------------------------------------------------------------------------------------------


def test_an_operator_adds_an_account_and_lands_where_it_says_how_to_connect_it(company):
    client = operator()

    response = add(client, company, twilio__account_sid=f" {SID} ", twilio__auth_token=f"{TOKEN}\n")

    account = CarrierAccount.objects.get()
    assert response["Location"] == address("carrieraccount_change", account.pk)
    assert account.settings == {"account_sid": SID}
    assert account.credentials.all("auth_token") == (TOKEN,)
    page = shown(page_of(client, account))
    webhook = f"https://portal.example/webhooks/twilio/{account.public_id}/"
    assert f'value="{webhook}"' in page
    assert f"<code>{webhook}</code>" in page
    assert "{webhook}" not in page


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_the_form_for_a_new_account_asks_for_all_that_each_adapter_names(carrier, company):
    form = operator().get(address("carrieraccount_add")).context["adminform"].form

    for setting in CARRIERS[carrier].SETTINGS:
        field = form.fields[f"{carrier}__{setting.name}"]
        assert (field.label, field.required) == (setting.label, setting.required)
        assert (field.widget.input_type == "password") == setting.secret
    wanted = {f"{carrier}__{setting.name}" for setting in CARRIERS[carrier].SETTINGS if setting.required}
    response = add(operator(), company, carrier=carrier)
    assert set(errors(response) if wanted else ()) == wanted
    assert CarrierAccount.objects.exists() == (not wanted)


def test_what_is_missing_or_wrong_is_said_with_where_to_find_it(company):
    found = errors(add(operator(), company, twilio__account_sid="AC123"))

    assert found["twilio__account_sid"] == [
        "That does not look like the account SID. What is written below says how it looks."
    ]
    assert found["twilio__auth_token"][0].startswith("Twilio needs the auth token. ")
    assert not CarrierAccount.objects.exists()


def test_what_was_typed_for_another_carrier_is_neither_checked_nor_kept(company):
    add(
        operator(), company, carrier="generic", twilio__account_sid="AC123", twilio__auth_token="x",
        generic__send_url="https://gateway.example/texts",
    )  # fmt: skip

    account = CarrierAccount.objects.get()
    assert account.settings == {"send_url": "https://gateway.example/texts"}
    assert account.secrets == []


def test_a_secret_does_not_come_back_with_a_page_that_was_refused(company):
    response = add(operator(), company, twilio__account_sid="AC123", twilio__auth_token=TOKEN)

    assert TOKEN not in shown(response)
    assert 'placeholder="Type it once more"' in shown(response)


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_who_answers_stop_begins_as_the_carrier_does_and_help_is_ours(carrier, company):
    wanted = [setting for setting in CARRIERS[carrier].SETTINGS if setting.required]
    given = {f"{carrier}__{setting.name}": example(setting) for setting in wanted}

    response = add(operator(), company, carrier=carrier, **given)

    assert response.status_code == 302, errors(response)
    account = CarrierAccount.objects.get()
    assert account.answers("STOP") == CARRIERS[carrier].ANSWERS_STOP
    assert not account.answers("HELP")


# Secrets ------------------------------------------------------------------------------------------------------------


def test_a_typed_secret_is_added_the_old_one_stays_and_an_empty_field_changes_nothing(account):
    user = UserFactory(is_superuser=True, first_name="Robin", last_name="Doe")
    client = logged_in(user)
    account.settings["api_base"] = "https://example.com"
    account.save()

    save(client, account, at_carrier__auth_token="", name="Renamed")
    assert account.credentials.all("auth_token") == (TOKEN,)
    assert (account.name, account.settings["api_base"]) == ("Renamed", "https://example.com")

    save(client, account, at_carrier__auth_token="the-second")
    assert account.credentials.all("auth_token") == ("the-second", TOKEN)
    page = shown(page_of(client, account))
    assert page.count("Newest: the portal uses it") == 1
    assert "by Robin Doe" in page
    assert "the-second" not in page
    assert TOKEN not in page


def test_the_same_secret_is_not_kept_twice(account):
    response = save(operator(), account, at_carrier__auth_token=TOKEN)

    assert errors(response)["at_carrier__auth_token"] == ["That one is kept already."]
    assert len(account.secrets) == 1


def test_a_secret_is_removed_after_a_question_and_only_by_posting(account):
    client = operator()
    account.add_secret("auth_token", "the-second")
    newest, first = account.kept_secrets("auth_token")
    page = address("carrieraccount_remove_secret", account.pk)

    asked = shown(client.get(page, {"secret": newest.id}))
    account.refresh_from_db()
    assert "stays in use" in asked
    assert len(account.secrets) == 2

    client.post(f"{page}?secret={newest.id}")
    account.refresh_from_db()
    assert account.credentials.all("auth_token") == (TOKEN,)
    assert "webhooks that need it are refused" in shown(client.get(page, {"secret": first.id}))
    # Twice, and one that never was: said, and harmless.
    for secret in (newest.id, "nothing", ""):
        assert client.post(f"{page}?secret={secret}").status_code == 302
    account.refresh_from_db()
    assert len(account.secrets) == 1


def test_one_that_cannot_be_read_any_more_says_so_and_can_be_entered_anew(account, settings):
    settings.SECRET_KEY = "another-key"
    client = operator()

    page = shown(page_of(client, account))
    assert "Unreadable" in page
    assert "no longer known" in page
    assert "Newest: the portal uses it" not in page

    save(client, account, at_carrier__auth_token="anew")
    assert account.credentials.all("auth_token") == ("anew",)
    assert shown(page_of(client, account)).count("Newest: the portal uses it") == 1


def test_no_page_history_or_log_ever_holds_a_secret(company, caplog):
    client = operator()
    add(client, company, twilio__account_sid=SID, twilio__auth_token=TOKEN, twilio__shared_key="a-shared-key")
    account = CarrierAccount.objects.get()
    save(client, account, at_carrier__auth_token="the-second")
    newest = account.kept_secrets("auth_token")[0]
    client.post(f"{address('carrieraccount_remove_secret', account.pk)}?secret={newest.id}")
    client.post(address("carrieraccount_test_connection", account.pk))

    pages = [
        client.get(address("carrieraccount_changelist")), page_of(client, account),
        client.get(address("carrieraccount_history", account.pk)),
        client.get(address("carrieraccount_remove_secret", account.pk), {"secret": account.secrets[0]["id"]}),
    ]  # fmt: skip
    said = [shown(page) for page in pages if page.status_code == 200]
    assert len(said) == 4
    said += [json.dumps([entry.change_message, entry.object_repr]) for entry in LogEntry.objects.all()]
    said.append(caplog.text)
    for secret in (TOKEN, "the-second", "a-shared-key"):
        assert not [words for words in said if secret in words]
    # The history says what was done all the same.
    messages = " ".join(LogEntry.objects.values_list("change_message", flat=True))
    assert "Auth token" in messages
    assert "Removed: Auth token" in messages


@pytest.mark.django_db(transaction=True)
def test_of_two_admins_who_enter_one_at_the_same_time_neither_loses_theirs(account):
    clients = [operator(), operator()]
    both = threading.Barrier(2)

    def enter(n):
        both.wait()
        try:
            for turn in range(4):
                posted = {
                    "name": f"Main {n}", "is_active": "on", "stop_answered_by": "portal",
                    "help_answered_by": "portal", "at_carrier__account_sid": SID,
                    "at_carrier__auth_token": f"{n}-{turn}",
                }  # fmt: skip
                assert clients[n].post(address("carrieraccount_change", account.pk), posted).status_code == 302
        finally:
            connections.close_all()

    threads = [threading.Thread(target=enter, args=[n]) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    account.refresh_from_db()
    assert set(account.credentials.all("auth_token")) == {
        TOKEN,
        *(f"{n}-{turn}" for n in range(2) for turn in range(4)),
    }


# Testing the connection ---------------------------------------------------------------------------------------------


class Gateway(BaseHTTPRequestHandler):
    asked: list[tuple[str, str]]
    status = 200

    def do_GET(self):
        type(self).asked.append((self.path, self.headers.get("Authorization", "")))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def gateway():
    handler = type("Asked", (Gateway,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    handler.address = f"http://127.0.0.1:{server.server_port}/texts"
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_button_asks_the_carrier_with_the_newest_secret_and_says_what_it_answered(company, gateway):
    account = CarrierAccountFactory(
        company=company, carrier="generic", settings={"send_url": gateway.address}, secrets={"send_token": "old"}
    )
    account.add_secret("send_token", "new")
    client = operator()

    page = shown(client.post(address("carrieraccount_test_connection", account.pk), follow=True))

    assert gateway.asked == [("/texts", "Bearer new")]
    assert "The gateway answers" in page
    assert "No genuine webhook has come yet" in page

    gateway.status = 401
    fares(account, last_genuine_at=datetime(2026, 11, 3, 19, 15, tzinfo=UTC))
    page = shown(client.post(address("carrieraccount_test_connection", account.pk), follow=True))
    assert "enter the token that it wants" in page
    assert "The last genuine webhook came on Nov 3, 2026, 2:15 PM EST." in page


def test_following_a_link_asks_nobody(company, gateway):
    account = CarrierAccountFactory(company=company, carrier="generic", settings={"send_url": gateway.address})
    client = operator()

    assert client.get(address("carrieraccount_test_connection", account.pk)).status_code == 405
    assert client.head(address("carrieraccount_test_connection", account.pk)).status_code == 405
    page_of(client, account)
    assert gateway.asked == []


@pytest.mark.parametrize("role", [Role.COMPANY_ADMIN, Role.AUDITOR])
def test_who_may_only_look_neither_tests_nor_removes_nor_changes(role, company, account, gateway):
    client = as_role(role, company)
    secret = account.secrets[0]["id"]

    assert client.post(address("carrieraccount_test_connection", account.pk)).status_code == 403
    assert client.post(f"{address('carrieraccount_remove_secret', account.pk)}?secret={secret}").status_code == 403
    assert save(client, account, name="Mine").status_code == 403
    assert add(client, company).status_code == 403
    assert (account.name, len(account.secrets)) == ("Main", 1)
    assert gateway.asked == []


# What is seen -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.COMPANY_ADMIN, Role.AUDITOR])
def test_who_may_only_look_sees_how_it_is_connected_and_fares_and_no_credentials(role, company, account):
    fares(account, last_refused_at=timezone.now(), last_refusal="It does not fit.", refused=2)

    page = shown(page_of(as_role(role, company), account))

    assert account.public_id in page
    assert "It does not fit." in page
    assert "Who answers" in page
    for hidden in (TOKEN, SID, "Entered on", "Test this connection", 'name="_save"'):
        assert hidden not in page


@pytest.mark.parametrize("lookup", ["settings__account_sid__startswith", "secrets__contains", "public_id__startswith"])
def test_a_secret_is_not_guessed_letter_by_letter_through_the_lists_address(lookup, company, account):
    response = as_role(Role.AUDITOR, company).get(address("carrieraccount_changelist"), {lookup: "A"})

    assert response.status_code == 400


AT = datetime(2026, 11, 3, 19, 15, tzinfo=UTC)


def test_an_account_that_is_switched_off_says_so_before_all_else(account):
    CarrierHealth.note(account, failures=9, last_genuine_at=AT)
    CarrierAccount.objects.update(is_active=False)

    assert "Switched off" in shown(operator().get(address("carrieraccount_changelist")))


@pytest.mark.parametrize("token", ["with\u200ba sign", "auth…token", "émile"])
def test_a_secret_that_no_request_can_hold_is_refused(token, company):
    found = errors(add(operator(), company, twilio__account_sid=SID, twilio__auth_token=token))

    assert "no carrier gives out" in found["twilio__auth_token"][0]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "No webhook yet"),
        ({"last_genuine_at": AT}, "Fine"),
        ({"last_genuine_at": AT, "last_refused_at": AT - timedelta(days=1)}, "Fine"),
        ({"last_genuine_at": AT, "last_refused_at": AT + timedelta(days=1)}, "Last webhook refused"),
        ({"last_refused_at": AT}, "Last webhook refused"),
        ({"last_genuine_at": AT, "failures": 4}, "Fine"),
        ({"last_genuine_at": AT, "failures": 5, "paused_until": AT}, "5 failures in a row"),
        ({"last_genuine_at": AT, "failures": 7, "paused_until": datetime(2126, 1, 1, 17, tzinfo=UTC)},
         "7 failures in a row, paused until 12:00:00 PM"),
        ({"last_genuine_at": AT, "paused_until": datetime(2126, 1, 1, 17, tzinfo=UTC)}, "Paused until 12:00:00 PM"),
    ],
)  # fmt: skip
def test_the_list_says_in_a_word_how_each_account_fares(state, words, account):
    if state:
        fares(account, **state)
    client = operator()

    assert f">{words}<" in re.sub(r"\s*([<>])\s*", r"\1", shown(client.get(address("carrieraccount_changelist"))))
    assert f">{words}</span>" in shown(page_of(client, account))


def test_an_account_without_what_it_needs_says_so_also_when_a_key_was_lost(account, settings):
    client = operator()
    assert "Not set up" not in shown(client.get(address("carrieraccount_changelist")))

    settings.SECRET_KEY = "another-key"

    client = operator()
    assert "Not set up" in shown(client.get(address("carrieraccount_changelist")))
    CarrierAccount.objects.update(secrets=[])
    page = shown(page_of(client, account))
    assert "Not set up" in page
    assert "None is kept, and one is needed." in page


def test_the_page_says_what_has_happened_and_helps_where_nothing_has(account):
    client = operator()
    page = shown(page_of(client, account))
    assert "None yet. Send a text to one of its numbers." in page

    fares(
        account, last_genuine_at=AT, last_refused_at=AT, last_refusal="The <signature> does not fit.", refused=1200,
        last_taken_at=AT, failures=6, last_failure="HTTP 401: no such key", last_failure_at=AT,
        paused_until=datetime(2126, 1, 1, 17, tzinfo=UTC), reconciled_at=AT, reconciliation="2 texts taken in.",
    )  # fmt: skip
    page = shown(page_of(client, account))

    for words in (
        "Nov 3, 2026, 2:15 PM EST: The &lt;signature&gt; does not fit.", "1,200 refused in all.",
        "6. The last was on Nov 3, 2026, 2:15 PM EST: HTTP 401: no such key",
        "Nothing leaves before Jan 1, 2126, 12:00 PM EST.", "2 texts taken in.",
    ):  # fmt: skip
        assert words in page


def test_an_account_that_receives_by_token_shows_that_address_as_well(company):
    client = operator()
    for carrier, has_api in (("generic", True), ("console", True), ("twilio", False)):
        account = CarrierAccountFactory(company=company, carrier=carrier)
        page = shown(page_of(client, account))
        assert ('value="https://portal.example/api/v1/inbound/"' in page) == has_api
        assert f"/webhooks/{carrier}/{account.public_id}/" in page


def test_an_address_that_no_carrier_reaches_is_called_that(account, settings):
    assert "No carrier reaches this" not in shown(page_of(operator(), account))

    settings.PUBLIC_URL = "http://127.0.0.1:8000"

    assert "No carrier reaches this" in shown(page_of(operator(), account))


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_every_carriers_page_opens_with_its_steps_and_is_saved_as_it_stands(carrier, company):
    settings = {
        setting.name: example(setting)
        for setting in CARRIERS[carrier].SETTINGS
        if setting.required and not setting.secret
    }
    settings |= {name: value for name, value in {"account_sid": SID}.items() if name in settings}
    account = CarrierAccountFactory(company=company, carrier=carrier, settings=settings)
    client = operator()

    page = page_of(client, account)

    steps = re.findall(r"<li>", shown(page).partition('class="carrier-steps"')[2].partition("</ol>")[0])
    assert len(steps) == len(CARRIERS[carrier].STEPS)
    assert save(client, account).status_code == 302
    assert account.settings == settings
    names = [name for _, options in page.context["adminform"].fieldsets for name in options["fields"]]
    assert {f"at_carrier__{setting.name}" for setting in CARRIERS[carrier].SETTINGS} <= set(names)


def test_every_field_of_the_pages_has_a_label(company, account):
    client = operator()
    for page in (shown(client.get(address("carrieraccount_add"))), shown(page_of(client, account))):
        form = page[page.index('id="carrieraccount_form"') :]
        fields = re.findall(r'<(?:input|select|textarea)\b[^>]*\bid="(id_[^"]+)"', form.partition("</form>")[0])
        assert len(fields) > 5
        assert not [field for field in fields if f'for="{field}"' not in form]


# Who answers, and how fast ------------------------------------------------------------------------------------------


def test_who_answers_and_how_fast_it_may_send_are_the_operators_to_choose(account):
    client = operator()

    save(client, account, stop_answered_by="carrier", segments_per_minute="60")

    assert account.answers("STOP")
    assert not account.answers("HELP")
    assert account.segments_per_minute == 60
    assert errors(save(client, account, segments_per_minute="0")) == {
        "segments_per_minute": ["At least 1. Leave it empty for no limit."]
    }


def test_a_company_admin_sets_how_fast_a_number_may_send_and_its_office_does_not_see_it(company):
    number = NumberFactory(account=CarrierAccountFactory(company=company), office__company=company)
    client, page = as_role(Role.COMPANY_ADMIN, company), address("number_change", number.pk)

    posted = hidden_fields(client, page) | {"label": "", "office": number.office_id, "account": number.account_id}
    posted["campaign"] = ""
    assert "At least 1" in shown(client.post(page, {**posted, "segments_per_minute": "0"}))
    client.post(page, {**posted, "segments_per_minute": "30"})

    number.refresh_from_db()
    assert number.segments_per_minute == 30
    assert "egments per minute" not in shown(as_role(Role.OFFICE_ADMIN, number.office).get(page))


def test_the_list_asks_as_many_questions_for_thirty_accounts_as_for_five(company):
    client = operator()

    def asked(more):
        for _ in range(more):
            account = fares(CarrierAccountFactory(company=company), last_genuine_at=timezone.now())
            NumberFactory(account=account, office__company=company)
        with CaptureQueriesContext(connection) as queries:
            response = client.get(address("carrieraccount_changelist"))
        assert {row.number_count for row in response.context["cl"].result_list} == {1}
        return len(queries)

    assert asked(5) == asked(25)


def test_the_page_names_its_numbers_or_says_how_to_get_one(account):
    page = address("carrieraccount_change", account.pk)
    assert "None yet: add a number under Numbers" in shown(operator().get(page))

    number = NumberFactory(office=OfficeFactory(company=account.company), account=account)
    given_up = NumberFactory(office=number.office, account=account, given_up_at=AT)
    found = shown(operator().get(page))

    assert address("number_change", number.pk) in found
    assert address("number_change", given_up.pk) not in found
