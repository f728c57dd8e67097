"""Where carriers post: each in its own format, verified as that carrier signs, answered after the commit."""

from __future__ import annotations

import logging

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, InternalError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from messaging import inbound, problems
from messaging.carriers.base import Refused, WebhookRequest
from messaging.carriers.registry import CARRIERS
from offices.models import CarrierAccount

log = logging.getLogger(__name__)


@csrf_exempt
def webhook(request: HttpRequest, carrier: str, public_id: str) -> HttpResponse:
    """Take one request of `carrier` for the account with `public_id`.

    403 for what is not genuine (nothing is stored), 422 for what is genuine but not understood (kept), 503 when the
    database is away, so that the carrier comes again.
    """
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        body = request.body
        account = CarrierAccount.objects.filter(public_id=public_id, carrier=carrier).first()
        if account is None:
            return problems.problem(404, "Not found", "There is no carrier account at this address.")
        taken = WebhookRequest(
            method=request.method,
            url=f"{settings.PUBLIC_URL}{request.get_full_path()}",
            body=body,
            content_type=request.headers.get("Content-Type", ""),
            headers=dict(request.headers),
        )
        CARRIERS[carrier].verify(account.credentials, taken)
        received = inbound.take(account, taken)
    except Refused as error:
        log.warning("refused a request for %s account %s: %s", carrier, public_id, error)
        return problems.problem(403, "Not genuine", str(error))
    except RequestDataTooBig:
        return problems.too_large()
    except UnreadablePostError:
        return problems.cut_off()
    except (OperationalError, InterfaceError, InternalError):
        log.exception("the database is away")
        return problems.unavailable()
    if not received.understood:
        return not_understood(received)
    content_type, answer = CARRIERS[carrier].answer()
    return HttpResponse(answer, content_type=content_type)


def not_understood(received: inbound.Received) -> HttpResponse:
    """422: kept as received; the operator finds it under the receipt's id."""
    assert received.receipt is not None
    return problems.problem(422, "The text could not be understood", received.error, receipt=received.receipt.pk)
