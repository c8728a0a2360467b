"""What a shipping run did, in rows that operations can read."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from logistics.waves import WaveRow


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveLine:
    """A wave in the report."""

    wave_id: UUID
    warehouse: str
    carrier: str
    cut_off_at: datetime
    number: int
    parcels: int
    outcome: str  # manifested | waiting | emptied


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipReport:
    """What a run did, ready to be shown."""

    waves_opened: int
    waves_locked: int
    waves_manifested: int
    parcels_manifested: int
    labels_bought: int
    labels_found: int
    labels_refused: int
    labels_unknown: int
    labels_voided: int
    put_back: int
    too_large: tuple[UUID, ...]
    lines: tuple[WaveLine, ...]
    problems: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a run has done so far."""

    waves_opened: int = 0
    waves_locked: int = 0
    parcels_manifested: int = 0
    labels_bought: int = 0
    labels_found: int = 0
    labels_refused: int = 0
    labels_voided: int = 0
    put_back: int = 0
    too_large: tuple[UUID, ...] = ()
    unknown: set[UUID] = field(default_factory=set)
    lines: list[WaveLine] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unfinished: bool = False

    def report(self) -> ShipReport:
        """Return the report of a finished run."""
        return ShipReport(
            waves_opened=self.waves_opened,
            waves_locked=self.waves_locked,
            waves_manifested=sum(line.outcome == "manifested" for line in self.lines),
            parcels_manifested=self.parcels_manifested,
            labels_bought=self.labels_bought,
            labels_found=self.labels_found,
            labels_refused=self.labels_refused,
            labels_unknown=len(self.unknown),
            labels_voided=self.labels_voided,
            put_back=self.put_back,
            too_large=self.too_large,
            lines=tuple(self.lines),
            problems=tuple(self.problems),
        )


def line_of(wave: WaveRow, *, outcome: str, parcels: int | None = None) -> WaveLine:
    """Return a wave's row of the report."""
    return WaveLine(
        wave_id=wave.id,
        warehouse=wave.warehouse,
        carrier=wave.carrier,
        cut_off_at=wave.cut_off_at,
        number=wave.number,
        parcels=wave.parcels if parcels is None else parcels,
        outcome=outcome,
    )
