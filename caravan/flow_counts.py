"""How many runs each flow had, as Prefect's own API counts them."""

from collections import Counter
from datetime import datetime
from typing import Any, Final

from caravan.http_client import Client

_PAGE: Final = 200
_FAILED: Final = frozenset({"FAILED", "CRASHED"})


async def flow_runs(prefect: Client, *, since: datetime) -> dict[str, dict[str, int]]:
    """Return completed and failed runs by flow, of those that started after `since` (wall)."""
    names = {flow["id"]: flow["name"] for flow in await _all(prefect, "/flows/filter", {})}
    wanted = {"flow_runs": {"start_time": {"after_": since.isoformat()}}}
    counted: Counter[tuple[str, str]] = Counter()
    for run in await _all(prefect, "/flow_runs/filter", wanted):
        name = names.get(run["flow_id"], "?")
        if run["state_type"] == "COMPLETED":
            counted[name, "completed"] += 1
        elif run["state_type"] in _FAILED:
            counted[name, "failed"] += 1
    return {
        name: {"completed": counted[name, "completed"], "failed": counted[name, "failed"]}
        for name in sorted({name for name, _ in counted})
    }


async def _all(prefect: Client, path: str, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = await prefect.post(path, wanted | {"limit": _PAGE, "offset": len(found)})
        found += page
        if len(page) < _PAGE:
            return found
