"""What the mini-program remembers of groups, so that it need not ask before every seat."""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class SeenGroup:
    """A group as the mini-program last saw it; it may have changed since."""

    id: str
    missing: int
    members: set[str] = field(default_factory=set)  # customers of ours


class Noticeboard:
    """Groups by campaign, as far as answers told of them.

    One mini-program serves all customers, so what one of them was told helps the next.
    """

    def __init__(self) -> None:
        self._groups: defaultdict[str, dict[str, SeenGroup]] = defaultdict(dict)
        self._fresh: dict[str, bool] = {}

    def best(self, campaign: str, *, customer: str) -> str | None:
        """Return the group that misses fewest members and does not have this customer."""
        joinable = [
            group
            for group in self._groups[campaign].values()
            if group.missing > 0 and customer not in group.members
        ]
        return min(joinable, key=lambda group: group.missing).id if joinable else None

    def is_stale(self, campaign: str) -> bool:
        """Return whether asking again could show a group that is not known to have a seat.

        A seat that is not paid in time becomes free, and nobody tells.
        """
        known = self._groups[campaign]
        return bool(known) and not self._fresh.get(campaign, False)

    def saw(self, campaign: str, group: str, *, missing: int, customer: str | None = None) -> None:
        """Remember a group, and its new member if there is one."""
        seen = self._groups[campaign].setdefault(group, SeenGroup(id=group, missing=missing))
        seen.missing = missing
        if customer is not None:
            seen.members.add(customer)
        self._fresh[campaign] = False

    def listed(self, campaign: str, groups: dict[str, int]) -> None:
        """Take over the joinable groups of a campaign: id to missing members.

        What is not listed is full or over; who is in it is kept for when a seat becomes free.
        """
        for seen in self._groups[campaign].values():
            seen.missing = groups.get(seen.id, 0)
        for group, missing in groups.items():
            self.saw(campaign, group, missing=missing)
        self._fresh[campaign] = True

    def is_full(self, campaign: str, group: str) -> None:
        """Remember that a group has no seat just now."""
        self.saw(campaign, group, missing=0)

    def is_over(self, campaign: str, group: str) -> None:
        """Forget a group that takes nobody any more."""
        self._groups[campaign].pop(group, None)

    def has(self, campaign: str, group: str, *, customer: str) -> None:
        """Remember that a customer is in a group."""
        self._groups[campaign][group].members.add(customer)
