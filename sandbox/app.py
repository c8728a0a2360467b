"""The HTTP face of all companies: their protocol, and the sandbox's own routes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.answers import json_answer, parse, read_body, refusal_answer
from sandbox.config import SandboxConfig
from sandbox.misbehaviour import Chances
from sandbox.refusal import Refusal
from sandbox.wire import (
    ItemChange,
    MoveClock,
    NamedPhonePayment,
    PhonePayment,
    PhonePayments,
    ShelfChanges,
    Shelves,
)
from sandbox.world import World

Endpoint = Callable[[Request], Awaitable[Response]]

_TICK_SECONDS: Final = 0.25


def build_app(config: SandboxConfig) -> Starlette:
    """Return the application of all companies."""
    world = World(config)
    desk = Desk(world)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        ticking = asyncio.create_task(_tick(world)) if config.ticks else None
        yield
        if ticking is not None:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
        await world.courier.close()

    return Starlette(
        routes=_protocol(world) + desk.routes(),
        lifespan=lifespan,
        exception_handlers={Refusal: _refuse},
    )


def _protocol(world: World) -> list[Route]:
    """Return the routes of docs/partners.md, the busiest first."""

    def pay(name: str) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            handler: Endpoint = getattr(world.provider, name)
            return await handler(request)

        return endpoint

    def company(companies: dict[str, Any], name: str) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            handler: Endpoint = getattr(_company(companies, request), name)
            return await handler(request)

        return endpoint

    single, combined = "/pay/v3/pay/transactions", "/pay/v3/combine-transactions"
    refunds = "/pay/v3/refund/domestic/refunds"
    supplier, warehouse, carrier = "/suppliers/{code}", "/warehouses/{code}", "/carriers/{code}"
    return [
        Route(f"{single}/jsapi", pay("prepay"), methods=["POST"]),
        Route(f"{carrier}/labels", company(world.carriers, "label"), methods=["POST"]),
        Route(f"{refunds}", pay("refund"), methods=["POST"]),
        Route(f"{single}/out-trade-no/{{number}}", pay("query"), methods=["GET"]),
        Route(f"{single}/out-trade-no/{{number}}/close", pay("close"), methods=["POST"]),
        Route(f"{combined}/jsapi", pay("combine"), methods=["POST"]),
        Route(f"{combined}/out-trade-no/{{number}}", pay("query"), methods=["GET"]),
        Route(f"{combined}/out-trade-no/{{number}}/close", pay("close"), methods=["POST"]),
        Route(f"{refunds}/{{number}}", pay("refund_query"), methods=["GET"]),
        Route(f"{carrier}/labels", company(world.carriers, "lookup"), methods=["GET"]),
        Route(
            f"{carrier}/labels/{{label_id}}/void", company(world.carriers, "void"), methods=["POST"]
        ),
        Route(f"{carrier}/rates", company(world.carriers, "rates"), methods=["POST"]),
        Route(f"{warehouse}/despatches", company(world.warehouses, "despatch"), methods=["POST"]),
        Route(f"{warehouse}/despatches", company(world.warehouses, "lookup"), methods=["GET"]),
        Route(f"{warehouse}/stock", company(world.warehouses, "stock"), methods=["GET"]),
        Route(f"{supplier}/purchase-orders", company(world.suppliers, "order"), methods=["POST"]),
        Route(f"{supplier}/purchase-orders", company(world.suppliers, "lookup"), methods=["GET"]),
        Route(
            f"{supplier}/purchase-orders/{{supplier_ref}}/cancel",
            company(world.suppliers, "cancel"),
            methods=["POST"],
        ),
    ]


class Desk:
    """The sandbox's own routes: the clock, the phone, the shelves and the misbehaviour."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        """Return them, the busiest first."""
        return [
            Route("/sandbox/pay/behaviour", self._pay_behaviour, methods=["PUT"]),
            Route("/sandbox/pay/{prepay_id}", self._phone, methods=["POST"]),
            Route("/sandbox/pay-many", self._phones, methods=["POST"]),
            Route("/sandbox/clock", self._move, methods=["POST"]),
            Route("/sandbox/clock", self._time, methods=["GET"]),
            Route("/sandbox/state", self._state, methods=["GET"]),
            Route("/sandbox/warehouses/{code}/stock", self._fill, methods=["PUT"]),
            Route("/sandbox/warehouses/{code}/changes", self._change, methods=["POST"]),
            Route("/sandbox/warehouses/{code}/count", self._count, methods=["POST"]),
            Route("/sandbox/suppliers/{code}/items/{sku}", self._item, methods=["PUT"]),
            Route("/sandbox/{kind}/{code}/behaviour", self._behaviour, methods=["PUT"]),
        ]

    async def _phone(self, request: Request) -> Response:
        payment = parse(await read_body(request), PhonePayment)
        return json_answer(self._world.provider.phone(request.path_params["prepay_id"], payment))

    async def _phones(self, request: Request) -> Response:
        asked = parse(await read_body(request), PhonePayments)
        return json_answer({"results": [self._one_of_many(item) for item in asked.payments]})

    def _one_of_many(self, item: NamedPhonePayment) -> dict[str, Any]:
        try:
            return {"prepay_id": item.prepay_id, **self._world.provider.phone(item.prepay_id, item)}
        except Refusal as refusal:
            return {
                "prepay_id": item.prepay_id,
                "outcome": "refused",
                "code": refusal.code,
                "message": refusal.message,
            }

    async def _move(self, request: Request) -> Response:
        asked = parse(await read_body(request), MoveClock)
        return json_answer(await self._world.move(asked.to))

    async def _time(self, _: Request) -> Response:
        return json_answer(self._world.time())

    async def _state(self, _: Request) -> Response:
        return json_answer(self._world.state())

    async def _fill(self, request: Request) -> Response:
        asked = parse(await read_body(request), Shelves)
        _company(self._world.warehouses, request).fill(asked.lines)
        return self._done()

    async def _change(self, request: Request) -> Response:
        asked = parse(await read_body(request), ShelfChanges)
        _company(self._world.warehouses, request).change(asked.changes)
        return self._done()

    async def _count(self, request: Request) -> Response:
        _company(self._world.warehouses, request).count()
        return self._done()

    async def _item(self, request: Request) -> Response:
        asked = parse(await read_body(request), ItemChange)
        supplier = _company(self._world.suppliers, request)
        supplier.change_item(request.path_params["sku"], asked)
        return self._done()

    async def _pay_behaviour(self, request: Request) -> Response:
        provider = self._world.provider
        return await _put_behaviour(request, provider, provider.chances)

    async def _behaviour(self, request: Request) -> Response:
        kinds: dict[str, dict[str, Any]] = {
            "suppliers": self._world.suppliers,
            "warehouses": self._world.warehouses,
            "carriers": self._world.carriers,
        }
        company = _company(kinds.get(request.path_params["kind"], {}), request)
        return await _put_behaviour(request, company, company.office.chances)

    def _done(self) -> Response:
        self._world.clock.settle()
        return json_answer(self._world.time())


async def _put_behaviour(request: Request, company: Any, chances: Chances) -> Response:
    """Replace the whole behaviour and start counting occasions anew."""
    kind: type[BaseModel] = type(company.behaviour)
    try:
        company.behaviour = kind.model_validate_json(await read_body(request))
    except ValidationError as error:
        raise Refusal(422, "validation", str(error)) from None
    chances.forget()
    return json_answer(company.behaviour.model_dump(mode="json"))


def _company(companies: dict[str, Any], request: Request) -> Any:
    found = companies.get(request.path_params["code"])
    if found is None:
        raise Refusal(404, "unknown_company", f"nobody at {request.scope['path']}")
    return found


async def _refuse(_: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return refusal_answer(error)


async def _tick(world: World) -> None:
    """Let business time pass with wall time."""
    seen = time.monotonic()
    while True:
        await asyncio.sleep(_TICK_SECONDS)
        passed = time.monotonic() - seen
        seen += passed
        await world.clock.move(world.clock.now + timedelta(seconds=passed))
