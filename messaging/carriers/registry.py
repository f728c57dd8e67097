"""Which adapter speaks for which carrier."""

from messaging.carriers.base import Carrier
from messaging.carriers.console import Console
from messaging.carriers.generic import Generic
from messaging.carriers.twilio import Twilio

CARRIERS: dict[str, Carrier] = {"console": Console(), "generic": Generic(), "twilio": Twilio()}
