"""What the running stack takes of the machine's memory, shared pages counted in proportion."""

import contextlib
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import psutil

_MIB: Final = 1024 * 1024
_SERVERS: Final = ("postgres", "valkey")


def pss_mib(parts: Mapping[int, str]) -> dict[str, int]:
    """Return the proportional set size of this process's descendants in MiB: all, and by part.

    Args:
        parts: names of parts by process id; their own descendants belong to them.
    """
    owners = dict(parts)
    used: defaultdict[str, int] = defaultdict(int)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            owner = owners.get(process.pid) or owners.get(process.ppid()) or _server(process)
            owners[process.pid] = owner
            used[owner] += process.memory_full_info().pss
    whole = {name: round(size / _MIB) for name, size in sorted(used.items())}
    return {"all": sum(whole.values()), **whole}


def _server(process: psutil.Process) -> str:
    name = process.name().lower()
    return next((server for server in _SERVERS if server in name), "others")
