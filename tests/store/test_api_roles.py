"""Deny by default: every route of the application declares who may call it, and means it."""

import re
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Final

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Route

from api.app import create_app
from groups import sessions
from kit.db import transaction
from kit.ids import new_id
from tests.store.groups_world import add_token, bearer, running_app

pytestmark = pytest.mark.usefixtures("store")


class Role(StrEnum):
    ANYBODY = "anybody"
    CALLER = "any token"
    BUYER = "buyer"
    OPERATOR = "operator"
    PARTNER = "a partner's signature"


# From the top: the first pattern that a route's path begins with says who may call it. What no
# pattern knows fails the test, so that a new route has to declare itself.
_ROLES: Final = (
    (r"/(healthz|readyz)$", Role.ANYBODY),
    (r"/metrics$", Role.OPERATOR),
    (r"/(openapi\.json|docs|docs/oauth2-redirect)$", Role.ANYBODY),
    (r"/v1/sessions$", Role.ANYBODY),
    (r"/v1/webhooks/", Role.PARTNER),
    (r"/v1/ops/", Role.OPERATOR),
    (r"GET /v1/campaigns", Role.CALLER),
    (r"GET /v1/groups/{group_id}$", Role.CALLER),
    (r"/v1/(campaigns|groups|orders|payments|me)\b", Role.BUYER),
)


def declared(method: str, path: str) -> Role | None:
    """Return who may call a route, or None when nobody has said."""
    for pattern, role in _ROLES:
        if re.match(pattern, path) or re.match(pattern, f"{method} {path}"):
            return role
    return None


def calls() -> list[tuple[str, str]]:
    """Return (method, path) of every route."""
    routes: list[BaseRoute] = create_app().routes
    return sorted(
        (method, route.path)
        for route in routes
        if isinstance(route, Route)
        for method in (route.methods or ())
        if method != "HEAD"
    )


def test_every_route_is_a_plain_route_with_a_declared_role() -> None:
    for route in create_app().routes:
        assert isinstance(route, Route), route
    undeclared = [call for call in calls() if declared(*call) is None]
    assert undeclared == []


@pytest.fixture
async def far(store: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client at another machine's address."""
    del store
    async with running_app() as (app, _):
        assert isinstance(app, FastAPI)
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://far.test") as client:
            yield client


async def call(
    client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]
) -> httpx.Response:
    filled = re.sub(r"{[^}]+}", str(new_id()), path)
    if method in {"GET", "DELETE"}:
        return await client.request(method, filled, headers=headers)
    return await client.request(method, filled, json={}, headers=headers)


async def test_strangers_and_wrong_roles_are_turned_away_everywhere(
    far: httpx.AsyncClient,
) -> None:
    buyer, _ = await add_token("ann")
    async with transaction() as session:
        operator = await sessions.ops_token(session, "olga")
    wrong = {Role.BUYER: operator, Role.OPERATOR: buyer}
    failures: list[object] = []

    for method, path in calls():
        role = declared(method, path)
        if role in {Role.ANYBODY, None}:
            continue
        stranger = await call(far, method, path, {})
        if stranger.status_code != 401:
            failures.append((method, path, "stranger", stranger.status_code))
        if role in wrong:
            refused = await call(far, method, path, bearer(wrong[role], key="k"))
            if refused.status_code != 403:
                failures.append((method, path, "wrong role", refused.status_code))
        if role is Role.PARTNER:
            token = await call(far, method, path, bearer(operator))
            if token.status_code != 401:
                failures.append((method, path, "a token", token.status_code))

    assert failures == []


async def test_what_is_open_to_anybody_answers_anybody(far: httpx.AsyncClient) -> None:
    for method, path in calls():
        if declared(method, path) is Role.ANYBODY and method == "GET":
            answer = await call(far, method, path, {})
            assert answer.status_code == 200, (method, path, answer.text)
