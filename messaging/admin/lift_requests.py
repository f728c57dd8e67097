"""Lifting requests: asking to lift an opt-out, and the page on which a second company admin decides."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextareaWidget

from messaging import lifting
from messaging.admin.columns import BlockColumns, moment, row_link, who, whole_text
from messaging.admin.looking import LookingAdmin
from messaging.admin.searching import NumberSearch
from messaging.models import ConsentEvent, LiftRequest, OptOut
from offices import access, e164
from offices.admin import pages
from offices.filters import ScopedRelatedFilter
from offices.models import User
from offices.scoped_admin import ScopedAdmin

MOST_SHOWN = 50
Decision = LiftRequest.Decision
SAID = {
    Decision.APPROVED: "Approved: the opt-out is lifted.",
    Decision.REFUSED: "Refused: the opt-out stays.",
    Decision.WITHDRAWN: "Withdrawn: the opt-out stays.",
}


class EvidenceForm(forms.Form):
    evidence = forms.CharField(
        label="Evidence of new consent",
        min_length=15,
        max_length=4000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 5}),
        help_text="Who consented, to which texts, when and in which written form; where it is kept. "
        "The record keeps it with your name.",
        error_messages={
            "required": "Say who consented, to what, when, and where that is kept in writing.",
            "min_length": "Say who consented, to what and when: at least %(limit_value)d characters.",
        },
    )


class DecisionForm(forms.Form):
    decision = forms.ChoiceField(choices=[(one.value, one.label) for one in SAID], widget=forms.HiddenInput)
    note = forms.CharField(
        label="Note",
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Needed when you refuse. The record keeps it with your name.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("decision") == Decision.REFUSED and not cleaned.get("note"):
            self.add_error("note", "Say why you refuse it.")
        return cleaned


def ask_page(model_admin: ScopedAdmin, request: HttpRequest, opt_out: OptOut) -> HttpResponse:
    """Ask to lift the opt-out; or why that cannot be."""
    back = redirect(pages.address_of(opt_out))
    if why_not := lifting.obstacle(opt_out):
        messages.error(request, why_not)
        return back
    form = EvidenceForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        assert isinstance(request.user, User)
        _, why_not = lifting.ask(opt_out.pk, user=request.user, evidence=form.cleaned_data["evidence"])
        if why_not:
            messages.error(request, why_not)
        else:
            messages.success(request, "Asked. The opt-out stays in force until another company admin has approved it.")
        return back
    answer = pages.ask_first(
        model_admin,
        request,
        opt_out,
        title="Ask to lift this opt-out",
        explanation=f"{opt_out.recipient} opted out, and can lift it by texting UNSTOP. Lift it by hand only on "
        "written evidence of consent given since. Another company admin of yours has to approve it; "
        "until then nothing changes.",
        button="Ask for approval",
        form=form,
    )
    answer.status_code = 422 if form.is_bound else 200
    return answer


@admin.register(LiftRequest)
class LiftRequestAdmin(NumberSearch, LookingAdmin):
    list_title = "Lifting requests"
    list_display = ["shown_recipient", "company", "shown_scope", "asked_by", "shown_requested_at", "state"]
    list_select_related = ["recipient", "company", "requested_by", "opt_out__campaign"]
    list_filter = [("decision", ChoicesDropdownFilter), ("company", ScopedRelatedFilter)]
    linked_lookups = ["recipient"]
    ordering = ["-pk"]
    sortable_by = ()
    actions = None
    fieldsets = [
        (None, {"fields": ["decision", "linked_recipient", "linked_opt_out", "shown_scope", "company"]}),
        ("Asked", {"fields": ["asked_by", "shown_requested_at", "shown_evidence", "linked_requested_event"]}),
        ("Decided", {"fields": ["settled_by", "shown_decided_at", "note", "linked_decided_event"]}),
    ]
    actions_detail = ["decide_it"]

    def has_decide_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        row = obj if isinstance(obj, LiftRequest) else LiftRequest.objects.filter(pk=obj).first()
        return row is not None and row.is_waiting and access.is_company_admin(request.user, row.company_id)

    @action(
        description="Decide",
        permissions=["decide"],
        url_path="decide",
        icon="gavel",
        variant=ActionVariant.PRIMARY,
    )
    def decide_it(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found = self.get_object(request, object_id)
        if found is None:
            raise Http404
        assert isinstance(found, LiftRequest)
        assert isinstance(request.user, User)
        form = DecisionForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            wanted = Decision(form.cleaned_data["decision"])
            settled, why_not = lifting.decide(found.pk, wanted, user=request.user, note=form.cleaned_data["note"])
            if why_not:
                messages.error(request, why_not)
            else:
                messages.success(request, SAID[Decision(settled.decision)])
            return redirect(pages.address_of(found))
        opt_out = found.opt_out
        freed, still = lifting.freed(opt_out)
        context = {
            "title": "Decide about lifting an opt-out",
            "form": form,
            "lift_request": found,
            "is_own": found.requested_by_id == request.user.pk,
            "overtaken": lifting.overtaken(found),
            "scope": BlockColumns().shown_scope(opt_out),
            "opt_out_text": opt_out.text,
            "opted_out": moment(opt_out.texted_at),
            "texted": e164.show(opt_out.texted_number),
            "asked": moment(found.requested_at),
            "freed": [(number, number.office) for number in freed[:MOST_SHOWN]],
            "freed_count": len(freed),
            "more": max(0, len(freed) - MOST_SHOWN),
            "still_count": len(still),
            "back": pages.address_of(found),
        }
        answer = pages.page(self, request, "messaging/admin/lift_decide.html", found, context)
        answer.status_code = 422 if form.is_bound else 200
        return answer

    @display(description="recipient", header=True)
    def shown_recipient(self, row: LiftRequest) -> tuple[str, str]:
        return who(row.recipient)

    @display(description="recipient")
    def linked_recipient(self, row: LiftRequest) -> Any:
        return row_link(row.recipient)

    @display(description="opt-out")
    def linked_opt_out(self, row: LiftRequest) -> Any:
        return row_link(row.opt_out)

    @display(description="would allow texts from")
    def shown_scope(self, row: LiftRequest) -> str:
        return BlockColumns().shown_scope(row.opt_out)

    @display(
        description="state",
        label={
            Decision.WAITING: "warning",
            Decision.APPROVED: "success",
            Decision.REFUSED: "danger",
            Decision.WITHDRAWN: "",
        },
    )
    def state(self, row: LiftRequest) -> tuple[str, str]:
        return row.decision, row.get_decision_display()

    @display(description="asked by")
    def asked_by(self, row: LiftRequest) -> str:
        return str(row.requested_by)

    @display(description="decided by")
    def settled_by(self, row: LiftRequest) -> str:
        return str(row.decided_by or "-")

    @display(description="asked")
    def shown_requested_at(self, row: LiftRequest) -> str:
        return moment(row.requested_at)

    @display(description="decided")
    def shown_decided_at(self, row: LiftRequest) -> str:
        return moment(row.decided_at)

    @display(description="evidence")
    def shown_evidence(self, row: LiftRequest) -> Any:
        return whole_text(row.evidence)

    @display(description="in the record")
    def linked_requested_event(self, row: LiftRequest) -> Any:
        return self._entry(row.requested_event)

    @display(description="in the record")
    def linked_decided_event(self, row: LiftRequest) -> Any:
        return self._entry(row.decided_event) if row.decided_event else "-"

    def _entry(self, event: ConsentEvent) -> Any:
        return row_link(event, f"Entry {event.pk}")
