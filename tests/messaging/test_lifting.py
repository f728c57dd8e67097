"""Lifting an opt-out by hand: one company admin asks, with evidence, and a second one decides."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from messaging import consent, lifting
from messaging.models import ConsentEvent, LiftRequest, OptOut
from offices.models import Membership, Number, Office, User
from tests.factories import MembershipFactory, NumberFactory, OfficeFactory
from tests.messaging.pages import person, shown
from tests.messaging.texting import at_once, left, receive, recipient_of, send, somebody, verdict, work

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("static_files")]

Role = Membership.Role
Decision = LiftRequest.Decision
EVIDENCE = "Jo Roe signed the form “Texts again, please” on paper; binder 7, page 12."
ALL_ROLES = [*Role.values, None]


def admin_of(office: Office) -> User:
    return person(Role.COMPANY_ADMIN, office)


def stopped(number: Number, text: str = "STOP") -> str:
    """Somebody who has opted out by a text to `number`."""
    to = somebody()
    receive(number, to, text)
    return to


def asked(number: Number, to: str, user: User | None = None) -> LiftRequest:
    found = OptOut.objects.filter(recipient__e164=to, closed_at__isnull=True).latest("pk")
    made, why_not = lifting.ask(found.pk, user=user or admin_of(number.office), evidence=EVIDENCE)
    assert made, why_not
    return made


def approve(request: LiftRequest, user: User) -> str:
    return lifting.decide(request.pk, Decision.APPROVED, user=user, note="")[1]


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def ask_address(opt_out: OptOut) -> str:
    return reverse("admin:messaging_optout_ask_to_lift", args=[opt_out.pk])


def decide_address(request: LiftRequest) -> str:
    return reverse("admin:messaging_liftrequest_decide_it", args=[request.pk])


# What approval does


def test_nothing_changes_until_a_second_admin_approves_and_then_texts_pass():
    number = NumberFactory()
    to = stopped(number)
    request = asked(number, to)
    assert not verdict(number, to).allowed

    assert approve(request, admin_of(number.office)) == ""

    assert verdict(number, to).allowed
    send(number, to)
    work()
    assert len(left(to)) == 1


def test_approval_closes_exactly_that_opt_out_and_nothing_else():
    number = NumberFactory(registered=True)
    other, bare = NumberFactory(office=number.office, registered=True), NumberFactory(office=number.office)
    to = stopped(number)
    receive(other, to, "STOP")
    request = asked(other, to)

    approve(request, admin_of(number.office))

    assert verdict(other, to).allowed
    assert verdict(number, to).code == "opted_out_campaign"
    receive(bare, to, "STOP")
    approve(asked(bare, to), admin_of(number.office))
    assert verdict(bare, to).allowed
    assert verdict(other, to).allowed
    assert verdict(number, to).code == "opted_out_campaign"


@pytest.mark.behaviour("N9")
def test_the_record_names_both_people_the_evidence_and_the_opt_out():
    number = NumberFactory(registered=True)
    to = stopped(number)
    first, second = admin_of(number.office), admin_of(number.office)
    request = asked(number, to, first)

    lifting.decide(request.pk, Decision.APPROVED, user=second, note="Seen the binder.")

    request.refresh_from_db()
    note, opt_in = request.requested_event, request.decided_event
    assert (note.kind, note.source, note.scope, note.actor_id_then) == ("manual", "person", "", first.pk)
    assert opt_in
    assert (opt_in.kind, opt_in.source, opt_in.scope) == ("opt_in", "person", "campaign")
    assert (opt_in.actor_id_then, opt_in.number_e164) == (second.pk, number.e164)
    assert opt_in.campaign_id_then == request.opt_out.campaign_id
    for said in (
        f"approved by {second} (login {second.pk})",
        f"{first} (login {first.pk}) asked",
        f"entry {note.pk}",
        f"opt-out {request.opt_out_id} of the campaign",
        EVIDENCE,
        "Seen the binder.",
    ):
        assert said in opt_in.reason
    assert EVIDENCE in note.reason
    assert request.opt_out.closed_by == opt_in


@pytest.mark.parametrize("decision", [Decision.REFUSED, Decision.WITHDRAWN])
def test_a_refusal_and_a_withdrawal_are_in_the_record_and_change_nothing_in_force(decision):
    number = NumberFactory()
    to = stopped(number)
    first = admin_of(number.office)
    request = asked(number, to, first)
    decider = first if decision == Decision.WITHDRAWN else admin_of(number.office)

    settled, why_not = lifting.decide(request.pk, decision, user=decider, note="The form is not signed.")

    assert why_not == ""
    assert settled.decided_event
    assert (settled.decided_event.kind, settled.decided_event.scope) == ("manual", "")
    assert f"{decision} by {decider}" in settled.decided_event.reason
    assert "The form is not signed." in settled.decided_event.reason
    assert not verdict(number, to).allowed


@pytest.mark.behaviour("N8")
def test_the_gate_tells_the_past_from_before_and_after_the_approval():
    number = NumberFactory()
    to = stopped(number)
    blocked = timezone.now()
    request = asked(number, to)
    asked_for = timezone.now()
    approve(request, admin_of(number.office))
    free = timezone.now()
    receive(number, to, "STOP")

    assert [verdict(number, to, at).allowed for at in (blocked, asked_for, free, timezone.now())] == [
        False, False, True, False,
    ]  # fmt: skip


def test_a_new_stop_after_a_lifting_blocks_and_unstop_lifts_it_as_ever():
    number = NumberFactory(registered=True)
    to = stopped(number)
    approve(asked(number, to), admin_of(number.office))

    receive(number, to, "STOP")
    assert not verdict(number, to).allowed
    receive(number, to, "UNSTOP")
    assert verdict(number, to).allowed


# What is refused


def test_an_approval_after_a_new_stop_is_a_refusal():
    number = NumberFactory(registered=True)
    to = stopped(number)
    request = asked(number, to)
    receive(number, to, "STOP")

    assert approve(request, admin_of(number.office)) == lifting.STOPPED_SINCE

    request.refresh_from_db()
    assert request.decision == Decision.REFUSED
    assert lifting.STOPPED_SINCE in request.note
    assert request.decided_event
    assert request.decided_event.kind == "manual"
    assert not verdict(number, to).allowed


def test_an_approval_after_the_recipients_own_unstop_lifts_nothing_more():
    number = NumberFactory(registered=True)
    to = stopped(number)
    request = asked(number, to)
    receive(number, to, "UNSTOP")

    assert approve(request, admin_of(number.office)) == lifting.NOTHING_LEFT


def test_a_carriers_opt_out_is_not_lifted_here_and_the_page_says_why():
    number = NumberFactory()
    to = somebody()
    receive(number, to, "Hello")
    with transaction.atomic():
        consent.opt_out_at_carrier(recipient_of(number, to), number, carrier="console", detail="opted_out")
    opt_out, user = OptOut.objects.get(), admin_of(number.office)

    made, why_not = lifting.ask(opt_out.pk, user=user, evidence=EVIDENCE)
    page = client_of(user).post(ask_address(opt_out), {"evidence": EVIDENCE}, follow=True)

    assert (made, why_not) == (None, lifting.CARRIERS_OWN)
    assert "texting START to that number" in shown(page)
    assert not LiftRequest.objects.exists()


def test_one_opt_out_has_one_request_at_a_time():
    number = NumberFactory()
    to = stopped(number)
    first = asked(number, to)
    again = lifting.ask(first.opt_out_id, user=admin_of(number.office), evidence=EVIDENCE)
    lifting.decide(first.pk, Decision.REFUSED, user=admin_of(number.office), note="No.")

    assert again[0] is None
    assert asked(number, to).pk != first.pk


def test_whoever_asked_cannot_approve_or_refuse_and_nobody_else_withdraws():
    number = NumberFactory()
    to = stopped(number)
    first, second = admin_of(number.office), admin_of(number.office)
    request = asked(number, to, first)

    for user, wanted in ((first, Decision.APPROVED), (first, Decision.REFUSED), (second, Decision.WITHDRAWN)):
        settled, why_not = lifting.decide(request.pk, wanted, user=user, note="x")
        assert settled.is_waiting
        assert why_not
    assert not verdict(number, to).allowed


@pytest.mark.parametrize("decision", [Decision.APPROVED, Decision.REFUSED])
def test_the_database_refuses_a_decision_by_whoever_asked(decision):
    number = NumberFactory()
    request = asked(number, stopped(number))

    with pytest.raises(IntegrityError, match="second_person"), transaction.atomic():
        LiftRequest.objects.filter(pk=request.pk).update(
            decision=decision,
            decided_by=request.requested_by,
            decided_at=timezone.now(),
            decided_event=request.requested_event,
        )
    with pytest.raises(IntegrityError, match="decided_by_somebody"), transaction.atomic():
        LiftRequest.objects.filter(pk=request.pk).update(decision=decision)


# Who may


def somebody_with(role: str | None, number: Number) -> User:
    return person(role, number.office)


@pytest.mark.parametrize("role", ALL_ROLES)
def test_only_a_company_admin_asks_and_approves_not_even_an_operator(role):
    number = NumberFactory()
    to = stopped(number)
    opt_out, user = OptOut.objects.get(), somebody_with(role, number)
    client = client_of(user)
    may = role == Role.COMPANY_ADMIN

    answer = client.post(ask_address(opt_out), {"evidence": EVIDENCE})
    assert LiftRequest.objects.exists() == may
    assert may or answer.status_code in (302, 403, 404)
    LiftRequest.objects.all().delete()
    request = asked(number, to)
    client.post(decide_address(request), {"decision": "approved", "note": ""})
    assert verdict(number, to).allowed == may
    if not may:
        with pytest.raises(PermissionDenied):
            approve(request, user)
        with pytest.raises(PermissionDenied):
            lifting.ask(opt_out.pk, user=user, evidence=EVIDENCE)


@pytest.mark.parametrize("role", Role.values)
def test_nobody_of_another_company_sees_or_approves_a_request(role):
    number, elsewhere = NumberFactory(), NumberFactory()
    to = stopped(number)
    request = asked(number, to)
    user = person(role, elsewhere.office)
    client = client_of(user)

    for posted in ("approved", "refused", "withdrawn"):
        assert client.post(decide_address(request), {"decision": posted, "note": "x"}).status_code in (302, 403, 404)
    page = client.get(reverse("admin:messaging_liftrequest_changelist"))
    assert page.status_code == 403 or str(request.recipient) not in shown(page)
    with pytest.raises(PermissionDenied):
        approve(request, user)
    request.refresh_from_db()
    assert request.is_waiting
    assert not verdict(number, to).allowed


def test_an_admin_whose_place_was_taken_away_approves_nothing():
    number = NumberFactory()
    request = asked(number, stopped(number))
    user = admin_of(number.office)
    client = client_of(user)
    assert client.get(decide_address(request)).status_code == 200
    Membership.objects.filter(user=user).delete()

    client.post(decide_address(request), {"decision": "approved", "note": ""})

    request.refresh_from_db()
    assert request.is_waiting


def test_an_admin_here_who_is_an_agent_there_approves_nothing_there():
    number, elsewhere = NumberFactory(), NumberFactory()
    request = asked(number, stopped(number))
    user = admin_of(elsewhere.office)
    MembershipFactory(user=user, office=number.office, role=Role.AGENT)

    client_of(user).post(decide_address(request), {"decision": "approved", "note": ""})

    request.refresh_from_db()
    assert request.is_waiting


# The pages


def test_from_the_opt_out_to_the_approval_by_pages():
    number = NumberFactory(registered=True)
    to = stopped(number)
    opt_out = OptOut.objects.get()
    first, second = client_of(admin_of(number.office)), client_of(admin_of(number.office))

    assert ask_address(opt_out) in shown(first.get(reverse("admin:messaging_optout_change", args=[opt_out.pk])))
    assert first.post(ask_address(opt_out), {"evidence": "signed"}).status_code == 422
    first.post(ask_address(opt_out), {"evidence": EVIDENCE})
    request = LiftRequest.objects.get()
    own, page = shown(first.get(decide_address(request))), shown(second.get(decide_address(request)))

    assert "Withdraw</button>" in own
    assert "Approve and lift" not in own
    assert "Approve and lift" in page
    assert "binder 7, page 12" in page
    assert "lets 1 number text the recipient again" in page
    second.post(decide_address(request), {"decision": "approved", "note": ""})
    assert verdict(number, to).allowed
    settled = shown(second.get(reverse("admin:messaging_liftrequest_change", args=[request.pk])))
    assert decide_address(request) not in settled
    assert "Approved" in settled
    assert "(&#x27;approved" not in settled


def test_a_refusal_wants_a_reason():
    number = NumberFactory()
    request = asked(number, stopped(number))

    answer = client_of(admin_of(number.office)).post(decide_address(request), {"decision": "refused", "note": " "})

    assert answer.status_code == 422
    assert "Say why you refuse it." in shown(answer)


def test_what_stays_blocked_by_something_else_is_told_apart():
    number = NumberFactory(registered=True)
    bare = NumberFactory(office=number.office)
    to = stopped(number)
    receive(bare, to, "STOP")

    page = shown(client_of(admin_of(number.office)).get(decide_address(asked(bare, to))))

    assert "lets 1 number text the recipient again" in page
    assert "1 number of it stays blocked by another opt-out or hold" in page


def test_the_sidebar_counts_what_waits_for_those_who_see_it():
    number = NumberFactory()
    asked(number, stopped(number))

    def sidebar(role: str) -> Any:
        return shown(client_of(person(role, number.office)).get(reverse("admin:index")))

    assert "Lifting requests" in sidebar(Role.COMPANY_ADMIN)
    assert "Lifting requests" in sidebar(Role.AUDITOR)
    assert "Lifting requests" not in sidebar(Role.OFFICE_ADMIN)


def test_an_auditor_reads_a_request_and_is_offered_no_decision():
    number = NumberFactory()
    request = asked(number, stopped(number))
    client = client_of(person(Role.AUDITOR, OfficeFactory(company=number.company)))

    page = shown(client.get(reverse("admin:messaging_liftrequest_change", args=[request.pk])))

    assert "binder 7, page 12" in page
    assert decide_address(request) not in page


# Races


@pytest.mark.django_db(transaction=True)
def test_two_approvals_at_once_count_once():
    for _ in range(4):
        number = NumberFactory()
        to = stopped(number)
        request = asked(number, to)
        admins = [admin_of(number.office), admin_of(number.office)]

        said = at_once([lambda user=user, request=request: approve(request, user) for user in admins])

        assert sorted(bool(one) for one in said) == [False, True]
        assert ConsentEvent.objects.filter(recipient__e164=to, kind="opt_in").count() == 1
        assert verdict(number, to).allowed


@pytest.mark.django_db(transaction=True)
def test_two_requests_at_once_are_one():
    number = NumberFactory()
    stopped(number)
    opt_out, admins = OptOut.objects.get(), [admin_of(number.office), admin_of(number.office)]

    at_once([lambda user=user: lifting.ask(opt_out.pk, user=user, evidence=EVIDENCE) for user in admins])

    assert LiftRequest.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.behaviour("N7")
def test_a_stop_at_the_instant_of_the_approval_wins_or_lies_after_it():
    for _ in range(8):
        number = NumberFactory(registered=True)
        to = stopped(number)
        request = asked(number, to)
        second = admin_of(number.office)

        at_once([lambda r=request, u=second: approve(r, u), lambda n=number, t=to: receive(n, t, "STOP")])

        assert not verdict(number, to).allowed
        request.refresh_from_db()
        stop = ConsentEvent.objects.filter(recipient__e164=to, kind="opt_out").latest("pk")
        assert request.decided_event_id
        assert (request.decision == Decision.APPROVED) == (request.decided_event_id < stop.pk)
