"""AWS End User Messaging: texts and events come through SNS topics, signed by Amazon; boto3 hands texts over.

Sources: Amazon SNS, "Verifying the signatures of Amazon SNS messages" and "Parsing message formats"; AWS End User
Messaging SMS, "Two-way SMS message payload", "Example event data", and the SendTextMessage API.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import logging
import re
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from django.conf import settings

from messaging.carriers import http, reading, signing
from messaging.carriers.base import (
    Carrier,
    CarrierError,
    Event,
    InboundText,
    NotUnderstood,
    OutboundText,
    Refused,
    Setting,
    State,
    StatusUpdate,
    Visit,
    WebhookRequest,
)
from offices.credentials import Credentials

log = logging.getLogger(__name__)

# The whole address, without a query: SNS's own API answers at the same host with what anybody has asked it for.
CERTIFICATE = r"/[A-Za-z0-9_-]+\.pem"
CONFIRMATION = r"/\?[!-~]+"
# SNS may be told to try for an hour, and signs only once. A STOP that comes so late must count; what is older is a
# replay, and one within the hour is harmless, because a message id counts once.
WINDOW = 3600 + signing.WINDOW
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
HASHES: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}
# Amazon changes its certificate about once a year; there is one for each region.
MOST_KEPT = 16
certificates: dict[str, x509.Certificate] = {}

# An event's name without what it is about: TEXT_, MEDIA_ or RCS_. SUCCESSFUL is the carrier's word that it took the
# text; in some countries Amazon says it for DELIVERED as well. Nobody knows what became of one that is UNKNOWN.
STATES: dict[str, State] = {
    "SENT": "sent",
    "SUCCESSFUL": "sent",
    "DELIVERED": "delivered",
    "READ": "delivered",
    "FAILED": "failed",
    "INVALID": "failed",
    "INVALID_MESSAGE": "failed",
    "UNREACHABLE": "failed",
    "CARRIER_UNREACHABLE": "failed",
    "BLOCKED": "failed",
    "CARRIER_BLOCKED": "failed",
    "PROTECT_BLOCKED": "failed",
    "SPAM": "failed",
    "TTL_EXPIRED": "failed",
    "FILE_INACCESSIBLE": "failed",
    "FILE_TYPE_UNSUPPORTED": "failed",
    "FILE_SIZE_EXCEEDED": "failed",
}
OPTED_OUT = "DESTINATION_PHONE_NUMBER_OPTED_OUT"
# The account's trouble and not the text's; Amazon answers most of these with HTTP 400.
TROUBLE = {
    "AccessDeniedException", "ExpiredTokenException", "IncompleteSignature", "IncompleteSignatureException",
    "InvalidClientTokenId", "InvalidSignatureException", "MissingAuthenticationToken",
    "MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired", "RequestExpired",
    "ServiceQuotaExceededException", "SignatureDoesNotMatch", "ThrottledException", "Throttling",
    "ThrottlingException", "TooManyRequestsException", "UnrecognizedClientException",
}  # fmt: skip
BEFORE_SENDING = ("EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError")
LONGEST_TEXT = 1600  # characters, by the API

_clients: dict[tuple[str, ...], Any] = {}
_making = threading.Lock()  # boto3 makes clients in one thread at a time; made ones may be shared


class Aws(Carrier):
    label = "AWS End User Messaging"
    SETTINGS: ClassVar[Sequence[Setting]] = (
        Setting(
            "region",
            "Region",
            help="Where the numbers are, for example us-east-1.",
            pattern=r"[a-z]{2,4}(-[a-z]+){1,3}-[0-9]",
        ),
        Setting(
            "topic_arn",
            "ARN of the SNS topic",
            help="Of the topic that received texts go to. If events go to another one, both, with a comma between. "
            "What other topics send is refused.",
            pattern=r"arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+"
            r"(\s*,\s*arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+){0,3}",
        ),
        Setting(
            "access_key_id",
            "Access key ID",
            help="Of an IAM user that may do no more than sms-voice:SendTextMessage and "
            "sms-voice:DescribePhoneNumbers.",
            pattern=r"[A-Z0-9]{16,128}",
        ),
        Setting(
            "secret_access_key",
            "Secret access key",
            secret=True,
            help="Shown once, when the access key is made.",
            pattern=r"[A-Za-z0-9/+=]{20,128}",
        ),
        Setting(
            "configuration_set",
            "Configuration set",
            required=False,
            help="Its event destination says where statuses go. Without one the portal learns of none.",
            pattern=r"[A-Za-z0-9_:/-]{1,256}",
        ),
    )
    STEPS: ClassVar[Sequence[str]] = (
        "Sending needs the package boto3: start the portal with “make serve AWS=1”.",
        "In Amazon SNS, create a standard topic in the numbers' region, and enter its ARN above.",
        "In AWS End User Messaging SMS, open Phone numbers, choose the number, and on the tab Two-way SMS choose "
        "Edit settings, Enable two-way message, destination type Amazon SNS, and that topic.",
        "On the tab Keywords see which answers Amazon sends to STOP and HELP by itself; or switch Self-managed "
        "opt-outs on, and let the portal answer.",
        "For statuses, create a configuration set, and in it an event destination of type Amazon SNS with all text "
        "events, to the same topic or to a second one. Enter the configuration set's name above.",
        "In Amazon SNS, open the topic and create a subscription: protocol HTTPS, endpoint {webhook}, raw message "
        "delivery off. The portal confirms it by itself; its status turns to Confirmed.",
        "In the topic's delivery policy, let it retry for up to an hour.",
    )
    # Unless opt-outs are self-managed.
    ANSWERS_STOP = True

    def verify(self, credentials: Credentials, request: WebhookRequest) -> None:
        topics = {topic.strip() for topic in credentials.get("topic_arn").split(",")} - {""}
        if request.header("x-amz-sns-rawdelivery").lower() == "true":
            raise Refused("Raw message delivery carries no signature: switch it off at the subscription.")
        envelope = _envelope(request)
        if not topics or envelope.get("TopicArn") not in topics:
            raise Refused("It is from an SNS topic that is not this account's.")
        published = reading.moment(envelope.get("Timestamp"))
        signing.check_fresh(published.timestamp() if published else "", WINDOW)
        try:
            given = base64.b64decode(envelope.get("Signature", ""), validate=True)
        except (binascii.Error, ValueError):
            given = b""
        algorithm = HASHES.get(envelope.get("SignatureVersion", ""))
        names = SIGNED.get(envelope.get("Type", ""))
        if not given or algorithm is None or names is None:
            raise Refused("It has no signature that SNS makes.")
        # Last, because it may ask Amazon: so far it names one of our topics, which strangers do not know.
        key = _certificate(envelope.get("SigningCertURL", ""), envelope["TopicArn"]).public_key()
        signed = "".join(f"{name}\n{envelope[name]}\n" for name in names if name in envelope)
        try:
            if not isinstance(key, rsa.RSAPublicKey):
                raise InvalidSignature
            key.verify(given, signed.encode("utf-8", "surrogatepass"), padding.PKCS1v15(), algorithm)
        except InvalidSignature:
            raise Refused("Its signature does not fit Amazon's certificate.") from None

    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        envelope = reading.json_object(request.body)
        kind = envelope.get("Type")
        if kind == "SubscriptionConfirmation":
            return [Visit(_confirmation(envelope))]
        if kind == "UnsubscribeConfirmation":
            log.warning("SNS no longer delivers the topic %s", reading.string(envelope.get("TopicArn"))[:200])
            return []
        message = reading.json_object(reading.string(envelope.get("Message")).encode("utf-8", "surrogatepass"))
        # As EventBridge hands it to a topic.
        message = reading.mapping(message.get("detail")) or message
        if "eventType" in message:
            return _status(message)
        return [_text(message, reading.moment(envelope.get("Timestamp")))]

    def send(self, credentials: Credentials, text: OutboundText) -> str:
        if text.media:
            raise CarrierError("AWS takes files only from its own S3 buckets: send this without them.", permanent=True)
        if not text.text.strip() or len(text.text) > LONGEST_TEXT:
            raise CarrierError(f"AWS takes texts of 1 to {LONGEST_TEXT} characters.", permanent=True)
        asked = {
            "DestinationPhoneNumber": text.to,
            "OriginationIdentity": text.sender,
            "MessageBody": text.text,
            "MessageType": "TRANSACTIONAL",
            # Comes back in each event about this text, also when the answer to this call gets lost.
            "Context": {"text": text.reference},
        }
        if configuration_set := credentials.get("configuration_set"):
            asked["ConfigurationSetName"] = configuration_set
        message_id = reading.string(_call(credentials, "send_text_message", asked).get("MessageId"))
        if not message_id:
            raise CarrierError("AWS took the text but gave no MessageId.", uncertain=True)
        return message_id

    def test(self, credentials: Credentials) -> str:
        try:
            answer = _call(credentials, "describe_phone_numbers", {})
        except CarrierError as error:
            error.uncertain = False
            raise
        if "PhoneNumbers" not in answer:
            raise CarrierError("What AWS answered cannot be read.", is_trouble=True)
        numbers = [reading.mapping(one) for one in reading.items(answer.get("PhoneNumbers"))]
        deaf = [str(one.get("PhoneNumber")) for one in numbers if not one.get("TwoWayEnabled")]
        found = f"AWS answers: {len(numbers)} phone numbers in {credentials.get('region')}."
        return f"{found} Two-way SMS is off for {', '.join(deaf)}: a STOP to it stays at AWS." if deaf else found


def _envelope(request: WebhookRequest) -> dict[str, str]:
    """The SNS envelope's texts. Raises Refused: the signature is within it."""
    try:
        document = reading.json_object(request.body)
    except NotUnderstood:
        raise Refused("It is no SNS message.") from None
    return {name: value for name, value in document.items() if isinstance(value, str)}


