"""The shop that a day of order lines needs: its catalogue, its shelves, the companies around it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from caravan import day_goods, day_network, day_supply
from caravan.companies import Companies
from caravan.day import Day

SEED: Final = 20_111_205


@dataclass(frozen=True, slots=True, kw_only=True)
class DayShop:
    """What is loaded and put up before the first line."""

    catalogue: Mapping[str, Any]  # the document of `caravan load`
    stock: Mapping[str, Sequence[Mapping[str, Any]]]  # opening shelves by warehouse
    companies: Companies

    def document(self) -> bytes:
        """Return the catalogue as JSON."""
        return json.dumps(self.catalogue, ensure_ascii=False).encode()


def day_shop(day: Day, *, seed: int = SEED) -> DayShop:
    """Return the shop for a day; the same day and seed give the same shop.

    Nothing of the following is in the order lines; it is decided by this rule and a seeded
    source of chance for each SKU:

    - Price: the median price of the SKU's lines, a penny for ten fen, at least half a yuan; the
      list price is 125 % of it. A unit costs 60 % of its price in small quantities.
    - Campaign: one for each SKU. Groups of two; of three for SKUs with eight lines or more; the
      twenty hottest have a ladder (2, 3 or 5 members pay 100, 95 or 88 %), the three hottest of
      them at most twelve participants. 24 hours to fill, 15 minutes to pay, shipped within five
      days; 85 % leave from one warehouse; a quarter refunds late money always, the others take
      it when there is room.
    - Opening stock: 3 % of the SKUs are closed out (half of their lines lies in one warehouse,
      and nobody makes them any more); of the others about 60 % are there for every line, in one
      or two warehouses, 30 % for 40 % of the lines, the rest not at all.
    - Warehouses: the five capitals nearest to all orders, cut-off at 18:00. Carriers: an express
      and a cheap one, by bands of distance between capitals.
    - Suppliers: `jade` and `harvest` (`caravan.day_supply`), with ladders in steps of a few
      units, because that is how much a SKU sells. At most two units more than needed are bought,
      or what a MOQ asks for.
    - What goes wrong: jade loses the answer to its first order and delivers one unit of it a
      day late; harvest rejects its first order; each carrier loses the answer to a label; of the
      payment notifies some come twice, some ten times at once, some never.
    """
    chosen = day_goods.goods(day, seed=seed)
    return DayShop(
        catalogue={
            "products": day_goods.products(chosen),
            "carriers": day_network.carriers(),
            "warehouses": day_network.warehouses(),
            "suppliers": day_supply.suppliers(chosen, seed=seed),
            "campaigns": day_goods.campaigns(chosen),
        },
        stock=day_goods.opening_stock(chosen),
        companies=Companies(
            suppliers=day_supply.sandbox_suppliers(chosen),
            warehouses=day_network.sandbox_warehouses(),
            carriers=day_network.sandbox_carriers(),
            payments={
                "notify_twice": {"every": 20},
                "notify_tenfold": {"every": 67},
                "notify_never": {"every": 50},
            },
            seed=seed,
            ticks=False,
        ),
    )
