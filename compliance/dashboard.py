"""The admin's first page: what waits for somebody, then the figures, all of it within what the user may see.

Every query ends after a bounded number of rows, so that the page costs a company with a hundred million texts
what it costs one with a hundred thousand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, Exists, Model, OuterRef, Q, QuerySet
from django.db.models.functions import TruncDate, TruncWeek
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.text import Truncator

from messaging import throughput
from messaging.models import ConsentEvent, Hold, Message, OptOut, WebhookReceipt
from offices import access
from offices.models import Campaign, CampaignAssignment, CarrierAccount, Number, User

DAYS = 30
WEEKS = 12
NEWEST_TEXTS = 50_000  # what the figures are drawn from
NEWEST_EVENTS = 20_000
MOST_COUNTED = 99
# Both are told apart by more than their colour: one is above the other, and the legend names them.
INK = {"in": "var(--color-primary-300)", "out": "var(--color-primary-600)"}
CONSENT_INK = {"out": "#d9534a", "in": "#3aa76d"}


@dataclass(frozen=True)
class Due:
    """Something that waits for somebody: how much of it, in words, and where to go."""

    count: str
    title: str
    detail: str
    link: str
    icon: str
    tone: str  # "bad", "wait" or "note"


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's callback for the admin's index: `context` with all that templates/admin/index.html shows."""
    now = timezone.now()
    user = request.user
    texts = _texts_by_day(user, now)
    holds = _holds(user)
    context.update(
        title="Dashboard",
        due=[item for item in _due(user, now, texts["wrong"], holds) if item],
        holds=holds[:5],
        may_review=access.may(user, "review", Hold),
        texts=texts,
        consent=_consent_by_week(user, now) if access.may(user, "view", ConsentEvent) else None,
        opt_outs=_newest_opt_outs(user),
        has_a_place=access.is_operator(user) or bool(access.memberships(user)),
        links={
            "holds": _list(Hold),
            "opt_outs": _list(OptOut),
            "record": _list(ConsentEvent),
            "conversations": reverse("admin:messaging_conversation_changelist"),
        },
    )
    return context


def _list(model: type[Model], query: str = "") -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") + query


def _counted(rows: QuerySet[Any]) -> str:
    """How many, as short as a badge; "" for none."""
    found = rows.order_by()[: MOST_COUNTED + 1].count()
    return f"{MOST_COUNTED}+" if found > MOST_COUNTED else str(found or "")


def _holds(user: User | Any) -> list[Hold]:
    waiting = access.visible_to(user, Hold.objects.filter(closed_at__isnull=True))
    return list(waiting.select_related("recipient", "company").order_by("due_at")[: MOST_COUNTED + 1])


def _due(user: User | Any, now: datetime, wrong: int, holds: list[Hold]) -> Iterable[Due | None]:
    if holds:
        count = f"{MOST_COUNTED}+" if len(holds) > MOST_COUNTED else str(len(holds))
        first = timezone.localtime(holds[0].due_at)
        yield Due(
            count,
            "hold waits for review" if count == "1" else "holds wait for review",
            f"The first becomes an opt-out on {first:%A, %B} {first.day}.",
            _list(Hold),
            "front_hand",
            "bad" if holds[0].due_at - now < timedelta(days=2) else "wait",
        )
    if wrong:
        yield Due(
            str(wrong),
            "text went wrong in the last 24 hours" if wrong == 1 else "texts went wrong in the last 24 hours",
            "Failed, or nobody knows whether they left.",
            _list(Message),
            "sms_failed",
            "bad",
        )
    if access.may(user, "view", CarrierAccount):
        yield _failing_accounts(user)
    if access.is_operator(user):
        unread = _counted(WebhookReceipt.objects.filter(status=WebhookReceipt.Status.NOT_UNDERSTOOD))
        if unread:
            yield Due(
                unread,
                "received request was not understood" if unread == "1" else "received requests were not understood",
                "A carrier posted something genuine that the portal cannot read.",
                _list(WebhookReceipt),
                "move_to_inbox",
                "bad",
            )
    if access.may(user, "add", Number):
        yield _outside_campaigns(user)


def _failing_accounts(user: User | Any) -> Due | None:
    """Accounts that are in use and rest after failures: nothing leaves through them."""
    failing = CarrierAccount.objects.filter(is_active=True, health__failures__gte=throughput.FAILURES_UNTIL_PAUSE)
    rows = access.visible_to(user, failing).select_related("health").order_by("-health__last_failure_at")
    found = list(rows[: MOST_COUNTED + 1])
    if not found:
        return None
    first = found[0]
    single = len(found) == 1
    return Due(
        f"{MOST_COUNTED}+" if len(found) > MOST_COUNTED else str(len(found)),
        "carrier account fails" if single else "carrier accounts fail",
        f"{first}: {Truncator(first.health.last_failure).chars(100)}",
        reverse("admin:offices_carrieraccount_change", args=[first.pk]) if single else _list(CarrierAccount),
        "cell_tower",
        "bad",
    )


