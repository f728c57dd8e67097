"""Errors of the API as application/problem+json (RFC 9457): what is wrong, in which field, how to mend it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, InternalError, OperationalError
from django.http import Http404, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import exception_handler

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = "5"


def problem(code: int, title: str, detail: str = "", **more: Any) -> HttpResponse:
    """A problem as a plain response. `more` are further members, such as `errors` or `verdict`."""
    body = {"type": "about:blank", "title": title, "status": code, "detail": detail, **more}
    return JsonResponse(body, status=code, content_type=CONTENT_TYPE)


def problem_response(error: Exception, context: dict[str, Any]) -> Response | HttpResponse | None:
    """DRF's exception handler. A database that is away, or a replica that only reads, is 503, so that the caller comes
    again; other faults rise."""
    if isinstance(error, (OperationalError, InterfaceError, InternalError)):
        return unavailable()
    if isinstance(error, RequestDataTooBig):
        return too_large()
    if isinstance(error, UnreadablePostError):
        return cut_off()
    if isinstance(error, RecursionError):  # of the JSON reader: nothing of ours recurses
        error = exceptions.ParseError("The JSON is nested too deeply.")
    response = exception_handler(error, context)
    if response is None:
        return None
    more: dict[str, Any] = {}
    if isinstance(error, exceptions.ValidationError):
        more["errors"] = _by_field(error.detail)
        detail = "; ".join(f"{field}: {' '.join(found)}" for field, found in more["errors"].items())
    elif isinstance(error, Http404 | PermissionDenied):
        detail = str(error) or "There is no such thing here, or this token may not see it."
    else:
        detail = str(getattr(error, "detail", error))
    title = {
        400: "The request cannot be read",
        401: "A token is needed",
        403: "This token may not do that",
        404: "Not found",
        405: "Method not allowed",
        413: "The request is too large",
        415: "The content type is not supported",
        429: "Too many requests",
    }.get(response.status_code, "The request failed")
    answer = problem(response.status_code, title, detail, **more)
    for name in ("WWW-Authenticate", "Retry-After", "Allow"):
        if name in response.headers:
            answer[name] = response.headers[name]
    return answer


def unavailable() -> HttpResponse:
    """503: nothing was stored, come again."""
    answer = problem(
        status.HTTP_503_SERVICE_UNAVAILABLE,
        "The database cannot be reached",
        "Nothing was stored. Send the same request again in a few seconds.",
    )
    answer["Retry-After"] = RETRY_SECONDS
    return answer


def too_large() -> HttpResponse:
    return problem(
        413,
        "The request is too large",
        f"At most {settings.WEBHOOK_MAX_BYTES} bytes. Send media as addresses.",
    )


def cut_off() -> HttpResponse:
    return problem(400, "The request was cut off", "Send it again.")


def _by_field(detail: Any, name: str = "") -> dict[str, list[str]]:
    """DRF's nested errors, flat: {"pairs.3.to": ["..."]}."""
    if isinstance(detail, dict):
        found: dict[str, list[str]] = {}
        for key, value in detail.items():
            found |= _by_field(value, f"{name}.{key}" if name else str(key))
        return found
    if isinstance(detail, list) and any(isinstance(one, dict | list) for one in detail):
        found = {}
        for index, value in enumerate(detail):
            if value:
                found |= _by_field(value, f"{name}.{index}" if name else str(index))
        return found
    return {name or "request": [str(one) for one in (detail if isinstance(detail, list) else [detail])]}
