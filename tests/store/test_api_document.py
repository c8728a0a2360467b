"""The committed OpenAPI document is the one the application serves, and names every route."""

from starlette.routing import Route

from api.app import create_app
from api.openapi import PATH, written


def test_the_committed_document_has_not_drifted() -> None:
    assert PATH.read_text(encoding="utf-8") == written(), "run python -m api.openapi --write"


def test_every_route_under_v1_is_in_the_document() -> None:
    app = create_app()
    paths = app.openapi()["paths"]

    for route in app.routes:
        if isinstance(route, Route) and route.path.startswith("/v1/"):
            for method in set(route.methods or ()) - {"HEAD"}:
                assert method.lower() in paths[route.path], (method, route.path)


def test_every_refusal_has_one_shape_and_every_reference_is_there() -> None:
    document = create_app().openapi()
    schemas = document["components"]["schemas"]

    for path in document["paths"].values():
        for operation in path.values():
            content = operation["responses"]["default"]["content"]
            assert list(content) == ["application/problem+json"]
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        found = [str(node["$ref"])] if "$ref" in node else []
        return found + [one for value in node.values() for one in _references(value)]
    if isinstance(node, list):
        return [one for value in node for one in _references(value)]
    return []
