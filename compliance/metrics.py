"""Figures for Prometheus, read from the database at each scrape: the same from every process, and bounded in cost."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError
from django.db.models import Min, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from messaging.models import Hold, Message, WebhookReceipt

# A figure says no more than this: more is more than anybody works off, and counting it would take longer.
MOST_COUNTED = 10_000


class Figures(Collector):
    """What whoever is paged wants to know first. No company, no person, no number is named."""

    def collect(self) -> Iterable[Metric]:
        now = timezone.now()
        due = Message.objects.filter(next_attempt_at__lte=now)
        waiting = Hold.objects.filter(closed_at__isnull=True)
        oldest = due.aggregate(at=Min("next_attempt_at"))["at"]
        next_due = waiting.aggregate(at=Min("due_at"))["at"]
        yield _gauge("portal_texts_due", "Texts that a worker should hand over now.", _count(due))
        yield _gauge(
            "portal_oldest_due_text_age_seconds",
            "How long the longest due text waits; 0 when none does. Over a minute: is a worker running?",
            (now - oldest).total_seconds() if oldest else 0,
        )
        yield _gauge(
            "portal_texts_uncertain",
            "Texts of which nobody knows whether they left.",
            _count(Message.objects.filter(state=Message.State.UNCERTAIN)),
        )
        yield _gauge("portal_holds_waiting", "Near misses that wait for a person.", _count(waiting))
        yield _gauge(
            "portal_next_hold_due_seconds",
            "Until the next unreviewed hold becomes an opt-out; 0 when none waits.",
            (next_due - now).total_seconds() if next_due else 0,
        )
        yield _gauge(
            "portal_requests_not_understood",
            "Genuine requests of carriers that wait for an operator.",
            _count(WebhookReceipt.objects.filter(status=WebhookReceipt.Status.NOT_UNDERSTOOD)),
        )


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=value)


def _count(rows: QuerySet) -> int:
    return rows.order_by()[:MOST_COUNTED].count()


@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """The figures, for whoever has METRICS_TOKEN as a bearer token; not there at all while that is unset."""
    if not settings.METRICS_TOKEN:
        raise Http404
    expected = f"Bearer {settings.METRICS_TOKEN}".encode()
    if not hmac.compare_digest(request.headers.get("Authorization", "").encode("utf-8", "surrogateescape"), expected):
        return HttpResponse("A token is needed.\n", status=401, headers={"WWW-Authenticate": "Bearer"})
    registry = CollectorRegistry(auto_describe=False)
    try:
        registry.register(Figures())
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
    except (OperationalError, InterfaceError, InternalError):
        return HttpResponse("The database cannot be reached.\n", status=503)