def _outside_campaigns(user: User | Any) -> Due | None:
    registered = CampaignAssignment.objects.filter(
        number=OuterRef("pk"), ends_at__isnull=True, campaign__status=Campaign.Status.REGISTERED
    )
    in_use = Number.objects.filter(given_up_at__isnull=True, kind=Number.Kind.TEN_DIGIT)
    count = _counted(access.visible_to(user, in_use, "change").exclude(Exists(registered)))
    if not count:
        return None
    return Due(
        count,
        "number is in no registered campaign" if count == "1" else "numbers are in no registered campaign",
        "A STOP to one of them blocks the whole company.",
        _list(Number, "?campaign=unregistered"),
        "campaign",
        "note",
    )


def _texts_by_day(user: User | Any, now: datetime) -> dict[str, Any]:
    """Texts in and out on each of the last 30 days, and how many went wrong since yesterday."""
    newest = access.visible_to(user, Message).order_by("-pk").values("pk")[:NEWEST_TEXTS]
    today = timezone.localdate(now)
    since = today - timedelta(days=DAYS - 1)
    went_wrong = Q(
        direction=Message.Direction.OUT,
        state__in=[Message.State.FAILED, Message.State.UNCERTAIN],
        created_at__gte=now - timedelta(hours=24),
    )
    rows = list(
        Message.objects.filter(pk__in=newest, created_at__gte=_midnight(since))
        .exclude(channel=Message.Channel.CHAT)
        .annotate(day=TruncDate("created_at"))
        .values("day", "direction")
        .annotate(count=Count("pk"), wrong=Count("pk", filter=went_wrong))
        .order_by()
    )
    counts = {(row["day"], row["direction"]): row["count"] for row in rows}
    days = [since + timedelta(days=n) for n in range(DAYS)]
    received = [counts.get((day, Message.Direction.IN), 0) for day in days]
    sent = [counts.get((day, Message.Direction.OUT), 0) for day in days]
    return {
        "received": sum(received),
        "sent": sum(sent),
        "wrong": sum(row["wrong"] for row in rows),
        "is_part": sum(received) + sum(sent) >= NEWEST_TEXTS,
        "chart": _chart([_day(day) for day in days], [("Received", received, INK["in"]), ("Sent", sent, INK["out"])]),
    }


def _consent_by_week(user: User | Any, now: datetime) -> dict[str, Any]:
    """Opt-outs and opt-ins in each of the last twelve weeks, by the record."""
    kind = ConsentEvent.Kind
    out = {kind.OPT_OUT, kind.CARRIER, kind.IMPORT}
    meant = access.visible_to(user, ConsentEvent.objects.filter(kind__in=[*out, kind.OPT_IN]))
    today = timezone.localdate(now)
    monday = today - timedelta(days=today.weekday())
    weeks = [monday - timedelta(weeks=n) for n in reversed(range(WEEKS))]
    rows = (
        ConsentEvent.objects.filter(
            pk__in=meant.order_by("-pk").values("pk")[:NEWEST_EVENTS], received_at__gte=_midnight(weeks[0])
        )
        .annotate(week=TruncWeek("received_at"))
        .values("week", "kind")
        .annotate(count=Count("pk"))
        .order_by()
    )
    outs, ins = dict.fromkeys(weeks, 0), dict.fromkeys(weeks, 0)
    for row in rows:
        week = timezone.localdate(row["week"])
        side = outs if row["kind"] in out else ins
        if week in side:
            side[week] += row["count"]
    return {
        "opt_outs": sum(outs.values()),
        "opt_ins": sum(ins.values()),
        "chart": _chart(
            [_day(week) for week in weeks],
            [("Opt-outs", [*outs.values()], CONSENT_INK["out"]), ("Opt-ins", [*ins.values()], CONSENT_INK["in"])],
        ),
    }


def _newest_opt_outs(user: User | Any) -> list[OptOut]:
    rows = access.visible_to(user, OptOut).select_related("recipient", "campaign", "company")
    return list(rows.order_by("-pk")[:8])


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime(day.year, day.month, day.day))


def _day(day: date) -> str:
    return f"{day:%b} {day.day}"


def _chart(labels: list[str], series: list[tuple[str, list[int], str]]) -> dict[str, str]:
    """Data and options of a bar chart as Unfold's component wants them."""
    weak = "#8b93a1"  # readable on white and on the dark ground
    axis: dict[str, Any] = {"border": {"display": False}, "ticks": {"color": weak, "precision": 0}}
    options = {
        "responsive": True,
        "maintainAspectRatio": False,
        "animation": False,
        "barPercentage": 0.85,
        "categoryPercentage": 0.8,
        "interaction": {"mode": "index", "intersect": False},
        "plugins": {
            "legend": {
                "display": True,
                "position": "top",
                "align": "end",
                "labels": {"color": weak, "boxWidth": 10, "boxHeight": 10, "useBorderRadius": True, "borderRadius": 3},
            }
        },
        "scales": {
            "x": {**axis, "grid": {"display": False}, "ticks": {**axis["ticks"], "maxTicksLimit": 8, "maxRotation": 0}},
            "y": {**axis, "beginAtZero": True, "suggestedMax": 4, "ticks": {**axis["ticks"], "maxTicksLimit": 5}},
        },
    }
    datasets = [
        {"label": label, "data": data, "backgroundColor": ink, "borderRadius": 3} for label, data, ink in series
    ]
    return {"data": json.dumps({"labels": labels, "datasets": datasets}), "options": json.dumps(options)}
