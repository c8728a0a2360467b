"""The buckets that goods lie in, and the kinds of their movements."""

from enum import StrEnum


class Bucket(StrEnum):
    AVAILABLE = "available"
    HELD = "held"


class MovementType(StrEnum):
    RECEIPT = "receipt"
    SHIP = "ship"
    RETURN = "return"
    ADJUST = "adjust"
    TRANSFER_OUT = "transfer_out"
    TRANSFER_IN = "transfer_in"
    RECONCILE = "reconcile"
    HOLD = "hold"
    UNHOLD = "unhold"
