"""The replay as a person watches it: a bar over the lines and the figures that move."""

import time
from types import TracebackType
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from caravan.replay import Board

_REFRESHES_A_SECOND: Final = 4
_CHINA: Final = ZoneInfo("Asia/Shanghai")
_LINE_EVERY_SECONDS: Final = 10.0
_DONE: Final = ("delivered", "refunded", "released", "refund_attention")


class ProgressView:
    """Shows a board: live on a terminal, else a line now and then.

    Args:
        console: where to; standard error when standard output belongs to JSON.
    """

    def __init__(self, console: Console, *, lines: int) -> None:
        self._progress = Progress(
            TextColumn("lines"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._progress.add_task("lines", total=lines)
        self._live = Live(
            self._progress,
            console=console,
            refresh_per_second=_REFRESHES_A_SECOND,
            transient=True,
        )
        self._console = console
        self._live_here = console.is_terminal
        self._began_at = self._said_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._live_here:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live_here:
            self._live.stop()

    def show(self, board: Board) -> None:
        """Show the board as it is now."""
        if not self._live_here:
            self._say(board)
            return
        self._progress.update(self._task, completed=board.counts.sent)
        self._live.update(Group(self._progress, _figures(board)))

    def _say(self, board: Board) -> None:
        now = time.monotonic()
        if now - self._said_at < _LINE_EVERY_SECONDS or board.now is None:
            return
        self._said_at = now
        self._console.print(
            f"· {now - self._began_at:.0f} s: {board.now.astimezone(_CHINA):%m-%d %H:%M}"
            f" {board.counts.sent:,} lines,"
            f" backlog {board.backlog}{', waits: ' * bool(board.waits_for)}{board.waits_for};"
            f" {_ended(board.overview)}",
            highlight=False,
            soft_wrap=True,
        )


def _ended(overview: dict[str, Any] | None) -> str:
    if overview is None:
        return ""
    states = overview["by_state"]
    orders = states["orders"]
    forming = states["groups"].get("draft", 0) + states["groups"].get("open", 0)
    parcels = overview["delivery"]["parcels_shipped"]
    return (
        f"{forming} groups forming, {sum(orders.values())} orders,"
        f" {sum(orders.get(state, 0) for state in _DONE)} of them ended, {parcels} parcels"
    )


def _figures(board: Board) -> Table:
    table = Table.grid(padding=(0, 2))
    clock = "-" if board.now is None else f"{board.now.astimezone(_CHINA):%Y-%m-%d %H:%M:%S}"
    table.add_row("business time", clock, "speed-up", f"{board.speed_up:,.0f}x")
    table.add_row("backlog", f"{board.backlog:,}", "waits for", board.waits_for or "-")
    table.add_row(
        "orders", f"{board.counts.accepted:,}", "refused", f"{board.counts.refused.total():,}"
    )
    table.add_row(
        "payments",
        f"{board.phones.paid:,}",
        "late, never",
        f"{board.phones.late}, {board.phones.never}",
    )
    if board.overview is not None:
        _add_overview(table, board.overview)
    return table


def _add_overview(table: Table, overview: dict[str, Any]) -> None:
    states, supply, delivery = overview["by_state"], overview["supply"], overview["delivery"]
    groups, orders = states["groups"], states["orders"]
    table.add_row(
        "groups",
        f"{groups.get('succeeded', 0):,} succeeded",
        "forming",
        f"{groups.get('draft', 0) + groups.get('open', 0):,}",
    )
    table.add_row(
        "purchase orders",
        f"{supply['sent']} sent, {supply['received']} received",
        "units",
        f"{supply['units_received']:,}",
    )
    table.add_row(
        "parcels",
        f"{delivery['parcels_shipped']:,} shipped",
        "orders ended",
        f"{sum(orders.get(state, 0) for state in _DONE):,}",
    )
