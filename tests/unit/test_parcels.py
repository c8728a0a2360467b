from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logistics.parcels import Item, pack, parcels_of
from logistics.tariffs import Tariff, parcel_price_fen

FIRST_KILO = Tariff(first_grams=1000, first_fen=800, step_grams=500, step_fen=120)


@pytest.mark.parametrize(
    ("grams", "fen"),
    [(1, 800), (999, 800), (1000, 800), (1001, 920), (1500, 920), (1501, 1040), (30_000, 7760)],
)
def test_a_begun_step_is_paid_in_full(grams: int, fen: int) -> None:
    assert parcel_price_fen(FIRST_KILO, weight_grams=grams) == fen


@given(grams=st.integers(1, 100_000), more=st.integers(0, 5_000))
def test_a_heavier_parcel_never_costs_less(grams: int, more: int) -> None:
    assert parcel_price_fen(FIRST_KILO, weight_grams=grams) <= parcel_price_fen(
        FIRST_KILO, weight_grams=grams + more
    )


def test_a_parcel_weighs_something() -> None:
    with pytest.raises(ValueError, match="0 g"):
        parcel_price_fen(FIRST_KILO, weight_grams=0)


def item(number: int, *, units: int = 1, unit_grams: int = 500) -> Item:
    return Item(
        order_id=UUID(int=number),
        group_id=UUID(int=100 + number),
        sku=f"sku-{number}",
        units=units,
        unit_grams=unit_grams,
    )


def test_orders_of_one_address_share_a_parcel() -> None:
    (parcel,) = pack([item(1), item(2, units=3)], max_grams=30_000)

    assert parcel.weight_grams == 2000
    assert {each.order_id.int for each in parcel.items} == {1, 2}


def test_an_order_that_fits_one_parcel_is_not_split_to_fill_another() -> None:
    parcels = pack([item(1, units=6), item(2, units=6)], max_grams=5000)

    assert sorted(parcel.weight_grams for parcel in parcels) == [3000, 3000]
    assert all(len(parcel.items) == 1 for parcel in parcels)


def test_a_heavy_order_is_split_and_its_rest_takes_others_along() -> None:
    parcels = pack([item(1, units=7, unit_grams=10_000), item(2)], max_grams=30_000)

    assert sorted(parcel.weight_grams for parcel in parcels) == [10_500, 30_000, 30_000]


def test_a_unit_beyond_the_limit_is_a_parcel_of_its_own() -> None:
    assert parcels_of(units=2, unit_grams=40_000, max_grams=30_000) == (1, 1)


@given(
    wanted=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 9_000)), max_size=8),
    max_grams=st.integers(1_000, 30_000),
)
def test_every_unit_travels_once_and_no_parcel_is_too_heavy(
    wanted: list[tuple[int, int]], max_grams: int
) -> None:
    items = [item(n, units=units, unit_grams=g) for n, (units, g) in enumerate(wanted)]

    parcels = pack(items, max_grams=max_grams)

    for asked in items:
        travelling = [i for p in parcels for i in p.items if i.order_id == asked.order_id]
        assert sum(i.units for i in travelling) == asked.units
    for parcel in parcels:
        single = len(parcel.items) == 1 and parcel.items[0].units == 1
        assert parcel.weight_grams <= max_grams or single
        assert len({i.order_id for i in parcel.items}) == len(parcel.items)
