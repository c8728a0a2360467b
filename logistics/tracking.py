"""What carriers' news make of a parcel: the highest rank heard, whatever the order it came in."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from logistics.tables import ShipmentState, TrackingStatus

RANK: Final[Mapping[TrackingStatus, int]] = MappingProxyType(
    {status: rank for rank, status in enumerate(TrackingStatus)}
)

# What a parcel has become once its carrier said so; nothing of lower rank changes it again.
ENDS: Final[Mapping[TrackingStatus, ShipmentState]] = MappingProxyType(
    {
        TrackingStatus.LOST: ShipmentState.LOST,
        TrackingStatus.RETURNED: ShipmentState.RETURNED,
        TrackingStatus.DELIVERED: ShipmentState.DELIVERED,
    }
)


def highest(heard: Iterable[TrackingStatus]) -> TrackingStatus:
    """Return the status of a parcel of which all this was heard.

    >>> highest([TrackingStatus.DELIVERED, TrackingStatus.IN_TRANSIT]).value
    'delivered'
    """
    return max(heard, key=RANK.__getitem__, default=TrackingStatus.NONE)
