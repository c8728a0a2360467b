"""What admission knows and says: requests for seats, the facts they meet, the decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from groups.states import CampaignState, GroupState, Mode


class Reason(StrEnum):
    """Why a seat is refused; the values are public API."""

    GROUP_FULL = "group_full"
    GROUP_CLOSED = "group_closed"
    ALREADY_MEMBER = "already_member"
    USER_LIMIT = "user_limit"
    SEAT_CAP = "seat_cap"
    OUT_OF_STOCK = "out_of_stock"
    CAMPAIGN_PAUSED = "campaign_paused"


# Under what an answer is kept: owner, route, key.
KeyName: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A buyer asks for a seat: in the group, or as leader of a new one of the campaign."""

    user_id: UUID
    key: KeyName
    fingerprint: bytes
    quantity: int
    province: str
    city: str
    address: str  # JSON, as it will be kept
    group_id: UUID | None = None
    campaign_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may still be promised of a SKU."""

    budget_units: int
    claimed_units: int
    cap_seats: int | None
    taken_seats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFacts:
    """A group that exists, with the terms it was opened under."""

    campaign_id: UUID
    sku: str
    mode: Mode
    state: GroupState
    capacity: int
    min_size: int
    price_fen: int
    units_per_seat: int
    per_user_limit: int
    seat_ttl_seconds: int
    deadline_at: datetime
    held_seats: int
    paid_seats: int
    progress: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignFacts:
    """A campaign and the terms of its current version."""

    sku: str
    state: CampaignState
    version: int
    mode: Mode
    capacity: int
    min_size: int
    price_fen: int
    units_per_seat: int
    per_user_limit: int
    window_seconds: int
    seat_ttl_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What one buyer holds in one campaign: live orders only."""

    quantity: int
    groups: frozenset[UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer given before under a key."""

    fingerprint: bytes
    status: int
    answer: str  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A held seat whose time to pay has passed, given up."""

    order_id: UUID
    user_id: UUID
    group_id: UUID
    campaign_id: UUID
    sku: str
    quantity: int
    claim_units: int
    group_state: GroupState  # and the deadline, after a leader may have handed over
    deadline_at: datetime
    opened: bool  # the hand-over opened the group


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known about the batch at `now`, business time."""

    now: datetime
    budgets: Mapping[str, Budget]
    groups: Mapping[UUID, GroupFacts]
    campaigns: Mapping[UUID, CampaignFacts]
    holdings: Mapping[tuple[UUID, UUID], Holding] = field(default_factory=dict)  # user, campaign
    kept: Mapping[KeyName, Kept] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A seat given; the counts are those of its group just after."""

    order_id: UUID
    group_id: UUID
    opened: bool  # the group is new
    leads: bool  # the member is the leader: of a new group, or of one that had emptied
    campaign_id: UUID
    version: int | None  # of the campaign, when the group is new
    sku: str
    mode: Mode
    quantity: int
    units: int
    price_fen: int
    reserved_until: datetime
    state: GroupState
    capacity: int
    min_size: int
    held_seats: int
    paid_seats: int
    progress: int
    deadline_at: datetime

    @property
    def amount_fen(self) -> int:
        """What the member pays up front."""
        return self.price_fen * self.quantity


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal for a reason; it is kept, and leaves nothing else behind."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Repeated:
    """The key was answered before."""

    kept: Kept


@dataclass(frozen=True, slots=True)
class RepeatedInBatch:
    """The key is answered by an earlier request of the same batch."""

    index: int


class Fault(StrEnum):
    """Why a request is answered without a decision, so that nothing is kept."""

    UNKNOWN = "unknown"  # there is no such group or campaign
    KEY_REUSED = "key_reused"  # the key was used with another body


Decision: TypeAlias = Seat | Refused | Repeated | RepeatedInBatch | Fault
