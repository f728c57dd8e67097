"""What came in, what it means, what may go out: the rows of the middle floor."""

from messaging.models.health import CarrierHealth, Pace
from messaging.models.lifting import LiftRequest
from messaging.models.parts import TextPart
from messaging.models.record import ConsentEvent, Hold, OptOut
from messaging.models.seals import Seal, SealedEvent
from messaging.models.texts import ConsoleText, Conversation, Message, Recipient, WebhookReceipt

__all__ = [
    "CarrierHealth",
    "ConsentEvent",
    "ConsoleText",
    "Conversation",
    "Hold",
    "LiftRequest",
    "Message",
    "OptOut",
    "Pace",
    "Recipient",
    "Seal",
    "SealedEvent",
    "TextPart",
    "WebhookReceipt",
]
