"""The OpenAPI document: FastAPI's own, with the hot routes and the one shape of every refusal."""

from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.groups import GroupProgress, SeatTaken
from api.schemas import Problem
from api.seat_bodies import JoinGroup, OpenGroup

_REF: Final = "#/components/schemas/{name}"
_VALIDATION: Final = ("HTTPValidationError", "ValidationError")
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "1 to 255 visible ASCII characters; the same key gets the same answer again",
    "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
}
_GROUP_ID: Final = {
    "name": "group_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}
_PROBLEM: Final = {
    "description": "A refusal, RFC 9457; `code` is stable",
    "content": {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}},
}
_BEARER: Final[list[dict[str, list[str]]]] = [{"bearer": []}]


def build(app: FastAPI) -> dict[str, Any]:
    """Return the document of every route of `app`."""
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    components = document.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    for name in _VALIDATION:
        schemas.pop(name, None)
    _, hot = msgspec.json.schema_components(
        [OpenGroup, JoinGroup, SeatTaken, GroupProgress], ref_template=_REF
    )
    schemas.update(hot)
    problem = Problem.model_json_schema(ref_template=_REF.replace("{name}", "{model}"))
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    document["paths"].update(_hot_paths())
    for path in document["paths"].values():
        for operation in path.values():
            _refine(operation)
    document["paths"] = dict(sorted(document["paths"].items()))
    components["schemas"] = dict(sorted(schemas.items()))
    return document


def _hot_paths() -> dict[str, Any]:
    return {
        "/v1/groups": {
            "post": _operation(
                "open_group", "Open a group", body="OpenGroup", answer="SeatTaken", status=201
            )
        },
        "/v1/groups/{group_id}": {
            "get": _operation("show_group", "How far a group is", answer="GroupProgress")
        },
        "/v1/groups/{group_id}/orders": {
            "post": _operation(
                "join_group", "Join a group", body="JoinGroup", answer="SeatTaken", status=201
            )
        },
    }


def _operation(
    name: str, summary: str, *, answer: str, body: str | None = None, status: int = 200
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "tags": ["groups"],
        "summary": summary,
        "operationId": name,
        "parameters": [_GROUP_ID] if name != "open_group" else [],
        "security": _BEARER,
        "responses": {
            str(status): {
                "description": "Successful Response",
                "content": {"application/json": {"schema": {"$ref": _REF.format(name=answer)}}},
            }
        },
    }
    if body is not None:
        described["parameters"] = [*described["parameters"], _KEY]
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": _REF.format(name=body)}}},
        }
    return described


def _refine(operation: dict[str, Any]) -> None:
    """Say how callers are known, and that every refusal has one shape."""
    parameters = operation.get("parameters", [])
    named = [parameter["name"].lower() for parameter in parameters]
    if "authorization" in named:
        operation["security"] = _BEARER
    operation["parameters"] = [
        _KEY if parameter["name"].lower() == "idempotency-key" else parameter
        for parameter in parameters
        if parameter["name"].lower() != "authorization"
    ]
    if not operation["parameters"]:
        del operation["parameters"]
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = _PROBLEM
