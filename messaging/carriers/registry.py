"""Which adapter speaks for which carrier."""

from messaging.carriers.aws import Aws
from messaging.carriers.bandwidth import Bandwidth
from messaging.carriers.base import Carrier
from messaging.carriers.console import Console
from messaging.carriers.dialpad import Dialpad
from messaging.carriers.generic import Generic
from messaging.carriers.infobip import Infobip
from messaging.carriers.plivo import Plivo
from messaging.carriers.signalwire import SignalWire
from messaging.carriers.sinch import Sinch
from messaging.carriers.telnyx import Telnyx
from messaging.carriers.twilio import Twilio
from messaging.carriers.vonage import Vonage
from messaging.carriers.vonage_sms import VonageSms

CARRIERS: dict[str, Carrier] = {
    "console": Console(),
    "generic": Generic(),
    "aws": Aws(),
    "plivo": Plivo(),
    "signalwire": SignalWire(),
    "twilio": Twilio(),
    "infobip": Infobip(),
    "sinch": Sinch(),
    "vonage": Vonage(),
    "vonage_sms": VonageSms(),
    "bandwidth": Bandwidth(),
    "dialpad": Dialpad(),
    "telnyx": Telnyx(),
}
