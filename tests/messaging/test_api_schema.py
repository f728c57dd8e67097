"""The API's description: complete, valid, true, and shown by a page that loads nothing from elsewhere."""

import re

import pytest
import schemathesis
import yaml
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from django.urls import get_resolver
from drf_spectacular.validation import validate_schema
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from compliance.wsgi import application
from messaging.models import Message
from tests.factories import CarrierAccountFactory, NumberFactory, OfficeFactory
from tests.messaging.api_calls import bearer, call

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _static_files_as_they_lie(settings):
    """Nobody has run collectstatic for the tests."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture
def schema():
    answer = Client().get("/api/schema/")
    assert answer.status_code == 200
    return yaml.safe_load(answer.content)


def operations(schema):
    return [
        (path, method, operation) for path, methods in schema["paths"].items() for method, operation in methods.items()
    ]


# Whole and valid


def test_the_description_is_made_without_a_warning(tmp_path):
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))

    assert (tmp_path / "schema.yml").stat().st_size > 1000


def test_what_is_served_is_valid_openapi(schema):
    validate_schema(schema)
    assert schema["openapi"].startswith("3.")


def test_every_address_of_the_api_is_described(schema):
    resolver = next(r for r in get_resolver().url_patterns if str(r.pattern) == "api/v1/")
    served = {f"/api/v1/{pattern.pattern}" for pattern in resolver.url_patterns}

    assert set(schema["paths"]) == served
    assert "post" in schema["paths"]["/api/v1/messages/"]
    assert "get" in schema["paths"]["/api/v1/messages/"]


def test_every_operation_says_what_it_is_for_who_may_and_what_is_answered(schema):
    for path, method, operation in operations(schema):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["security"] == [{"token": []}], where
        assert {"400", "401", "403", "503"} <= set(operation["responses"]), where
        assert {"200", "201"} & set(operation["responses"]), where
        for status, response in operation["responses"].items():
            assert response["content"], (where, status)


def test_every_request_has_an_example_and_the_examples_are_true(schema):
    number = NumberFactory(e164="+12125550100")
    token = bearer(number.company, account=number.account)
    asked = 0
    # The example of a received text is a STOP, so it comes last.
    for path, method, operation in sorted(operations(schema), key=lambda o: "inbound" in o[0]):
        if method != "post":
            continue
        examples = operation["requestBody"]["content"]["application/json"]["examples"]
        assert examples, path
        for example in examples.values():
            answer = call(path, example["value"], token=token)
            assert answer.status_code in (200, 201), (path, answer.content)
            asked += 1
    assert asked >= 4
    assert Message.objects.filter(text="STOP").exists()


def test_the_blocked_verdict_in_the_description_is_what_the_gate_answers(schema):
    number = NumberFactory(e164="+12125550100")
    token = bearer(number.company, account=number.account)
    stop = {"from": "+12025550143", "to": "+12125550100", "text": "STOP", "message_id": "1"}
    call("/api/v1/inbound/", stop, token=token)
    content = schema["paths"]["/api/v1/check/"]["post"]["responses"]["200"]["content"]["application/json"]
    shown = next(iter(content["examples"].values()))["value"]

    given = call("/api/v1/check/", {"from": "+12125550100", "to": "+12025550143"}, token=token).json()

    assert set(shown) == set(given)
    assert set(shown["opt_out"]) == set(given["opt_out"])
    assert (shown["code"], shown["scope"]) == (given["code"], given["scope"])
    assert shown["reason"].endswith(given["reason"].rpartition("are blocked.")[2])


def test_no_example_holds_a_number_that_could_be_somebodys(schema):
    numbers = re.findall(r"\+1\d{10}", yaml.safe_dump(schema))

    assert numbers
    assert all(re.fullmatch(r"\+1\d{3}55501\d\d", number) for number in numbers)


# The page


def test_the_documentation_page_loads_nothing_from_elsewhere():
    page = Client().get("/api/docs/").content.decode()
    loaded = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", page)

    assert len(loaded) >= 3
    for address in loaded:
        assert re.match(r"/(?!/)", address), address
        assert finders.find(address.removeprefix("/static/")), address
    assert not re.findall(r"""["'(](?:https?:)?//[^"')]+""", page)


def test_the_documentation_needs_no_token_and_names_no_data():
    number = NumberFactory()

    for path in ("/api/docs/", "/api/schema/"):
        answer = Client().get(path)
        assert answer.status_code == 200
        assert number.e164 not in answer.content.decode()
        assert number.company.name not in answer.content.decode()


# True: whatever the description allows is answered as it says


@pytest.fixture
def _kept_connection():
    """The test's transaction outlives the requests, which come through the door that gunicorn uses."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def described(token, _kept_connection):  # in this order: the test client, too, moves those signals
    return schemathesis.openapi.from_wsgi("/api/schema/?format=json", application)


@pytest.fixture
def token(db):
    """The token of a company with rows of every kind to read."""
    account = CarrierAccountFactory()
    office = OfficeFactory(company=account.company)
    NumberFactory(office=office, account=account, e164="+12125550100")
    NumberFactory(office=office, account=account, e164="+12125550101", registered=True)
    token = bearer(account.company, account=account)
    for n, text in enumerate(["Hello", "STOP", "stop!", "UNSTOP", "HELP", "", "please stop texting me"]):
        for to in ("+12125550100", "+12125550101"):
            sent = {"from": f"+1512555010{n}", "to": to, "text": text, "message_id": f"{n} {to}"}
            assert call("/api/v1/inbound/", sent, token=token).status_code == 201
            answer = call("/api/v1/messages/", {"from": to, "to": sent["from"], "text": "Hello"}, token=token)
            assert answer.status_code in (201, 409)
    return token


OPERATIONS = [
    "POST /api/v1/inbound/",
    "POST /api/v1/check/",
    "POST /api/v1/messages/",
    "GET /api/v1/messages/",
    "GET /api/v1/opt-outs/",
    "GET /api/v1/consent-events/",
]


def test_no_operation_is_left_out_below(schema):
    assert sorted(OPERATIONS) == sorted(f"{method.upper()} {path}" for path, method, _ in operations(schema))


@pytest.mark.parametrize("label", OPERATIONS)
def test_whatever_the_description_allows_is_answered_as_it_says(described, token, label):
    @hypothesis_settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=described.find_operation_by_label(label).as_strategy())
    def answered_as_described(case):
        answer = case.call(headers={"Authorization": token, "Accept-Encoding": "identity"})
        case.validate_response(
            answer,
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )

    answered_as_described()