def _host(topic: str) -> str:
    """Where the topic's region of SNS is, of all Amazon's hosts: some that look alike are other people's buckets."""
    _, partition, _, region, *_ = [*topic.split(":"), "", "", "", ""]
    return f"https://sns.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"


def _certificate(url: str, topic: str) -> x509.Certificate:
    """Amazon's certificate at that address, valid now. Raises Refused; where Amazon should have had one, so that SNS
    comes again: after any other refusal it does not, and the text may be a STOP.

    Who stands behind it follows from the address: it comes over TLS from a host that only Amazon can have.
    """
    if not re.fullmatch(re.escape(_host(topic)) + CERTIFICATE, url):
        raise Refused("Its certificate is not at Amazon's.")
    found = certificates.get(url) or _fetched(url)
    if not found.not_valid_before_utc <= datetime.now(UTC) <= found.not_valid_after_utc:
        certificates.pop(url, None)
        raise Refused("Amazon's certificate is not valid now. Is this machine's clock right?", come_again=True)
    return found


def _fetched(url: str) -> x509.Certificate:
    try:
        response = http.get(url)
    except CarrierError:
        raise Refused("Amazon's certificate could not be fetched.", come_again=True) from None
    if not response.is_success:
        raise Refused(f"Asked for its certificate, Amazon answers HTTP {response.status_code}.", come_again=True)
    try:
        found = x509.load_pem_x509_certificate(response.content)
    except ValueError:
        raise Refused("What is at the address of Amazon's certificate is none.", come_again=True) from None
    while len(certificates) >= MOST_KEPT:
        certificates.pop(next(iter(certificates), ""), None)
    certificates[url] = found
    return found


