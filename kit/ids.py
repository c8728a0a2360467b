"""UUIDv7: ids that sort by the time they were made, so B-tree inserts stay at the right edge."""

import os
import threading
import time
from uuid import UUID

_lock = threading.Lock()
_last_ms = 0
_counter = 0

_COUNTER_BITS = 12
_RANDOM_BITS = 62


def new_id() -> UUID:
    """Return a UUIDv7 of the wall clock; ids of one process strictly ascend.

    Source:
        RFC 9562, section 5.7, with the counter of section 6.2, method 1.

    >>> a, b = new_id(), new_id()
    >>> a < b, a.version
    (True, 7)
    """
    global _last_ms, _counter  # noqa: PLW0603 - the counter is the point of this module
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms = now_ms
            _counter = int.from_bytes(os.urandom(1)) << 2
        else:
            _counter += 1
            if _counter >> _COUNTER_BITS:
                _last_ms += 1
                _counter = 0
        milliseconds, counter = _last_ms, _counter
    random = int.from_bytes(os.urandom(8)) & ((1 << _RANDOM_BITS) - 1)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << _RANDOM_BITS | random)
