"""The API for carriers, gateways and integrations: deliver a text, ask the gate, send, read the record."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import exceptions, pagination
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from messaging import gate, inbound, outbox, webhooks
from messaging.carriers.base import Media, WebhookRequest
from messaging.models import ConsentEvent, Message, OptOut
from messaging.problems import CONTENT_TYPE, problem
from messaging.serializers import (
    CheckSerializer,
    ConsentEventSerializer,
    InboundAnswerSerializer,
    InboundSerializer,
    MessageSerializer,
    NotUnderstoodSerializer,
    OptOutSerializer,
    ProblemSerializer,
    RefusedSerializer,
    SendSerializer,
    VerdictSerializer,
    VerdictsSerializer,
)
from offices import access, e164
from offices.models import ApiToken, Number

PROBLEMS: dict[Any, Any] = {(status, CONTENT_TYPE): ProblemSerializer for status in (400, 401, 403, 503)}
POST_PROBLEMS = PROBLEMS | {(413, CONTENT_TYPE): ProblemSerializer}
JSON_PROBLEMS = POST_PROBLEMS | {(415, CONTENT_TYPE): ProblemSerializer}


ONE_OR_MANY = PolymorphicProxySerializer("OneOrManyVerdicts", [VerdictSerializer, VerdictsSerializer], None)


def token_of(request: Request) -> ApiToken:
    token = request.auth
    assert isinstance(token, ApiToken)  # HasScope has seen to it
    return token


class InboundView(APIView):
    """Deliver one received text."""

    scope = ApiToken.Scope.INBOUND

    @extend_schema(
        summary="Deliver a received text",
        request=InboundSerializer,
        responses={
            200: InboundAnswerSerializer,
            201: InboundAnswerSerializer,
            (422, CONTENT_TYPE): NotUnderstoodSerializer,
            **POST_PROBLEMS,
        },
        examples=[
            OpenApiExample(
                "A STOP",
                request_only=True,
                value={
                    "from": "+12025550143",
                    "to": "+12125550100",
                    "text": "STOP",
                    "media": [],
                    "message_id": "b6f0c2d1",
                    "received_at": "2026-11-23T18:30:00Z",
                },
            ),
            OpenApiExample(
                "It opted out",
                response_only=True,
                status_codes=["201"],
                value={"outcome": "opted_out", "duplicate": False, "message": 4711},
            ),
        ],
    )
    def post(self, request: Request) -> Response | HttpResponse:
        """The answer comes after the commit: 201 for a new text, 200 for one that came before and for a status
        (`{"message_id" or "reference", "status": "sent", "delivered" or "failed", "error", "opted_out"}`). 422 means
        that it could not be understood and is kept for the operator; sending it again is of no use."""
        account = token_of(request).account
        assert account is not None  # a constraint: who may deliver has an account
        raw = request._request
        content_type = raw.headers.get("Content-Type", "")
        received = inbound.take(
            account, WebhookRequest("POST", raw.get_full_path(), raw.body, content_type, carrier="generic")
        )
        webhooks.note_genuine(account)
        if not received.understood:
            return webhooks.not_understood(received)
        if received.message is None:
            # What became of a text of ours, by a gateway that cannot sign.
            about = received.receipt.message_id if received.receipt else None
            return Response({"outcome": "status", "duplicate": False, "message": about}, status=200)
        answer = {
            "outcome": received.outcome,
            "duplicate": received.duplicate,
            "message": received.message.pk,
        }
        return Response(answer, status=200 if received.duplicate else 201)


class CheckView(APIView):
    """May this text go from this number to this person?"""

    scope = ApiToken.Scope.CHECK

    @extend_schema(
        summary="Ask the gate",
        request=CheckSerializer,
        responses={200: ONE_OR_MANY, **JSON_PROBLEMS},
        description='One question gives one verdict; `pairs` gives `{"verdicts": [...]}` in the same order. With `at`, '
        "it is what the gate said then, and `opt_out` names what was in force: see `at` and `opt_out` below. "
        "`channel: voice` is always allowed.",
        examples=[
            OpenApiExample("One", request_only=True, value={"from": "+12125550100", "to": "+12025550143"}),
            OpenApiExample(
                "Many, as of a past moment",
                request_only=True,
                value={
                    "pairs": [{"from": "+12125550100", "to": "+12025550143"}],
                    "channel": "sms",
                    "at": "2026-11-01T12:00:00Z",
                },
            ),
            OpenApiExample(
                "Blocked",
                response_only=True,
                status_codes=["200"],
                value={
                    "allowed": False,
                    "code": "opted_out_company",
                    "reason": "+1 202-555-0143 replied STOP on Nov 3, 2026 at 2:15 PM EST. Texts from every number of "
                    f"Acme Dental are blocked. {gate.CALLS}",
                    "scope": {"kind": "company", "campaign": None},
                    "opt_out": {
                        "id": 12,
                        "texted_number": "+12125550100",
                        "text": "STOP",
                        "at": "2026-11-03T19:15:00+00:00",
                        "event": 34,
                    },
                    "voice_allowed": True,
                },
            ),
        ],
    )
    def post(self, request: Request) -> Response:
        question = CheckSerializer(data=request.data)
        question.is_valid(raise_exception=True)
        asked = question.validated_data
        pairs = [(pair["from"], pair["to"]) for pair in asked.get("pairs", [asked] if "to" in asked else [])]
        if asked["channel"] == "voice":
            verdicts = [gate.VOICE] * len(pairs)
        else:
            verdicts = gate.check_addresses(token_of(request).company, pairs, at=asked.get("at"))
        answers = [verdict.as_dict() for verdict in verdicts]
        return Response({"verdicts": answers} if "pairs" in asked else answers[0])


class NewestFirst(pagination.CursorPagination):
    """Pages by row id: rows that come meanwhile shift none. A cursor that we did not write is a bad value."""

    ordering = "-pk"
    page_size = 100
    max_page_size = 1000
    page_size_query_param = "page_size"

    def decode_cursor(self, request: Request) -> Any:
        try:
            cursor = super().decode_cursor(request)
        except exceptions.NotFound:
            cursor, readable = None, False
        else:
            readable = cursor is None or re.fullmatch(r"[0-9]{1,18}", str(cursor.position or 0)) is not None
        if not readable:
            raise exceptions.ValidationError({"cursor": "Follow the links “next” and “previous” as they are."})
        return cursor

    def get_page_size(self, request: Request) -> int:
        asked = request.query_params.get("page_size", str(self.page_size))
        if not re.fullmatch(r"[0-9]{1,4}", asked) or not 1 <= int(asked) <= self.max_page_size:
            raise exceptions.ValidationError({"page_size": f"Write a number from 1 to {self.max_page_size}."})
        return int(asked)


class ReadView(ListAPIView[Any]):
    """A list of the token's company, newest first, by cursor; `since` and `until` bound its time."""

    scope = ApiToken.Scope.READ
    pagination_class = NewestFirst
    model: ClassVar[type[Model]]
    moment: ClassVar[str]
    filters: ClassVar[dict[str, str]] = {}
    numbers: ClassVar[dict[str, str]] = {}
    own_filters: ClassVar[tuple[str, ...]] = ()
    joins: ClassVar[tuple[str, ...]] = ()

    def get_queryset(self) -> QuerySet[Any]:
        rows = access.of_token(token_of(self.request), self.model).select_related(*self.joins)
        asked = self.request.query_params
        known = {*self.filters, *self.numbers, "since", "until", "cursor", "page_size", *self.own_filters}
        if unknown := set(asked) - known:
            raise exceptions.ValidationError(
                {name: f"There is no such filter. There are: {', '.join(sorted(known))}." for name in unknown}
            )
        for name, field in self.filters.items():
            if name in asked:
                choices = {choice for choice, _ in self.model._meta.get_field(field).flatchoices}  # type: ignore[union-attr]
                if asked[name] not in choices:
                    raise exceptions.ValidationError({name: f"Choose one of: {', '.join(sorted(choices))}."})
                rows = rows.filter(**{field: asked[name]})
        for name, field in self.numbers.items():
            if name in asked:
                rows = rows.filter(**{field: _number(name, asked[name])})
        for name, lookup in (("since", "gte"), ("until", "lt")):
            if name in asked:
                rows = rows.filter(**{f"{self.moment}__{lookup}": _moment(name, asked[name])})
        return rows


