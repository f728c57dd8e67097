"""Deciding in the admin: holds, requests that were not understood, texts of which nobody knows whether they left."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import Model
from django.urls import reverse
from django.utils import timezone

from messaging import inbound
from messaging.carriers.base import WebhookRequest
from messaging.models import ConsentEvent, Hold, Message, OptOut, WebhookReceipt
from tests.factories import NumberFactory, OfficeFactory
from tests.messaging.pages import Role, a_conversation, logged_in, shown
from tests.messaging.texting import document, receive, request_of, send, somebody, verdict

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("static_files")]

ALL_ROLES = [Role.COMPANY_ADMIN, Role.OFFICE_ADMIN, Role.AGENT, Role.AUDITOR]


def a_hold(**number: Any) -> Hold:
    ours, to = NumberFactory(**number), somebody()
    receive(ours, to, "please stop texting me")
    return Hold.objects.get(recipient__e164=to)


def question(slug: str, *rows: Model) -> str:
    name = rows[0]._meta.model_name
    ids = "&".join(f"id={row.pk}" for row in rows)
    return f"{reverse(f'admin:messaging_{name}_decide', args=[slug])}?{ids}"


def list_of(model: Any, **asked: str) -> str:
    return reverse(f"admin:messaging_{model._meta.model_name}_changelist")


def a_lost_text() -> Message:
    message = send(NumberFactory(), somebody())
    message.advance("sending")
    message.advance("uncertain", error="Nobody knows.")
    return message


# Holds ----------------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("N1")
@pytest.mark.parametrize("role", [Role.COMPANY_ADMIN, None])
def test_a_release_with_a_reason_lets_texts_through_and_is_on_record(role):
    hold = a_hold(registered=True)
    number = hold.message.number
    client = logged_in(role, number.office)

    response = client.post(question("release", hold), {"reason": "Meant the bus stop"})

    assert response.status_code == 302
    assert verdict(number, hold.recipient.e164).allowed
    event = ConsentEvent.objects.latest("pk")
    assert (event.kind, event.reason) == ("release", "Meant the bus stop")
    assert event.actor_name.startswith("Pat Doe")


@pytest.mark.behaviour("N1")
def test_a_release_wants_a_reason():
    hold = a_hold()
    client = logged_in(Role.COMPANY_ADMIN, hold.message.number.office)
    response = client.post(question("release", hold), {"reason": "  "})
    assert response.status_code == 422
    assert "Say why" in shown(response)
    assert Hold.objects.get().is_open


@pytest.mark.behaviour("N1")
def test_a_hold_that_was_an_opt_out_becomes_one_with_or_without_a_reason():
    hold = a_hold(registered=True)
    client = logged_in(Role.COMPANY_ADMIN, hold.message.number.office)
    client.post(question("opt-out", hold), {"reason": ""})
    assert Hold.objects.get().outcome == "opted_out"
    assert OptOut.objects.get().campaign == hold.campaign
    assert not verdict(hold.message.number, hold.recipient.e164).allowed


def test_asking_decides_nothing():
    hold = a_hold()
    client = logged_in(Role.COMPANY_ADMIN, hold.message.number.office)
    for address in (
        question("release", hold),
        reverse("admin:messaging_hold_it_is_an_opt_out", args=[hold.pk]),
        reverse("admin:messaging_hold_release_it", args=[hold.pk]),
    ):
        response = client.get(address, follow=True)
        assert "please stop texting me" in shown(response)
    assert Hold.objects.get().is_open


def test_several_holds_are_decided_at_once_from_their_list():
    hold = a_hold()
    office = hold.message.number.office
    other = a_hold(office=office)
    client = logged_in(Role.COMPANY_ADMIN, office)
    asked = client.post(
        list_of(Hold), {"action": "release_these", "_selected_action": [hold.pk, other.pk], "index": "0"}
    )
    client.post(asked["Location"], {"reason": "Both about a bus"})
    assert set(Hold.objects.values_list("outcome", flat=True)) == {"released"}


@pytest.mark.parametrize("role", [Role.OFFICE_ADMIN, Role.AGENT, Role.AUDITOR])
def test_who_may_not_review_finds_no_button_and_no_way(role):
    hold = a_hold()
    client = logged_in(role, hold.message.number.office)
    page = shown(client.get(reverse("admin:messaging_hold_change", args=[hold.pk])))
    assert "/release/" not in page
    assert 'name="action"' not in shown(client.get(list_of(Hold)))
    for slug in ("release", "opt-out"):
        assert client.post(question(slug, hold), {"reason": "I say so"}).status_code == 403
    client.post(list_of(Hold), {"action": "release_these", "_selected_action": [hold.pk], "index": "0"})
    assert Hold.objects.get().is_open


def test_another_companys_hold_is_out_of_reach():
    hold = a_hold()
    client = logged_in(Role.COMPANY_ADMIN, OfficeFactory())
    response = client.post(question("release", hold), {"reason": "I say so"}, follow=True)
    assert "nothing left to decide" in shown(response)
    assert "please stop" not in shown(response)
    assert Hold.objects.get().is_open


def test_a_settled_hold_offers_no_button_and_is_not_decided_again():
    hold = a_hold()
    client = logged_in(Role.COMPANY_ADMIN, hold.message.number.office)
    client.post(question("opt-out", hold), {"reason": ""})
    assert "/release/" not in shown(client.get(reverse("admin:messaging_hold_change", args=[hold.pk])))
    client.post(question("release", hold), {"reason": "On second thoughts"})
    assert Hold.objects.get().outcome == "opted_out"


def test_waiting_holds_come_oldest_due_first_and_settled_ones_under_their_own_tab():
    first = a_hold()
    office = first.message.number.office
    second, settled = a_hold(office=office), a_hold(office=office)
    Hold.objects.filter(pk=second.pk).update(due_at=timezone.now(), text="stop it now!")
    Hold.objects.filter(pk=settled.pk).update(text="stop this please")
    client = logged_in(Role.COMPANY_ADMIN, office)
    client.post(question("release", settled), {"reason": "A bus"})

    waiting = shown(client.get(list_of(Hold)))
    done = shown(client.get(list_of(Hold), {"standing": "settled"}))

    assert waiting.index("stop it now!") < waiting.index("please stop texting me")
    assert "stop this please" not in waiting
    assert "stop this please" in done
    assert "stop it now!" not in done


# Requests that were not understood ------------------------------------------------------------------------------------


def a_riddle(body: bytes = b'{"from": "<b>?</b>"}') -> WebhookReceipt:
    number = NumberFactory()
    inbound.take(number.account, WebhookRequest("POST", "", body, "application/json"))
    return WebhookReceipt.objects.latest("pk")


@pytest.mark.behaviour("N6")
def test_a_request_is_run_again_after_what_was_wrong_is_mended():
    number = NumberFactory()
    e164 = number.e164
    number.e164 = "+12025550199"
    text = request_of({**document(number, somebody(), "STOP"), "to": e164[:-2] + "98"})
    inbound.take(number.account, text)
    receipt = WebhookReceipt.objects.get(status="not_understood")
    client = logged_in(None, number.office)

    client.post(question("run-again", receipt))
    assert WebhookReceipt.objects.get(pk=receipt.pk).status == "not_understood"
    NumberFactory(office=number.office, account=number.account, e164=e164[:-2] + "98")
    client.post(question("run-again", receipt))

    assert WebhookReceipt.objects.get(pk=receipt.pk).status == "resolved"
    assert OptOut.objects.count() == 1


def test_a_request_is_dismissed_and_stays_stored():
    receipt = a_riddle()
    client = logged_in(None, OfficeFactory())
    client.post(question("dismiss", receipt))
    after = WebhookReceipt.objects.get()
    assert (after.status, bytes(after.body)) == ("dismissed", bytes(receipt.body))


@pytest.mark.parametrize(
    "body", [b'{"from": "<b>?</b>"}', b"<b>?</b>", b"\xff\xfe<b>", b"[" * 100_000, b"<" * 1_000_000]
)
def test_a_body_is_shown_readable_and_never_run(body):
    receipt = a_riddle(body)
    client = logged_in(None, OfficeFactory())
    page = client.get(reverse("admin:messaging_webhookreceipt_change", args=[receipt.pk]))
    assert page.status_code == 200
    assert "<b>" not in page.content.decode().split("<pre", 1)[1].split("</pre>")[0]
    assert len(page.content) < 400_000
    assert client.get(question("run-again", receipt)).status_code == 200


@pytest.mark.parametrize("role", ALL_ROLES)
def test_requests_are_decided_by_operators_alone(role):
    receipt = a_riddle()
    client = logged_in(role, OfficeFactory(company=receipt.company))
    for slug in ("run-again", "dismiss"):
        assert client.post(question(slug, receipt)).status_code == 403
    assert WebhookReceipt.objects.get().status == "not_understood"


def test_not_understood_requests_come_first_and_all_on_demand():
    receipt = a_riddle()
    understood = a_conversation().messages.get().receipts.get()
    client = logged_in(None, OfficeFactory())
    link = "admin:messaging_webhookreceipt_change"
    first, both = (
        shown(client.get(list_of(WebhookReceipt))),
        shown(client.get(list_of(WebhookReceipt), {"which": "all"})),
    )
    assert reverse(link, args=[receipt.pk]) in first
    assert reverse(link, args=[understood.pk]) not in first
    assert reverse(link, args=[understood.pk]) in both


# Texts that went wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("slug", "state"), [("sent", "sent"), ("not-sent", "failed")])
def test_an_operator_says_whether_an_uncertain_text_left(slug, state):
    message = a_lost_text()
    logged_in(None, OfficeFactory()).post(question(slug, message))
    assert Message.objects.get().state == state


def test_a_company_admin_says_so_for_their_own_company_only():
    message, foreign = a_lost_text(), a_lost_text()
    client = logged_in(Role.COMPANY_ADMIN, message.number.office)
    client.post(question("sent", message))
    client.post(question("sent", foreign))
    assert Message.objects.get(pk=message.pk).state == "sent"
    assert Message.objects.get(pk=foreign.pk).state == "uncertain"


@pytest.mark.parametrize("role", [role for role in ALL_ROLES if role != Role.COMPANY_ADMIN])
def test_nobody_else_says_so(role):
    message = a_lost_text()
    client = logged_in(role, message.number.office)
    for slug in ("sent", "not-sent"):
        assert client.post(question(slug, message)).status_code == 403
    assert Message.objects.get().state == "uncertain"


def test_a_text_that_went_well_is_not_among_those_that_did_not():
    lost = a_lost_text()
    fine = send(lost.number, somebody(), "All is well")
    client = logged_in(None, OfficeFactory())
    assert "All is well" not in shown(client.get(list_of(Message)))
    client.post(question("not-sent", fine))
    assert Message.objects.get(pk=fine.pk).state == "queued"
