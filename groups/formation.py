"""Which groups a stream of purchases would have formed, by one plain rule; the replay's baseline.

A simulation over order lines, not an observed outcome: for each SKU there is at most one open
group, everybody who buys joins it, and a window that has passed fails it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Final

WINDOW: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One order line: `buyer` bought `sku` in `invoice` at a time."""

    invoice: str
    sku: str
    buyer: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FormedGroup:
    """What became of one group; `filled_at` is None when it failed."""

    sku: str
    buyers: tuple[str, ...]
    opened_at: datetime
    filled_at: datetime | None

    @property
    def succeeded(self) -> bool:
        return self.filled_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How well groups formed."""

    groups: int
    succeeded: int
    members_succeeded: int
    members_failed: int
    median_fill: timedelta | None  # from opening to the last member; None without a success

    @property
    def success_share(self) -> float:
        return self.succeeded / self.groups if self.groups else 0.0


@dataclass(slots=True)
class _OpenGroup:
    opened_at: datetime
    buyers: list[str] = field(default_factory=list)


def first_lines(lines: Iterable[Line]) -> list[Line]:
    """Return the lines without repeats of one SKU in one invoice; the first of them stays."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for line in lines:
        if (line.invoice, line.sku) not in seen:
            seen.add((line.invoice, line.sku))
            kept.append(line)
    return kept


def hottest(lines: Iterable[Line], *, count: int) -> frozenset[str]:
    """Return the SKUs with most lines, repeats included; of equals the one that was seen first."""
    return frozenset(sku for sku, _ in Counter(line.sku for line in lines).most_common(count))


def form_groups(
    lines: Iterable[Line], *, size: int, window: timedelta = WINDOW
) -> list[FormedGroup]:
    """Return every group, in the order in which their ends were found.

    A buyer who is in the open group already is passed over. The window is judged when the next
    line of the SKU comes, so a group fails when that line is more than `window` after its opening;
    exactly `window` is still in time. Groups open at the end count as failed.

    Args:
        lines: ascending in time within each SKU, without repeats (`first_lines`).
        size: members that complete a group, at least 2.

    >>> noon = datetime(2011, 12, 5, 12)
    >>> pair = form_groups([
    ...     Line(invoice="1", sku="tea", buyer="ann", at=noon),
    ...     Line(invoice="2", sku="tea", buyer="bo", at=noon + timedelta(minutes=5))], size=2)
    >>> pair[0].succeeded, pair[0].buyers
    (True, ('ann', 'bo'))
    """
    if size < 2:  # noqa: PLR2004 - one buyer is no group
        raise ValueError(f"a group of {size} is no group")
    open_groups: dict[str, _OpenGroup] = {}
    ended: list[FormedGroup] = []
    for line in lines:
        group = open_groups.get(line.sku)
        if group is not None and line.at - group.opened_at > window:
            ended.append(_end(line.sku, group, filled_at=None))
            group = None
        if group is None:
            open_groups[line.sku] = _OpenGroup(opened_at=line.at, buyers=[line.buyer])
            continue
        if line.buyer in group.buyers:
            continue
        group.buyers.append(line.buyer)
        if len(group.buyers) == size:
            ended.append(_end(line.sku, group, filled_at=line.at))
            del open_groups[line.sku]
    ended.extend(_end(sku, group, filled_at=None) for sku, group in open_groups.items())
    return ended


def _end(sku: str, group: _OpenGroup, *, filled_at: datetime | None) -> FormedGroup:
    return FormedGroup(
        sku=sku, buyers=tuple(group.buyers), opened_at=group.opened_at, filled_at=filled_at
    )


def summarise(groups: Sequence[FormedGroup], *, only: Collection[str] | None = None) -> Summary:
    """Return how well groups formed, over all SKUs or those in `only`."""
    counted = [group for group in groups if only is None or group.sku in only]
    fills = [
        (group.filled_at - group.opened_at).total_seconds()
        for group in counted
        if group.filled_at is not None
    ]
    members_succeeded = sum(len(group.buyers) for group in counted if group.succeeded)
    return Summary(
        groups=len(counted),
        succeeded=len(fills),
        members_succeeded=members_succeeded,
        members_failed=sum(len(group.buyers) for group in counted) - members_succeeded,
        median_fill=timedelta(seconds=median(fills)) if fills else None,
    )
