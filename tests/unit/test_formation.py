"""Group formation by hand: windows, repeats, buyers who come twice."""

from datetime import datetime, timedelta

import pytest

from groups.formation import Line, first_lines, form_groups, hottest, summarise

NOON = datetime(2011, 12, 5, 12)  # noqa: DTZ001 - the input's local times have no zone
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def line(
    buyer: str, *, after: timedelta = timedelta(0), sku: str = "tea", invoice: str = ""
) -> Line:
    return Line(invoice=invoice or f"{buyer}{after}", sku=sku, buyer=buyer, at=NOON + after)


def test_the_last_member_fills_the_group_and_the_next_buyer_opens_another() -> None:
    first, second = form_groups(
        [line("ann"), line("bo", after=7 * MINUTE), line("cai", after=8 * MINUTE)], size=2
    )

    assert first.buyers == ("ann", "bo")
    assert first.filled_at == NOON + 7 * MINUTE
    assert second.buyers == ("cai",)
    assert not second.succeeded


def test_a_window_ends_after_exactly_a_day() -> None:
    in_time = form_groups([line("ann"), line("bo", after=DAY)], size=2)
    too_late = form_groups([line("ann"), line("bo", after=DAY + MINUTE)], size=2)

    assert [group.succeeded for group in in_time] == [True]
    assert [group.buyers for group in too_late] == [("ann",), ("bo",)]
    assert not any(group.succeeded for group in too_late)


def test_a_buyer_joins_a_group_once_and_may_open_the_next() -> None:
    groups = form_groups(
        [
            line("ann"),
            line("ann", after=MINUTE),
            line("bo", after=2 * MINUTE),
            line("ann", after=3 * MINUTE),
        ],
        size=2,
    )

    assert [group.buyers for group in groups] == [("ann", "bo"), ("ann",)]


def test_the_window_is_judged_before_the_buyer() -> None:
    groups = form_groups([line("ann"), line("ann", after=DAY + MINUTE)], size=3)

    assert [group.opened_at for group in groups] == [NOON, NOON + DAY + MINUTE]


def test_each_sku_has_its_own_group() -> None:
    groups = form_groups([line("ann"), line("bo", sku="mug"), line("cai", after=MINUTE)], size=2)

    assert {(group.sku, group.buyers) for group in groups} == {
        ("tea", ("ann", "cai")),
        ("mug", ("bo",)),
    }


def test_only_the_first_line_of_a_sku_in_an_invoice_stays() -> None:
    early, repeat = line("ann", invoice="1"), line("ann", invoice="1", after=MINUTE)
    other = line("ann", invoice="1", sku="mug")

    assert first_lines([early, repeat, other]) == [early, other]


def test_the_hottest_are_counted_with_repeats() -> None:
    lines = [line("ann", invoice="1"), line("ann", invoice="1"), line("bo", sku="mug")]

    assert hottest(lines, count=1) == {"tea"}


def test_the_summary_counts_members_on_both_sides() -> None:
    groups = form_groups(
        [
            line("ann"),
            line("bo", after=4 * MINUTE),
            line("cai", after=5 * MINUTE),
            line("dee", after=11 * MINUTE),
            line("eve", after=12 * MINUTE),
            line("fay", sku="mug"),
        ],
        size=2,
    )

    everything, mugs = summarise(groups), summarise(groups, only={"mug"})

    assert (everything.groups, everything.succeeded) == (4, 2)
    assert everything.success_share == 0.5
    assert (everything.members_succeeded, everything.members_failed) == (4, 2)
    assert everything.median_fill == 5 * MINUTE
    assert (mugs.groups, mugs.succeeded, mugs.median_fill) == (1, 0, None)


def test_a_group_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="no group"):
        form_groups([], size=1)
