"""One effect per Idempotency-Key: the same call gets the same answer for ever."""

from starlette.requests import Request
from starlette.responses import Response

from sandbox.answers import json_answer
from sandbox.refusal import Refusal


def idempotency_key(request: Request, *, expected: str) -> str:
    """Return the call's key, which by the protocol is the shop's document id.

    Raises:
        Refusal: it is missing, or is not that id.
    """
    key = request.headers.get("idempotency-key")
    if not key:
        raise Refusal(400, "idempotency_key_missing", "the call carries no Idempotency-Key")
    if key != expected:
        raise Refusal(422, "idempotency_key_invalid", f"the key of this call is {expected}")
    return key


class KeyedAnswers:
    """The answers given so far, by key, with the terms they were given for."""

    def __init__(self) -> None:
        self._given: dict[str, tuple[object, object, int]] = {}

    def again(self, key: str, *, terms: object) -> Response | None:
        """Return the answer given before, None when the key is new.

        Raises:
            Refusal: the key was used with other terms.
        """
        given = self._given.get(key)
        if given is None:
            return None
        known_terms, content, status = given
        if known_terms != terms:
            raise Refusal(422, "idempotency_key_reuse", "the key was used with another body")
        return json_answer(content, status=status)

    def give(self, key: str, content: object, *, terms: object, status: int) -> Response:
        """Keep an answer under its key and return it."""
        self._given[key] = (terms, content, status)
        return json_answer(content, status=status)
