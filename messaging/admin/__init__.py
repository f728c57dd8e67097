"""The admin of the middle floor: carrier accounts, conversations, opt-outs, holds, the record, and what went wrong."""

from messaging.admin import (
    carrier_accounts,
    conversations,
    holds,
    lift_requests,
    opt_outs,
    received_requests,
    recipients,
    record,
    texts,
)

__all__ = [
    "carrier_accounts",
    "conversations",
    "holds",
    "lift_requests",
    "opt_outs",
    "received_requests",
    "recipients",
    "record",
    "texts",
]