def _confirmation(envelope: Mapping[str, Any]) -> str:
    """The address that confirms the subscription. Raises NotUnderstood unless it is SNS's, and for this topic."""
    url = reading.string(envelope.get("SubscribeURL"))
    topic = reading.string(envelope.get("TopicArn"))
    query = parse_qs(urlsplit(url).query) if re.fullmatch(re.escape(_host(topic)) + CONFIRMATION, url) else {}
    if query.get("Action") != ["ConfirmSubscription"] or query.get("TopicArn") != [envelope.get("TopicArn")]:
        raise NotUnderstood("The address that would confirm the subscription is not Amazon's for this topic.")
    return url


def _text(message: Mapping[str, Any], published: datetime | None) -> InboundText:
    for needed in ("originationNumber", "destinationNumber"):
        if not reading.string(message.get(needed)):
            raise NotUnderstood(f"There is no {needed}.")
    words = message.get("messageBody")
    return InboundText(
        sender=reading.international(reading.string(message["originationNumber"])),
        to=reading.international(reading.string(message["destinationNumber"])),
        # messageKeyword is the keyword that Amazon found at the beginning: “END” in “End of the week?”. We read all.
        text=words if isinstance(words, str) else None,
        message_id=reading.message_id(message.get("inboundMessageId"), "inboundMessageId"),
        received_at=published,
    )