TIME_FILTERS = [
    OpenApiParameter("since", datetime, description="From this moment on (ISO 8601)."),
    OpenApiParameter("until", datetime, description="Before this moment."),
]


@extend_schema(summary="Read opt-outs", responses={200: OptOutSerializer(many=True), **PROBLEMS}, parameters=[
    *TIME_FILTERS,
    OpenApiParameter("recipient", str, description="The recipient's number."),
    OpenApiParameter("scope", str, enum=["campaign", "company", "number"]),
    OpenApiParameter("in_force", bool, description="Only those in force (true), or only closed ones (false)."),
])  # fmt: skip
class OptOutsView(ReadView):
    """Opt-out records, in force and closed."""

    model = OptOut
    serializer_class = OptOutSerializer
    moment = "opened_at"
    filters: ClassVar[dict[str, str]] = {"scope": "scope"}
    numbers: ClassVar[dict[str, str]] = {"recipient": "recipient__e164"}
    own_filters = ("in_force",)
    joins = ("recipient", "campaign")

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        asked = self.request.query_params.get("in_force")
        if asked is None:
            return rows
        if asked not in ("true", "false"):
            raise exceptions.ValidationError({"in_force": "Write true or false."})
        return rows.filter(closed_at__isnull=asked == "true")


@extend_schema(summary="Read the record", responses={200: ConsentEventSerializer(many=True), **PROBLEMS}, parameters=[
    *TIME_FILTERS,
    OpenApiParameter("kind", str, enum=ConsentEvent.Kind.values),
    OpenApiParameter("source", str, enum=ConsentEvent.Source.values),
    OpenApiParameter("recipient", str, description="The recipient's number."),
    OpenApiParameter("number", str, description="Our number."),
])  # fmt: skip
class ConsentEventsView(ReadView):
    """Consent events: who opted out or in, when, by which words, on which number."""

    model = ConsentEvent
    serializer_class = ConsentEventSerializer
    moment = "stored_at"
    filters: ClassVar[dict[str, str]] = {"kind": "kind", "source": "source"}
    numbers: ClassVar[dict[str, str]] = {"recipient": "recipient_e164", "number": "number_e164"}


