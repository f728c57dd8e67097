"""Where carriers post: each in its own format, verified as that carrier signs, answered after the commit."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, InternalError, OperationalError
from django.db.models import F
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.request import UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from messaging import inbound, problems
from messaging.carriers import http
from messaging.carriers.base import CarrierError, Refused, WebhookRequest
from messaging.carriers.reading import storable
from messaging.carriers.registry import CARRIERS
from messaging.models import CarrierHealth
from offices.models import CarrierAccount

log = logging.getLogger(__name__)

# The time of the last genuine webhook is written no more often: it is for people.
NOTED_EVERY = timedelta(seconds=10)


@csrf_exempt
def webhook(request: HttpRequest, carrier: str, public_id: str) -> HttpResponse:
    """Take one request of `carrier` for the account with `public_id`.

    403 for what is not genuine (nothing of it is stored, only counted), 422 for what is genuine but not understood
    (kept), 503 when the database is away, so that the carrier comes again.
    """
    if request.method not in ("POST", "GET", "HEAD"):
        return HttpResponseNotAllowed(["POST", "GET", "HEAD"])
    try:
        account = CarrierAccount.objects.select_related("health").filter(public_id=public_id, carrier=carrier).first()
        if account is None:
            return problems.problem(404, "Not found", "There is no carrier account at this address.")
        if request.method != "POST" and not request.META.get("QUERY_STRING"):
            # Some carriers look whether anybody is there before they take the address; so do people.
            return HttpResponse("Texts and statuses for this account are taken here.\n", content_type="text/plain")
        return _take(account, request)
    except RequestDataTooBig:
        return problems.too_large()
    except UnreadablePostError:
        return problems.cut_off()
    except (OperationalError, InterfaceError, InternalError):
        log.exception("the database is away")
        return problems.unavailable()


def _take(account: CarrierAccount, request: HttpRequest) -> HttpResponse:
    adapter = CARRIERS[account.carrier]
    taken = WebhookRequest(
        method=request.method or "",
        url=f"{settings.PUBLIC_URL}{request.get_full_path()}",
        body=request.body,
        content_type=request.headers.get("Content-Type", ""),
        headers=dict(request.headers),
    )
    credentials = account.credentials
    try:
        adapter.verify(credentials, taken)
    except Refused as error:
        # With a secret that only the right SECRET_KEY opens it may be genuine: then it must come again.
        return _refused(account, error, come_again=error.come_again or bool(credentials.unreadable))
    received = inbound.take(account, taken)
    note_genuine(account)
    if not received.understood:
        return not_understood(received)
    for url in received.visits:
        try:
            answer = http.get(url)
        except CarrierError as error:
            log.warning("%s account %s: the address to confirm did not answer: %s", account.carrier, account.pk, error)
            return problems.unavailable()
        if not answer.is_success:
            log.warning("%s account %s: confirming was answered %s", account.carrier, account.pk, answer.status_code)
            return problems.unavailable()
    content_type, body = adapter.answer()
    return HttpResponse(body, content_type=content_type)


def _refused(account: CarrierAccount, error: Refused, *, come_again: bool) -> HttpResponse:
    why = storable(str(error))[:500]  # it may quote what was posted
    log.warning("refused a request for %s account %s: %s", account.carrier, account.pk, why)
    CarrierHealth.note(account, last_refused_at=timezone.now(), last_refusal=why, refused=F("refused") + 1)
    if come_again:
        return problems.problem(503, "Not genuine as it came", why)
    return problems.problem(403, "Not genuine", why)


def note_genuine(account: CarrierAccount) -> None:
    """Write down, now and then, that the carrier reaches us."""
    now = timezone.now()
    health = getattr(account, "health", None)
    last = health.last_genuine_at if health else None
    refused = health.last_refused_at if health else None
    # At once after a refusal: whoever has just changed a secret looks which of the two came last.
    if last is None or last < now - NOTED_EVERY or (refused and refused > last):
        CarrierHealth.note(account, last_genuine_at=now)


def not_understood(received: inbound.Received) -> HttpResponse:
    """422: kept as received; the operator finds it under the receipt's id."""
    assert received.receipt is not None
    return problems.problem(422, "The text could not be understood", received.error, receipt=received.receipt.pk)
