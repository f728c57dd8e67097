"""Deciding over rows from their list or page: a question with the rows it is about, a reason, one button."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from unfold.widgets import UnfoldAdminTextareaWidget

from messaging.admin.looking import LookingAdmin
from offices import access
from offices.models import User

MOST_AT_ONCE = 50


@dataclass(frozen=True)
class Decision:
    """One thing to decide. `decide(row, user, reason)` does it and returns "", or a sentence that says why not.

    `reason` is "required", "welcome", or "" where none is asked for. `done` says what was done to {count} rows.
    """

    slug: str
    title: str
    question: str
    button: str
    done: str
    decide: Callable[[Any, User, str], str]
    reason: str = ""


class DecidingAdmin(LookingAdmin):
    """Read only, but for its `decisions`: whoever has the right `decision_right` takes them.

    Every button leads to a page with the question, so that nothing happens by following a link.
    """

    decisions: Sequence[Decision] = ()
    decision_right = "change"
    list_disable_select_all = True

    def undecided(self, rows: QuerySet) -> QuerySet:
        """Those of `rows` that there is still something to decide about, with what `described` reads."""
        raise NotImplementedError

    def described(self, row: Any) -> tuple[str, str]:
        """A row on the page that asks: its title, and what one must read before deciding."""
        raise NotImplementedError

    def has_decide_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, self.decision_right, obj)

    def get_urls(self) -> list[URLPattern]:
        ask = path("decide/<slug:slug>/", self.admin_site.admin_view(self.decide_view), name=self._decide_url_name)
        return [ask, *super().get_urls()]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """No buttons on the page of a row that is settled."""
        if not self.undecided(self.get_queryset(request).filter(pk=object_id)).exists():
            return []
        actions: list[Any] = super().get_actions_detail(request, object_id)
        return actions

    def ask(self, slug: str, ids: Iterable[Any]) -> HttpResponse:
        """To the page that asks."""
        address = reverse(f"admin:{self._decide_url_name}", args=[slug])
        return redirect(f"{address}?{urlencode({'id': list(ids)[:MOST_AT_ONCE]}, doseq=True)}")

    def decide_view(self, request: HttpRequest, slug: str) -> HttpResponse:
        decision = next((one for one in self.decisions if one.slug == slug), None)
        if decision is None:
            raise Http404
        if not self.has_decide_permission(request):
            raise PermissionDenied
        user = request.user
        assert isinstance(user, User)
        ids = [one for one in request.GET.getlist("id") if re.fullmatch(r"\d{1,18}", one)][:MOST_AT_ONCE]
        in_reach = access.visible_to(user, self.model, self.decision_right)
        rows = list(self.undecided(in_reach.filter(pk__in=ids)))
        back = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        if not rows:
            messages.info(request, "There is nothing left to decide: somebody else was faster.")
            return redirect(back)
        form = ReasonForm(request.POST if request.method == "POST" else None, wanted=decision.reason)
        if form.is_valid():
            self._decide(request, decision, rows, form.cleaned_data.get("reason", ""))
            return redirect(back)
        context = {
            **self.admin_site.each_context(request),
            "title": decision.title,
            "trail": [
                {"title": self.list_title, "link": back},
                {"title": decision.title},
            ],
            "opts": self.opts,
            "decision": decision,
            "rows": [self.described(row) for row in rows],
            "form": form,
            "back": back,
        }
        status = 422 if form.is_bound else 200
        return render(request, "messaging/admin/decide.html", context, status=status)

    def _decide(self, request: HttpRequest, decision: Decision, rows: list[Any], reason: str) -> None:
        failed = [problem for row in rows if (problem := decision.decide(row, request.user, reason))]  # type: ignore[arg-type]
        if count := len(rows) - len(failed):
            words = self.opts.verbose_name if count == 1 else self.opts.verbose_name_plural
            messages.success(request, decision.done.format(count=count, rows=words))
        for problem in failed[:5]:
            messages.error(request, problem)
        if len(failed) > 5:
            messages.error(request, f"And {len(failed) - 5} more.")

    @property
    def _decide_url_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_decide"


class ReasonForm(forms.Form):
    """Why; kept in the record where there is one."""

    reason = forms.CharField(
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        error_messages={"required": "Say why. The record keeps it with your name."},
    )

    def __init__(self, *args: Any, wanted: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not wanted:
            del self.fields["reason"]
        elif wanted == "welcome":
            self.fields["reason"].required = False
            self.fields["reason"].label = "Reason (may stay empty)"