class MessagesView(ReadView):
    """Texts in both directions; and the way to send one."""

    model = Message
    serializer_class = MessageSerializer
    moment = "created_at"
    filters: ClassVar[dict[str, str]] = {"direction": "direction", "state": "state", "channel": "channel"}
    numbers: ClassVar[dict[str, str]] = {"recipient": "recipient__e164", "number": "number__e164"}
    joins = ("recipient", "number__office")

    @property
    def scope(self) -> str:  # type: ignore[override]
        return ApiToken.Scope.SEND if self.request.method == "POST" else ApiToken.Scope.READ

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return MessageSerializer

    @extend_schema(summary="Read texts", responses={200: MessageSerializer(many=True), **PROBLEMS}, parameters=[
        *TIME_FILTERS,
        OpenApiParameter("direction", str, enum=Message.Direction.values),
        OpenApiParameter("state", str, enum=Message.State.values),
        OpenApiParameter("channel", str, enum=Message.Channel.values),
        OpenApiParameter("recipient", str, description="The recipient's number."),
        OpenApiParameter("number", str, description="Our number."),
    ])  # fmt: skip
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        summary="Send a text",
        request=SendSerializer,
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                str,
                OpenApiParameter.HEADER,
                description="Your own id for this text, up to 255 characters: sent again, it makes no second text.",
            )
        ],
        responses={
            200: MessageSerializer,
            201: MessageSerializer,
            (409, CONTENT_TYPE): RefusedSerializer,
            **JSON_PROBLEMS,
        },
        examples=[
            OpenApiExample(
                "A text",
                request_only=True,
                value={"from": "+12125550100", "to": "+12025550143", "text": "Your order is ready."},
            )
        ],
    )
    def post(self, request: Request) -> Response | HttpResponse:
        """201 when accepted, 200 when this Idempotency-Key was accepted before, 409 with the verdict when refused."""
        token = token_of(request)
        asked = SendSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        text = asked.validated_data
        number = _own_number(token, text["from"])
        key = request.headers.get("Idempotency-Key", "")
        if len(key) > 255 or not key.isprintable():
            raise exceptions.ValidationError({"Idempotency-Key": "Use up to 255 printable characters."})
        before = Message.objects.filter(company=token.company, idempotency_key=key).exists() if key else False
        try:
            message = outbox.accept(
                number,
                text["to"],
                text["text"],
                media=[Media(one["url"], one["content_type"]) for one in text["media"]],
                author_name=token.name,
                idempotency_key=key,
            )
        except outbox.KeyReused as error:
            raise exceptions.ValidationError({"Idempotency-Key": str(error)}) from None
        if message.state == Message.State.REFUSED:
            assert message.verdict is not None
            return problem(
                409,
                "The text was refused",
                message.verdict["reason"],
                verdict=message.verdict,
                message=message.pk,
            )
        return Response(MessageSerializer(message).data, status=200 if before else 201)


def _own_number(token: ApiToken, written: str) -> Number:
    try:
        address = e164.parse_own(written)
    except e164.NotAPhoneNumber as error:
        raise exceptions.ValidationError({"from": str(error)}) from None
    number = access.of_token(token, Number).select_related("account", "office", "company").filter(e164=address).first()
    if number is None:
        raise exceptions.ValidationError({"from": f"{address} is not a number of your company."})
    return number


def _number(name: str, written: str) -> str:
    try:
        # A plus in an address stands for a space: be lenient.
        return e164.parse_sender(written)
    except e164.NotAPhoneNumber as error:
        raise exceptions.ValidationError({name: str(error)}) from None


def _moment(name: str, written: str) -> datetime:
    try:
        moment = datetime.fromisoformat(written)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)  # PostgreSQL takes fewer zones than Python
    except (ValueError, OverflowError):
        raise exceptions.ValidationError(
            {name: "Write a time in ISO 8601, for example 2026-11-23T18:30:00Z."}
        ) from None
    raise exceptions.ValidationError({name: "Say the time zone, for example 2026-11-23T18:30:00Z."})
