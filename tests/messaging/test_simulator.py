"""The phone simulator: there in demo and development alone, and through the real webhooks."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from messaging import simulated_phone
from messaging.models import Message, OptOut
from offices.models import ApiToken, CarrierAccount, Number
from tests.factories import CarrierAccountFactory, NumberFactory, OfficeFactory
from tests.messaging.pages import AS_SCRIPT, Role, a_conversation, logged_in, shown
from tests.messaging.texting import receive, send, somebody, work

PAGE, LIVE, SEND = (reverse(f"messaging:{name}") for name in ("simulator", "simulator_live", "simulator_send"))
A_STRANGER = f"+1212{456}7890"  # could be somebody's, so it is not written out

pytestmark = pytest.mark.usefixtures("static_files")


@pytest.fixture(autouse=True)
def _demo(settings: Any) -> None:
    settings.DEMO = True
    simulated_phone._secrets.clear()


def play(client: Client, number: Number, phone: str, text: str, **server: Any) -> Any:
    return client.post(SEND, {"number": number.pk, "phone": phone, "text": text}, headers=AS_SCRIPT, **server)


@pytest.fixture
def through(live_server: Any, settings: Any, transactional_db: None) -> dict[str, str]:
    """What a request to the running portal carries, by which the simulator finds the way back to it."""
    settings.PUBLIC_URL = live_server.url
    return {"SERVER_PORT": live_server.url.rsplit(":", 1)[1], "SERVER_NAME": "localhost"}


@pytest.mark.django_db
def test_without_demo_and_debug_there_is_no_simulator(settings):
    settings.DEMO = settings.DEBUG = False
    talk = a_conversation()
    client = logged_in(None, talk.number.office)
    assert client.get(PAGE).status_code == 404
    assert client.get(LIVE).status_code == 404
    assert play(client, talk.number, talk.recipient.e164, "STOP").status_code == 404
    assert OptOut.objects.count() == 0


@pytest.mark.django_db
def test_the_simulator_wants_a_login():
    for path in (PAGE, LIVE, SEND):
        assert "/login/" in Client().get(path)["Location"]


@pytest.mark.django_db
@pytest.mark.parametrize("role", [Role.COMPANY_ADMIN, Role.AGENT, Role.AUDITOR, None])
def test_the_phone_shows_what_it_sent_and_what_truly_left_for_it(role):
    talk = a_conversation()
    send(talk.number, talk.recipient.e164, "This one leaves")
    work()
    send(talk.number, talk.recipient.e164, "This one waits")
    asked = {"number": talk.number.pk, "phone": talk.recipient.e164}
    client = logged_in(role, talk.number.office)
    for path in (PAGE, LIVE):
        page = shown(client.get(path, asked)).split("data-handset-form")[0]
        assert "Hello" in page
        assert "This one leaves" in page
        assert "This one waits" not in page


@pytest.mark.django_db
def test_nothing_new_on_the_phone_is_answered_with_nothing():
    talk = a_conversation()
    client = logged_in(Role.AGENT, talk.number.office)
    asked = {"number": talk.number.pk, "phone": talk.recipient.e164}
    found = shown(client.get(LIVE, asked)).split('data-version="')[1][:20]
    assert client.get(LIVE, {**asked, "v": found}).status_code == 204
    receive(talk.number, talk.recipient.e164, "News")
    assert client.get(LIVE, {**asked, "v": found}).status_code == 200


@pytest.mark.django_db
def test_other_peoples_numbers_are_not_found():
    talk = a_conversation()
    for office in (OfficeFactory(), OfficeFactory(company=talk.company)):
        client = logged_in(Role.AGENT, office)
        asked = {"number": talk.number.pk, "phone": talk.recipient.e164}
        assert client.get(PAGE, asked).status_code == 404
        assert client.get(LIVE, asked).status_code == 404
        assert play(client, talk.number, talk.recipient.e164, "STOP").status_code == 404
        assert shown(client.get(PAGE)).find(talk.recipient.e164) == -1
    assert Message.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(("phone", "said"), [(A_STRANGER, "a fictional number"), ("12", "digits")])
def test_no_strangers_phone_is_played(phone, said):
    number = NumberFactory()
    client = logged_in(None, number.office)
    response = play(client, number, phone, "STOP")
    assert response.status_code == 422
    assert said in shown(response)
    assert client.get(PAGE, {"number": number.pk, "phone": phone}).status_code == 422
    assert Message.objects.count() == 0


@pytest.mark.django_db
def test_without_any_number_the_page_says_so():
    assert "no number to text to yet" in shown(logged_in(None, OfficeFactory()).get(PAGE))


@pytest.mark.parametrize("carrier", ["console", "generic"])
def test_stop_goes_through_the_inbound_api_with_a_short_lived_token(through, carrier):
    number = NumberFactory(registered=True)
    CarrierAccount.objects.filter(pk=number.account_id).update(carrier=carrier)
    client, phone = logged_in(Role.AGENT, number.office), somebody()

    response = play(client, number, phone, "STOP", **through)

    assert response.status_code == 200, shown(response)
    assert "The webhook answered 201: Opted out" in shown(response)
    assert OptOut.objects.get().recipient.e164 == phone
    token = ApiToken.objects.get()
    assert token.scopes == ["inbound"]
    assert token.account_id == number.account_id
    assert token.expires_at is not None
    assert token.expires_at <= timezone.now() + simulated_phone.TOKEN_LIVES
    assert token.last_used_at is not None


def test_the_token_is_used_again_renewed_when_revoked_and_pruned(through):
    number = NumberFactory()
    client, phone = logged_in(Role.AGENT, number.office), somebody()
    for text in ("One", "Two"):
        assert play(client, number, phone, text, **through).status_code == 200
    first = ApiToken.objects.get()
    ApiToken.objects.update(revoked_at=timezone.now(), expires_at=timezone.now())
    assert play(client, number, phone, "Three", **through).status_code == 200
    assert ApiToken.objects.get().pk != first.pk
    assert Message.objects.count() == 3


def test_for_a_twilio_account_the_twilio_webhook_is_signed_and_called(through):
    office = OfficeFactory()
    number = NumberFactory(office=office, account=CarrierAccountFactory(company=office.company, twilio=True))
    client, phone = logged_in(Role.AGENT, office), somebody()
    response = play(client, number, phone, "STOP  ", **through)
    assert "The webhook answered 200: Held for review" in shown(response)
    assert Message.objects.get().text == "STOP  "
    assert not ApiToken.objects.exists()


def test_an_answer_that_is_no_success_is_shown(through):
    number = NumberFactory()
    CarrierAccount.objects.filter(pk=number.account_id).update(carrier="twilio")
    client = logged_in(Role.AGENT, number.office)
    response = play(client, number, somebody(), "Hello", **through)
    assert response.status_code == 422
    assert "X-Twilio-Signature" in shown(response)


@pytest.mark.django_db
def test_without_a_server_behind_it_the_answer_says_so():
    number = NumberFactory()
    client = logged_in(Role.AGENT, number.office)
    assert "did not answer" in shown(play(client, number, somebody(), "Hello", SERVER_PORT="9"))
