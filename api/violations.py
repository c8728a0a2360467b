"""What msgspec says about a body, as a violation with its JSON pointer."""

import re
from typing import Final

from api import strict_json
from api.errors import Violation

# "Expected `int`, got `str` - at `$.lines[0].units`"; no path means the document itself.
_MESSAGE: Final = re.compile(r"^(?P<detail>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)
_NAMED: Final = re.compile(r"(?:unknown|missing required) field `(?P<name>.*)`", re.DOTALL)


def violation_of(message: str, *, within: str = "") -> Violation:
    """Return the violation behind the text of a msgspec.ValidationError.

    Args:
        within: the JSON pointer of the part of the body that was converted.

    >>> violation_of("Expected `int`, got `str` - at `$.lines[0].units`", within="/data")
    Violation(detail='Expected int, got str', pointer='/data/lines/0/units', parameter=None)
    >>> violation_of("Object contains unknown field `x`").pointer
    '/x'
    """
    found = _MESSAGE.match(message)
    detail, path = (found["detail"], found["path"] or "") if found else (message, "")
    pointer = within + "".join(
        strict_json.pointer_step(step) for step in re.split(r"[.\[\]]+", path) if step
    )
    named = _NAMED.search(detail)
    if named:
        pointer += strict_json.pointer_step(named["name"])
    return Violation(pointer=pointer, detail=detail.replace("`", ""))
