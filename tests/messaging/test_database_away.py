"""The database is away, or goes away in the middle: 503, nothing half stored, and the same request works later."""

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from compliance.wsgi import application
from messaging.carriers.twilio import signature
from messaging.models import OptOut
from tests.factories import CarrierAccountFactory, NumberFactory, RecipientFactory
from tests.messaging.api_calls import SOMEBODY, bearer, call, count_stored, is_problem

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def number():
    return NumberFactory()


@pytest.fixture
def token(number):
    return bearer(number.company, account=number.account)


@contextmanager
def database_at_a_closed_port() -> Iterator[None]:
    """Django's connection closed, and its address one where nobody listens."""
    with socket.socket() as bound:  # never listens, so whoever connects is refused
        bound.bind(("127.0.0.1", 0))
        before = dict(connection.settings_dict)
        connection.close()
        connection.settings_dict.update(HOST="127.0.0.1", PORT=bound.getsockname()[1])
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict.update(before)


@contextmanager
def another_connection() -> Iterator[psycopg.Connection]:
    parameters = connection.get_connection_params()
    wanted = {name: parameters[name] for name in ("host", "port", "user", "password", "dbname") if name in parameters}
    with psycopg.connect(**wanted, autocommit=True) as other:
        yield other


def stop(number) -> dict[str, str]:
    return {"from": SOMEBODY, "to": number.e164, "text": "STOP", "message_id": "m-1"}


def come_again(answer) -> bool:
    return is_problem(answer, 503) and int(answer["Retry-After"]) > 0


def test_inbound_is_answered_503_and_the_same_request_is_obeyed_when_the_database_is_back(number, token):
    with database_at_a_closed_port():
        answer = call("/api/v1/inbound/", stop(number), token=token)

    assert come_again(answer)
    assert set(count_stored().values()) == {0}
    assert call("/api/v1/inbound/", stop(number), token=token).status_code == 201
    assert OptOut.objects.count() == 1


def test_a_webhook_is_answered_503_and_the_same_request_is_obeyed_when_the_database_is_back():
    account = CarrierAccountFactory(twilio=True)
    number = NumberFactory(office__company=account.company, account=account)
    path = f"/webhooks/twilio/{account.public_id}/"
    fields = {"MessageSid": "SM" + "0" * 32, "From": SOMEBODY, "To": number.e164, "Body": "STOP", "NumMedia": "0"}
    signed = signature(account.credentials.get("auth_token"), f"{settings.PUBLIC_URL}{path}", list(fields.items()))

    def post():
        return Client().post(
            path, urlencode(fields), "application/x-www-form-urlencoded", headers={"X-Twilio-Signature": signed}
        )

    with database_at_a_closed_port():
        answer = post()

    assert come_again(answer)
    assert set(count_stored().values()) == {0}
    assert post().status_code == 200
    assert OptOut.objects.count() == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/check/", {"from": "+12025550100", "to": SOMEBODY}),
        ("POST", "/api/v1/messages/", {"from": "+12025550100", "to": SOMEBODY, "text": "Hello"}),
        ("GET", "/api/v1/messages/", None),
        ("GET", "/api/v1/opt-outs/", None),
        ("GET", "/api/v1/consent-events/", None),
    ],
)
def test_every_other_api_address_is_answered_503(token, method, path, body):
    with database_at_a_closed_port():
        answer = call(path, body, token=token, method=method)

    assert come_again(answer)


def test_the_portal_is_alive_but_not_ready_without_its_database():
    with database_at_a_closed_port():
        alive, ready = Client().get("/healthz"), Client().get("/readyz")

    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert ready.status_code == 503
    assert ready.json()["checks"]["database"] == "cannot be reached"
    assert "no-store" in ready["Cache-Control"]


def test_the_portal_is_ready_with_its_database():
    answer = Client().get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (200, "ok"), answer.json()


def test_the_portal_is_not_ready_while_a_migration_is_missing():
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'messaging' RETURNING app, name, applied")
        gone = cursor.fetchall()
    try:
        answer = Client().get("/readyz")
    finally:
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)", gone)

    assert answer.status_code == 503
    assert "migrate" in answer.json()["checks"]["migrations"]


def test_a_connection_killed_in_the_middle_of_a_stop_is_503_and_leaves_nothing_half_stored(number, token):
    """The STOP waits for its recipient's lock, with its transaction begun, when its connection is killed."""
    recipient = RecipientFactory(company=number.company, e164=SOMEBODY)
    before = count_stored()
    answers = []

    def deliver():
        try:
            answers.append(call("/api/v1/inbound/", stop(number), token=token))
        finally:
            connection.close()

    with another_connection() as other, other.transaction():
        other.execute("SELECT 1 FROM messaging_recipient WHERE id = %s FOR UPDATE", [recipient.pk])
        delivering = threading.Thread(target=deliver)
        delivering.start()
        kill_whoever_waits_for_a_lock()
        delivering.join(20)

    assert len(answers) == 1
    assert come_again(answers[0])
    assert count_stored() == before
    again = call("/api/v1/inbound/", stop(number), token=token)
    assert (again.status_code, again.json()["outcome"]) == (201, "opted_out")


def test_a_connection_killed_between_two_requests_is_not_noticed_by_the_second():
    """As under a real server: a kept connection is looked at before it is used again."""
    number = NumberFactory()
    token = bearer(number.company, account=number.account)
    statuses = []

    def serve():
        # A thread of its own has a connection of its own, and the real signals around each request.
        for kill_before in (False, True):
            if kill_before:
                kill(connection.connection.info.backend_pid)
            statuses.append(through_wsgi("/api/v1/check/", {"from": number.e164, "to": SOMEBODY}, token))
        connection.close()

    serving = threading.Thread(target=serve)
    serving.start()
    serving.join(20)

    assert statuses == ["200 OK", "200 OK"]


def kill(pid: int) -> None:
    with another_connection() as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def kill_whoever_waits_for_a_lock() -> None:
    with another_connection() as other:
        for _ in range(200):
            waiting = other.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).fetchall()
            if waiting:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [waiting[0][0]])
                return
            time.sleep(0.05)
    raise AssertionError("nobody waits for a lock")


def through_wsgi(path: str, body: object, token: str) -> str:
    """The status line of a POST through the same door that gunicorn uses."""
    sent = json.dumps(body).encode()
    lines: list[str] = []

    def start(status, headers, error=None):
        lines.append(status)
        return lambda data: None

    answer = application(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(sent)),
            "HTTP_AUTHORIZATION": token,
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(sent),
            "wsgi.errors": io.StringIO(),
        },
        start,
    )
    list(answer)
    answer.close()
    return lines[0]
