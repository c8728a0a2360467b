"""The shipped acceptance cases: four methods agreed on each expected objective."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from optimizer.evaluate import evaluate_allocation, evaluate_procurement
from optimizer.plan import plan_allocation, plan_procurement
from optimizer.reading import read_allocation, read_procurement

REPOSITORY = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("CARAVAN_CASES_DIR", REPOSITORY / "../shared/optimizer-cases"))

pytestmark = pytest.mark.skipif(
    not CASES.is_dir(), reason="no acceptance cases: set CARAVAN_CASES_DIR to their folder"
)


def cases(prefix: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in sorted(CASES.glob(f"{prefix}_*.json"))]


@pytest.mark.parametrize("path", cases("p1"))
def test_purchase_case_is_exact(path: Path) -> None:
    document = json.loads(path.read_text())
    expected = document["expected"]
    problem = read_procurement(document)

    result = plan_procurement(problem, deadline_seconds=20)

    assert result.status == expected["status"]
    assert result.objective_e4 == expected["objective_e4"]
    assert result.lower_bound_e4 == expected["objective_e4"]
    if expected["status"] == "optimal":
        assert result.proof == "exact"
        assert result.plan is not None
        judged = evaluate_procurement(problem, result.plan)
        assert judged.violations == ()
        assert judged.objective_e4 == expected["objective_e4"]


@pytest.mark.parametrize("path", cases("p2"))
def test_fulfilment_case_is_exact(path: Path) -> None:
    document = json.loads(path.read_text())
    expected = document["expected"]
    problem = read_allocation(document)

    result = plan_allocation(problem, deadline_seconds=20)

    assert result.status == expected["status"]
    assert result.objective_e4 == expected["objective_e4"]
    assert result.lower_bound_e4 == expected["objective_e4"]
    if expected["status"] == "optimal":
        assert result.proof == "exact"
        assert result.plan is not None
        judged = evaluate_allocation(problem, result.plan)
        assert judged.violations == ()
        assert judged.objective_e4 == expected["objective_e4"]
