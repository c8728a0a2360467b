from collections import Counter
from typing import Any

import pytest

from caravan.day import Day, generated_day
from caravan.day_catalogue import DayShop, day_shop
from caravan.day_goods import Supply, goods
from caravan.day_network import HAULERS, SITES
from caravan.figures import PROVINCES
from operations.catalogue_document import Catalogue
from operations.catalogue_rules import Known, broken_rules
from sandbox.config import SandboxConfig


@pytest.fixture(scope="module")
def day() -> Day:
    return generated_day()


@pytest.fixture(scope="module")
def shop(day: Day) -> DayShop:
    return day_shop(day)


def test_the_catalogue_is_one_that_the_shop_takes(shop: DayShop) -> None:
    catalogue = Catalogue.model_validate(shop.catalogue)

    assert broken_rules(catalogue, Known(campaigns={}, median_unit_fen={})) == []


def test_the_same_day_and_seed_are_the_same_shop(day: Day, shop: DayShop) -> None:
    assert day_shop(day).document() == shop.document()
    assert day_shop(day, seed=7).document() != shop.document()


def test_every_sku_is_a_product_with_one_campaign(day: Day, shop: DayShop) -> None:
    assert [product["sku"] for product in shop.catalogue["products"]] == list(day.skus)
    assert [campaign["sku"] for campaign in shop.catalogue["campaigns"]] == list(day.skus)


def test_hot_skus_have_larger_groups(day: Day, shop: DayShop) -> None:
    lines = Counter(line.sku for line in day.lines)
    by_mode = Counter(campaign["mode"] for campaign in shop.catalogue["campaigns"])

    assert by_mode["tiered"] == 20
    for campaign in shop.catalogue["campaigns"]:
        if campaign["mode"] == "fixed":
            assert campaign["capacity"] == (3 if lines[campaign["sku"]] >= 8 else 2)


def test_every_warehouse_reaches_every_province_with_both_carriers(shop: DayShop) -> None:
    everywhere = sorted(province.adcode for province in PROVINCES)

    for warehouse in shop.catalogue["warehouses"]:
        for hauler in HAULERS:
            reached = [
                adcode
                for lane in warehouse["lanes"]
                if lane["carrier"] == hauler.code
                for adcode in lane["provinces"]
            ]
            assert sorted(reached) == everywhere


def test_the_carriers_take_the_days_that_the_lanes_promise(shop: DayShop) -> None:
    home = {site.code: site.province for site in SITES}
    promised = {
        (lane["carrier"], home[warehouse["code"]], adcode): lane["days"]
        for warehouse in shop.catalogue["warehouses"]
        for lane in warehouse["lanes"]
        for adcode in lane["provinces"]
    }

    for carrier in shop.companies.carriers:
        for lane in carrier["lanes"]:
            way = (carrier["code"], lane["from_province"], lane["to_province"])
            assert lane["days"] == promised[way]


def test_what_lies_there_is_as_the_rule_says(day: Day, shop: DayShop) -> None:
    chosen = goods(day, seed=shop.companies.seed)
    shares = Counter(good.supply for good in chosen)

    assert shares[Supply.STOCKED] / len(chosen) == pytest.approx(0.6, abs=0.04)
    assert shares[Supply.PART] / len(chosen) == pytest.approx(0.3, abs=0.04)
    assert 0 < shares[Supply.CLOSE_OUT] < len(chosen) * 0.06
    for good in chosen:
        if good.supply is Supply.STOCKED:
            assert max(good.stock.values()) == good.lines
        if good.supply is Supply.CLOSE_OUT:
            assert len(good.stock) == 1
        if good.supply is Supply.NONE:
            assert not good.stock


def test_everything_but_close_outs_can_be_bought(day: Day, shop: DayShop) -> None:
    made = {good.sku for good in goods(day, seed=shop.companies.seed) if good.supply != "close_out"}
    jade, harvest = shop.catalogue["suppliers"]

    assert {agreement["sku"] for agreement in jade["agreements"]} == made
    assert {agreement["sku"] for agreement in harvest["agreements"]} < made


def test_the_companies_sell_what_the_agreements_say(shop: DayShop) -> None:
    for company, supplier in zip(
        shop.companies.suppliers, shop.catalogue["suppliers"], strict=True
    ):
        sold = [(item["sku"], item["lead_days"]) for item in company["items"]]
        agreed = [(each["sku"], each["lead_days"]) for each in supplier["agreements"]]
        assert sold == agreed


def test_some_ladders_make_more_units_cheaper(shop: DayShop) -> None:
    def total(tiers: list[dict[str, int]], units: int) -> int:
        return [t["unit_price_fen"] for t in tiers if t["min_units"] <= units][-1] * units

    jade = shop.catalogue["suppliers"][0]
    agreements: list[dict[str, Any]] = jade["agreements"]

    assert any(
        total(agreement["tiers"], step["min_units"] - 1)
        > total(agreement["tiers"], step["min_units"])
        for agreement in agreements
        for step in agreement["tiers"][1:]
    )


def test_the_sandbox_takes_the_companies(shop: DayShop) -> None:
    secret = "whsec_" + "A" * 43 + "="
    document: dict[str, Any] = {
        "caravan_url": "http://127.0.0.1:1",
        "start": "2011-12-05T00:00:00+00:00",
        "seed": shop.companies.seed,
    }
    for kind, companies in shop.companies.by_kind().items():
        document[kind] = [{**company, "secret": secret} for company in companies]

    config = SandboxConfig.model_validate(document)

    assert {supplier.code for supplier in config.suppliers} == {"jade", "harvest"}
    assert config.suppliers[1].behaviour.reject.first == 1