def _status(event: Mapping[str, Any]) -> Sequence[Event]:
    """One event as a status; none for one that is about no text, such as a call or a registration."""
    name = reading.string(event.get("eventType"))
    subject, _, what = name.partition("_")
    if subject not in ("TEXT", "MEDIA", "RCS"):
        return []
    told = (name, reading.string(event.get("messageStatus")), reading.string(event.get("messageStatusDescription")))
    return [
        StatusUpdate(
            reading.message_id(event.get("messageId"), "messageId"),
            STATES.get(what),
            " ".join(filter(None, told))[:500],
            reference=reading.string(reading.mapping(event.get("context")).get("text")),
        )
    ]


def _call(credentials: Credentials, operation: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Call one operation, once; returns the answer. Raises CarrierError."""
    try:
        boto3 = importlib.import_module("boto3")  # takes a third of a second, and most accounts need it not
        core = importlib.import_module("botocore.exceptions")
    except ImportError:
        raise CarrierError(
            "The package boto3 is not installed. An operator can start the portal with “make serve AWS=1”.",
            is_trouble=True,
        ) from None
    try:
        client = _client(boto3, credentials)
    except (core.BotoCoreError, ValueError) as error:
        raise CarrierError(
            f"Region, address or key of this account cannot be used: {str(error)[:300]}", is_trouble=True
        ) from None
    try:
        answer: dict[str, Any] = getattr(client, operation)(**asked)
    except core.ParamValidationError as error:
        raise CarrierError(f"AWS does not take this: {str(error)[:300]}", permanent=True) from None
    except core.ClientError as error:
        raise _refusal(error.response) from None
    except Exception as error:
        # Also what is no BotoCoreError: an answer that cannot be read.
        is_safe = type(error).__name__ in BEFORE_SENDING
        raise CarrierError(
            f"No answer from AWS: {type(error).__name__}", uncertain=not is_safe, is_trouble=True
        ) from error
    return answer


def _refusal(answer: Mapping[str, Any]) -> CarrierError:
    told, meta = reading.mapping(answer.get("Error")), reading.mapping(answer.get("ResponseMetadata"))
    code, reason = str(told.get("Code", "")), str(answer.get("Reason", ""))
    status = meta.get("HTTPStatusCode") or 0
    opted_out = reason == OPTED_OUT
    is_trouble = not opted_out and (code in TROUBLE or status in (401, 403, 408, 429) or status >= 500)
    return CarrierError(
        f"{code} {reason} {str(told.get('Message', ''))[:400]}".strip(),
        permanent=not is_trouble,
        opted_out=opted_out,
        retry_after=http.retry_after({"Retry-After": reading.mapping(meta.get("HTTPHeaders")).get("retry-after", "")}),
        is_trouble=is_trouble,
    )


def _client(boto3: Any, credentials: Credentials) -> Any:
    """The client for these credentials; connections are kept with it. It tries once: botocore's own retries could
    hand a text over twice."""
    names = ("region", "access_key_id", "secret_access_key", "api_base")
    key = (*(credentials.get(name) for name in names), str(settings.CARRIER_TIMEOUT))
    with _making:
        if key not in _clients:
            while len(_clients) >= MOST_KEPT:
                _clients.pop(next(iter(_clients)))
            region, access_key_id, secret_access_key, api_base, _ = key
            _clients[key] = boto3.session.Session().client(
                "pinpoint-sms-voice-v2",
                region_name=region,
                # Never those of the machine or of the environment.
                aws_access_key_id=access_key_id or "none",
                aws_secret_access_key=secret_access_key or "none",
                endpoint_url=api_base or None,
                config=importlib.import_module("botocore.config").Config(
                    connect_timeout=settings.CARRIER_TIMEOUT,
                    read_timeout=settings.CARRIER_TIMEOUT,
                    retries={"total_max_attempts": 1},
                    max_pool_connections=100,
                ),
            )
        return _clients[key]
