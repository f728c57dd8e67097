"""The admin's frame: the sidebar by task, the badge of the environment, the stylesheet."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

from messaging.models import ConsentEvent, Conversation, Hold, LiftRequest, Message, OptOut, Recipient, WebhookReceipt
from offices import access
from offices.models import ApiToken, Campaign, CarrierAccount, Company, Membership, Number, Office, User

MOST_ON_A_BADGE = 99


def stylesheet(request: HttpRequest) -> str:
    return static("portal/portal.css")


def favicon(request: HttpRequest) -> str:
    return static("portal/favicon.svg")


def environment_badge(request: HttpRequest) -> tuple[str, str] | None:
    """What stands beside the title wherever this is not the real thing."""
    if settings.DEMO:
        return "Demo", "info"
    return ("Development", "warning") if settings.DEBUG else None


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar's groups, with nothing in them that the user may not see."""
    groups = [
        ("Texting", [
            _list(request, "Conversations", "forum", Conversation),
            _list(request, "Opt-outs", "block", OptOut),
            _holds(request),
            _lift_requests(request),
            _list(request, "Recipients", "contacts", Recipient),
            _list(request, "Record", "history_edu", ConsentEvent),
            _list(request, "Failed texts", "sms_failed", Message),
        ]),
        ("Organization", [
            _list(request, "Offices", "storefront", Office),
            _list(request, "Numbers", "dialpad", Number),
            _list(request, "Campaigns", "campaign", Campaign),
            _list(request, "People", "group", Membership),
        ]),
        ("Settings", [
            _company_settings(request),
            _list(request, "Carrier accounts", "cell_tower", CarrierAccount),
            _list(request, "API tokens", "key", ApiToken),
        ]),
        ("Operator", _operators(request)),
        ("Try it out", _simulator()),
    ]  # fmt: skip
    # The title stays out where nothing follows; the dashboard stands alone at the top.
    shown: list[dict[str, Any]] = [
        {"items": [{"title": "Dashboard", "icon": "space_dashboard", "link": reverse("admin:index")}]}
    ]
    for title, items in groups:
        if kept := [item for item in items if item]:
            shown.append({"title": title, "separator": True, "items": kept})
    return shown


def _list(request: HttpRequest, title: str, icon: str, model: type[Model]) -> dict[str, Any] | None:
    if not access.may(request.user, "view", model):
        return None
    return {"title": title, "icon": icon, "link": _changelist(model)}


def _changelist(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def _holds(request: HttpRequest) -> dict[str, Any] | None:
    item = _list(request, "Holds", "front_hand", Hold)
    waiting = holds_waiting(request) if item else ""
    return {**item, "badge": waiting, "badge_variant": "warning"} if item and waiting else item


def _lift_requests(request: HttpRequest) -> dict[str, Any] | None:
    item = _list(request, "Lifting requests", "lock_open", LiftRequest)
    undecided = LiftRequest.objects.filter(decision=LiftRequest.Decision.WAITING)
    waiting = _as_badge(access.visible_to(request.user, undecided)) if item else ""
    return {**item, "badge": waiting, "badge_variant": "warning"} if item and waiting else item


def holds_waiting(request: HttpRequest) -> str:
    """How many holds wait for review, as short as a badge."""
    return _as_badge(access.visible_to(request.user, Hold.objects.filter(closed_at__isnull=True)))


def _as_badge(rows: QuerySet[Any]) -> str:
    """How many there are: "", "7", "99+"."""
    found = rows.order_by()[: MOST_ON_A_BADGE + 1].count()
    return f"{MOST_ON_A_BADGE}+" if found > MOST_ON_A_BADGE else str(found or "")


def _company_settings(request: HttpRequest) -> dict[str, Any] | None:
    """Straight to the form for those who have one company; operators find companies under their own title."""
    if access.is_operator(request.user):
        return None
    own = list(access.visible_to(request.user, Company).values_list("pk", flat=True)[:2])
    if not own:
        return None
    link = reverse("admin:offices_company_change", args=own) if len(own) == 1 else _changelist(Company)
    return {"title": "Company settings", "icon": "tune", "link": link}


def _operators(request: HttpRequest) -> list[dict[str, Any] | None]:
    if not access.is_operator(request.user):
        return []
    return [
        _list(request, "Companies", "domain", Company),
        _list(request, "Received requests", "move_to_inbox", WebhookReceipt),
        _list(request, "Logins", "badge", User),
    ]


def _simulator() -> list[dict[str, Any] | None]:
    if not (settings.DEMO or settings.DEBUG):
        return []
    return [{"title": "Phone simulator", "icon": "smartphone", "link": reverse("messaging:simulator")}]
