"""The shapes of the API's requests and answers."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from rest_framework import serializers

from messaging.models import ConsentEvent, Message, OptOut
from offices import e164

MOST_PAIRS = 10_000
MOST_MEDIA = 10
LONGEST_TEXT = 1_600  # what carriers take in one request


class MomentField(serializers.DateTimeField):
    """A time with its zone: without one, nobody knows which moment is meant."""

    def enforce_timezone(self, value: Any) -> Any:
        if value.tzinfo is None:
            raise serializers.ValidationError("Say the time zone, for example 2026-11-23T18:30:00Z.")
        return super().enforce_timezone(value)


class MediaSerializer(serializers.Serializer[Any]):
    url = serializers.URLField(max_length=2000)
    content_type = serializers.CharField(max_length=100, required=False, default="")
    size = serializers.IntegerField(required=False, min_value=0, help_text="In bytes, where the carrier says it.")


class InboundSerializer(serializers.Serializer[Any]):
    """The generic inbound format, for the documentation: the adapter itself reads the raw body."""

    to = serializers.CharField(help_text="Our number, E.164.")
    text = serializers.CharField(allow_blank=True, help_text="What the recipient wrote, to the letter.")
    media = MediaSerializer(
        many=True, required=False, help_text="Pictures and the like: addresses, nothing is fetched."
    )
    message_id = serializers.CharField(help_text="The carrier's own id: a second arrival changes nothing.")
    received_at = serializers.DateTimeField(required=False, help_text="When the carrier got it. Default: now.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        sender = serializers.CharField(help_text="The recipient's number, E.164; or a short code or name.")
        return {"from": sender, **super().get_fields()}


class InboundAnswerSerializer(serializers.Serializer[Any]):
    outcome = serializers.ChoiceField(choices=[*Message.Outcome.choices, ("status", "What became of a text of ours")])
    duplicate = serializers.BooleanField()
    message = serializers.IntegerField(allow_null=True, help_text="Null for a status of a text that is not ours.")


class PairSerializer(serializers.Serializer[Any]):
    to = serializers.CharField(max_length=40, help_text="The recipient's number.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {"from": serializers.CharField(max_length=40, help_text="Our number."), **super().get_fields()}


class CheckSerializer(serializers.Serializer[Any]):
    """One question (`from`, `to`) or many (`pairs`), now or `at` a past moment."""

    to = serializers.CharField(max_length=40, required=False)
    channel = serializers.ChoiceField(choices=["sms", "mms", "voice"], default="sms")
    at = MomentField(
        required=False,
        help_text="A past moment, with its zone: the verdict is the one of then, read from the record, also when the "
        "opt-out has been closed, the number moved or given up since. Default: now. The future is refused.",
    )
    pairs = PairSerializer(many=True, required=False, help_text=f"Up to {MOST_PAIRS:,} questions.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {"from": serializers.CharField(max_length=40, required=False), **super().get_fields()}

    def to_internal_value(self, data: Any) -> Any:
        pairs = data.get("pairs") if isinstance(data, dict) else None
        if isinstance(pairs, list) and len(pairs) > MOST_PAIRS:
            raise serializers.ValidationError(
                {"pairs": f"These are {len(pairs):,}. Ask at most {MOST_PAIRS:,} at a time."}
            )
        return super().to_internal_value(data)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "pairs" in attrs:
            if "from" in attrs or "to" in attrs:
                raise serializers.ValidationError({"pairs": "Send either “pairs”, or “from” and “to”."})
        else:
            missing = [name for name in ("from", "to") if name not in attrs]
            if missing:
                raise serializers.ValidationError({name: "This field is required, or “pairs”." for name in missing})
        if attrs.get("at") and attrs["at"] > timezone.now():
            raise serializers.ValidationError({"at": "This moment is in the future; the gate knows the past and now."})
        return attrs


class CampaignOfScopeSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    registry_id = serializers.CharField()


class ScopeSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=["campaign", "company", "number"])
    campaign = CampaignOfScopeSerializer(allow_null=True)


class DecidingOptOutSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField(help_text="As in `/api/v1/opt-outs/`; for “held” the hold's own.")
    texted_number = serializers.CharField(help_text="Our number that the recipient texted.")
    text = serializers.CharField(help_text="What they wrote; empty where no text came here.")
    at = serializers.DateTimeField(help_text="When they wrote it.")
    event = serializers.IntegerField(help_text="The consent event that opened it, as in `/api/v1/consent-events/`.")


class VerdictSerializer(serializers.Serializer[Any]):
    allowed = serializers.BooleanField()
    code = serializers.ChoiceField(
        choices=[
            "ok", "chat", "opted_out_campaign", "opted_out_company", "opted_out_number", "opted_out_carrier", "held",
            "number_inactive", "not_textable",
        ]
    )  # fmt: skip
    reason = serializers.CharField(help_text="A sentence for the sender.")
    scope = ScopeSerializer(allow_null=True)
    opt_out = DecidingOptOutSerializer(allow_null=True, help_text="The opt-out, or for “held” the hold, that decided.")
    voice_allowed = serializers.BooleanField(help_text="Always true: an opt-out is about texts.")


class VerdictsSerializer(serializers.Serializer[Any]):
    verdicts = VerdictSerializer(many=True, help_text="One for each pair, in the same order.")


class SendSerializer(serializers.Serializer[Any]):
    """One text to send."""

    to = serializers.CharField(max_length=40)
    text = serializers.CharField(
        allow_blank=True, required=False, default="", trim_whitespace=False, max_length=LONGEST_TEXT
    )
    media = MediaSerializer(many=True, required=False, default=list)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {"from": serializers.CharField(max_length=40), **super().get_fields()}

    def validate_to(self, value: str) -> str:
        try:
            return e164.parse(value)
        except e164.NotAPhoneNumber as error:
            raise serializers.ValidationError(str(error)) from None

    def validate_text(self, value: str) -> str:
        if "\x00" in value:
            raise serializers.ValidationError("Leave out the NUL character: no phone shows it.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs["media"]) > MOST_MEDIA:
            raise serializers.ValidationError({"media": f"Name at most {MOST_MEDIA} media; carriers take no more."})
        if not attrs["text"].strip() and not attrs["media"]:
            raise serializers.ValidationError({"text": "Write a text, or name media to send."})
        return attrs


class RowSerializer(serializers.ModelSerializer[Any]):
    """A row to read. The schema says of a choice that may be empty that it may."""

    def get_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().get_fields()
        for name, field in fields.items():
            if isinstance(field, serializers.ChoiceField) and self.Meta.model._meta.get_field(name).blank:  # type: ignore[attr-defined]
                field.allow_blank = True
        return fields


class MessageSerializer(RowSerializer):
    office = serializers.CharField(source="number.office.name", read_only=True)

    class Meta:
        model = Message
        fields = [
            "id", "direction", "channel", "purpose", "state", "outcome", "text", "media", "segments", "office",
            "carrier_message_id", "idempotency_key", "author_name", "received_at", "created_at", "sent_at",
            "verdict", "error",
        ]  # fmt: skip
        read_only_fields = fields

    def get_fields(self) -> dict[str, Any]:
        ends = {name: serializers.SerializerMethodField(f"{name}_address") for name in ("from", "to")}
        return {**super().get_fields(), **ends}

    def from_address(self, message: Message) -> str:
        return message.number.e164 if message.is_outbound else message.recipient.e164

    def to_address(self, message: Message) -> str:
        return message.recipient.e164 if message.is_outbound else message.number.e164


class OptOutSerializer(RowSerializer):
    recipient = serializers.CharField(source="recipient.e164", read_only=True)
    campaign = CampaignOfScopeSerializer(allow_null=True, read_only=True)
    in_force = serializers.BooleanField(source="is_open", read_only=True)

    class Meta:
        model = OptOut
        fields = [
            "id", "recipient", "scope", "campaign", "texted_number", "text", "texted_at", "opened_at", "opened_by",
            "closed_at", "closed_by", "in_force", "is_carrier",
        ]  # fmt: skip
        read_only_fields = fields


class ConsentEventSerializer(RowSerializer):
    class Meta:
        model = ConsentEvent
        fields = [
            "id", "kind", "source", "recipient_e164", "number_e164", "number_kind", "office_name", "campaign_id_then",
            "campaign_name", "campaign_registry_id", "campaign_status", "scope", "received_text", "matched_words",
            "reading", "rule_version", "reason", "received_at", "stored_at", "carrier", "carrier_message_id",
            "message_id_then", "actor_name", "hash",
        ]  # fmt: skip
        read_only_fields = fields


class ProblemSerializer(serializers.Serializer[Any]):
    """RFC 9457. `errors` is there when fields are wrong: field -> sentences."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # Not declared above: the name is the serializer's own.
        errors = serializers.DictField(child=serializers.ListField(child=serializers.CharField()), required=False)
        return {**super().get_fields(), "errors": errors}


class NotUnderstoodSerializer(ProblemSerializer):
    receipt = serializers.IntegerField(help_text="The operator finds the request under this id.")


class RefusedSerializer(ProblemSerializer):
    verdict = VerdictSerializer()
    message = serializers.IntegerField()
