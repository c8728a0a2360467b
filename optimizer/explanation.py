"""How a plan is put into words, once for the two languages operations read."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One sentence in English and Chinese."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing worth knowing: a stable `kind`, what it is about, and its numbers (fen, units)."""

    kind: str
    subject: str
    text: Text
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A summary, and findings with the weightiest first."""

    summary: Text
    findings: tuple[Finding, ...] = ()
