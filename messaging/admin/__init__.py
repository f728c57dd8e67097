"""The admin of the middle floor: conversations, opt-outs, holds, the record, and what went wrong."""

from messaging.admin import (
    conversations,
    holds,
    opt_outs,
    received_requests,
    recipients,
    record,
    texts,
)

__all__ = ["conversations", "holds", "opt_outs", "received_requests", "recipients", "record", "texts"]
