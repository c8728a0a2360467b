"""The optimizer on a file: read the problem, solve it, answer as JSON or in sentences."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from optimizer.plan import (
    AllocationResult,
    ProcurementResult,
    plan_allocation,
    plan_procurement,
    to_document,
)
from optimizer.reading import ProblemError, read_allocation, read_procurement
from optimizer.schema import E4

Problem = TypeVar("Problem")

_FEN_A_YUAN: Final = 100
_MOST_FINDINGS: Final = 40


class BadProblem(Exception):
    """The file cannot be read, or is not such a problem; the message names file and field."""


def procurement(file: Path, *, deadline_seconds: float) -> dict[str, Any]:
    """Plan the purchases of a p1/1 file and return the answer as JSON.

    Raises:
        BadProblem: the file cannot be read or breaks a rule.
    """

    def plan(content: bytes) -> ProcurementResult:
        return plan_procurement(read_procurement(content), deadline_seconds=deadline_seconds)

    return _answer(file, plan)


def allocation(file: Path, *, deadline_seconds: float) -> dict[str, Any]:
    """Plan the fulfilment of a p2/1 file and return the answer as JSON.

    Raises:
        BadProblem: the file cannot be read or breaks a rule.
    """

    def plan(content: bytes) -> AllocationResult:
        return plan_allocation(read_allocation(content), deadline_seconds=deadline_seconds)

    return _answer(file, plan)


def _answer(
    file: Path, plan: Callable[[bytes], ProcurementResult | AllocationResult]
) -> dict[str, Any]:
    try:
        return to_document(plan(file.read_bytes()))
    except OSError as error:
        raise BadProblem(f"cannot read {file}: {error.strerror}") from error
    except (ProblemError, UnicodeDecodeError) as error:
        raise BadProblem(f"{file}: {error}") from error


def sentences(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield the answer as lines for a person, the decision first and then its reasons.

    >>> answer = {"status": "optimal", "objective_e4": 12_340_000, "gap": 0.0, "proof": "exact",
    ...     "explanation": {"summary": {"en": "Buy 3", "zh": ""}, "findings": []}}
    >>> list(sentences(answer))
    ['optimal: 12.34 yuan (proven optimal)', 'Buy 3']
    """
    yield _verdict(answer)
    explanation = answer["explanation"]
    yield explanation["summary"]["en"]
    findings = explanation["findings"]
    for finding in findings[:_MOST_FINDINGS]:
        yield f"- {finding['text']['en']}"
    if len(findings) > _MOST_FINDINGS:
        yield f"... and {len(findings) - _MOST_FINDINGS} more: use --json"


def _verdict(answer: Mapping[str, Any]) -> str:
    objective = answer["objective_e4"]
    if objective is None:
        return str(answer["status"])
    yuan = objective / E4 / _FEN_A_YUAN
    known = {"exact": "proven optimal", "bound": f"at most {_percent(answer['gap'])} from optimal"}
    return f"{answer['status']}: {yuan:,.2f} yuan ({known.get(answer['proof'], 'no proof')})"


def _percent(gap: float | None) -> str:
    return "?" if gap is None else f"{gap:.3%}"
