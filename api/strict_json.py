"""JSON without second meanings: duplicate keys, NaN and numbers beyond 64 bit are refused."""

import json
import math
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from api.errors import Invalid, MalformedJson, Violation

_BIGGEST: Final = 2**63 - 1
_SMALLEST: Final = -(2**63)
_DIGITS: Final = 20  # of -9223372036854775808
_TOO_BIG: Final = 2**64
_DEPTH: Final = 32


def parse(body: bytes) -> Any:
    """Return the document in `body`.

    Raises:
        MalformedJson: it is not JSON, or says something twice.
        Invalid: a text holds NUL or half a character, or a number is beyond 64 bit.
    """
    try:
        document = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_int=_integer,
        )
    except (ValueError, RecursionError) as error:
        raise MalformedJson(f"the body is not strict JSON: {error}") from error
    violations = list(_violations(document, "", 0))
    if violations:
        raise Invalid(violations)
    return document


def pointer_step(name: object) -> str:
    """Return one step of a JSON pointer (RFC 6901).

    >>> pointer_step("a/b~c"), pointer_step(3)
    ('/a~1b~0c', '/3')
    """
    return "/" + str(name).replace("~", "~0").replace("/", "~1")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a key twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= _DIGITS else _TOO_BIG


def _violations(value: Any, pointer: str, depth: int) -> Iterator[Violation]:
    if depth > _DEPTH:
        yield Violation(pointer=pointer, detail=f"nested deeper than {_DEPTH}")
    elif isinstance(value, dict):
        for key, entry in value.items():
            if _is_text(key):
                yield from _violations(entry, pointer + pointer_step(key), depth + 1)
            else:
                yield Violation(pointer=pointer, detail="a key is not text")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _violations(entry, pointer + pointer_step(index), depth + 1)
    else:
        wrong = _wrong(value)
        if wrong is not None:
            yield Violation(pointer=pointer, detail=wrong)


def _wrong(value: object) -> str | None:
    if isinstance(value, str) and not _is_text(value):
        return "holds NUL or half a surrogate pair"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number beyond what a double holds"
    if isinstance(value, int) and not _SMALLEST <= value <= _BIGGEST:
        return "a number beyond 64 bit"
    return None


def _is_text(value: str) -> bool:
    if "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
