"""Explains a fulfilment plan: what binds, what the second choices cost, or why it cannot be."""

from typing import Final

import numpy as np

from optimizer.allocation import Part, place_exactly
from optimizer.contended import splittable
from optimizer.evaluate import Evaluation
from optimizer.explanation import Explanation, Finding, Text
from optimizer.lanes import UNSERVED, Ints, Lanes
from optimizer.schema import E4
from optimizer.solving import Deadline

_MOST_GROUPS: Final = 200
"""Groups explained one by one, those farthest from their cheapest warehouse first."""

_MOST_ELASTIC_GROUPS: Final = 400


def explain_fulfilment(lanes: Lanes, place: Ints, judged: Evaluation) -> Explanation:
    """Return where groups go against their cheapest warehouse, and what keeps them from it."""
    at, whole = _whole_places(lanes, place)
    used = int((lanes.parcels(place) > 0).sum())
    intact = int((at != UNSERVED).sum())
    findings = [*_limits(lanes, place), *_second_choices(lanes, place, at, whole)]
    return Explanation(
        summary=Text(
            en=f"{lanes.groups} groups leave {used} warehouses, {intact} of them whole; carriers "
            f"cost {judged.parts_e4['carrier'] // E4} fen, trucks "
            f"{judged.parts_e4['truck'] // E4}, waves {judged.parts_e4['wave'] // E4}, splits "
            f"{judged.parts_e4['split'] // E4}",
            zh=f"{lanes.groups}个团由{used}个仓发出，其中{intact}个整团发货；"
            f"快递{judged.parts_e4['carrier'] // E4}分，干线{judged.parts_e4['truck'] // E4}分，"
            f"波次{judged.parts_e4['wave'] // E4}分，拆单{judged.parts_e4['split'] // E4}分",
        ),
        findings=tuple(findings),
    )


def explain_shortfall(lanes: Lanes, *, deadline: Deadline) -> Explanation:
    """Return why not every group can be served, and the smallest change that would allow it."""
    findings = _stock_facts(lanes) + _group_facts(lanes)
    capacity = float(lanes.parcel_capacity.sum())
    if len(lanes.units) > capacity:
        missing = len(lanes.units) - round(capacity)
        findings.append(
            Finding(
                kind="parcel_capacity_below_parcels",
                subject="warehouses",
                text=Text(
                    en=f"All warehouses together pack {missing} parcels too few",
                    zh=f"全部仓库的包裹处理能力合计少{missing}件",
                ),
                numbers={"by": missing},
            )
        )
    changes = _relaxation(lanes, deadline=deadline)
    way_out = (changes or findings or [_UNKNOWN])[0].text
    return Explanation(
        summary=Text(
            en=f"Not every group can be served; smallest way out: {way_out.en}",
            zh=f"无法满足所有团；最小调整：{way_out.zh}",
        ),
        findings=(*findings, *changes),
    )


_UNKNOWN: Final = Finding(
    kind="unknown", subject="problem", text=Text(en="none was found in time", zh="限时内未找到")
)


def _whole_places(lanes: Lanes, place: Ints) -> tuple[Ints, Ints]:
    """Return each group's warehouse (UNSERVED when split), and the groups that have one."""
    first = place[lanes.start]
    last = np.maximum.reduceat(place, lanes.start)
    least = np.minimum.reduceat(place, lanes.start)
    at = np.where((least == last) & (first != UNSERVED), first, UNSERVED)
    return at, np.flatnonzero(at != UNSERVED)


def _limits(lanes: Lanes, place: Ints) -> list[Finding]:
    findings: list[Finding] = []
    names = [warehouse.id for warehouse in lanes.problem.warehouses]
    parcels = lanes.parcels(place)
    for at in np.flatnonzero(parcels >= lanes.parcel_capacity).tolist():
        capacity = int(lanes.parcel_capacity[at])
        findings.append(
            Finding(
                kind="binds",
                subject=names[at],
                text=Text(
                    en=f"{names[at]} packs all of its {capacity} parcels",
                    zh=f"{names[at]}的{capacity}件包裹能力已用满",
                ),
                numbers={"parcel_capacity": capacity},
            )
        )
    return findings


def _second_choices(lanes: Lanes, place: Ints, at: Ints, whole_groups: Ints) -> list[Finding]:
    findings: list[Finding] = []
    cost = lanes.whole(lanes.cost)
    names = [warehouse.id for warehouse in lanes.problem.warehouses]
    free = lanes.stock - lanes.taken(place)
    here = cost[whole_groups, at[whole_groups]]
    detour = here - cost[whole_groups].min(axis=1)
    for group in whole_groups[np.argsort(-detour, kind="stable")][:_MOST_GROUPS].tolist():
        others = cost[group].copy()
        others[at[group]] = np.inf
        second = int(np.argmin(others))
        if not np.isfinite(others[second]):
            continue
        more = int(others[second] - cost[group, at[group]])
        product = int(lanes.product[group])
        short = int(lanes.group_units[group]) - int(free[second, product])
        why_en, why_zh = "", ""
        if short > 0:
            why_en = f"; it lacks {short} units there"
            why_zh = f"；该仓还缺{short}件"
        name = lanes.problem.groups[group].id
        findings.append(
            Finding(
                kind="alternative",
                subject=name,
                text=Text(
                    en=f"{name} leaves {names[int(at[group])]}; from {names[second]} its parcels "
                    f"would cost {more:,} fen more{why_en}",
                    zh=f"{name}由{names[int(at[group])]}发出；若由{names[second]}发出，"
                    f"快递费多{more:,}分{why_zh}",
                ),
                numbers={"more_fen": more, "short_units": max(short, 0)},
            )
        )
    return findings


def _stock_facts(lanes: Lanes) -> list[Finding]:
    findings: list[Finding] = []
    wanted = np.bincount(lanes.product, lanes.group_units, minlength=lanes.stock.shape[1])
    names = list(dict.fromkeys(group.product for group in lanes.problem.groups))
    for product, name in enumerate(names):
        stock, units = int(lanes.stock[:, product].sum()), int(wanted[product])
        if stock < units:
            findings.append(
                Finding(
                    kind="stock_below_demand",
                    subject=name,
                    text=Text(
                        en=f"{name}: {units} units are wanted and {stock} are in stock, "
                        f"{units - stock} too few",
                        zh=f"{name}：需{units}件，库存{stock}件，缺{units - stock}件",
                    ),
                    numbers={"wanted": units, "stock": stock, "by": units - stock},
                )
            )
    return findings


def _group_facts(lanes: Lanes) -> list[Finding]:
    findings: list[Finding] = []
    cost = lanes.whole(lanes.cost)
    largest = np.where(np.isfinite(cost), lanes.stock[:, lanes.product].T, -1).max(axis=1)
    for number, group in enumerate(lanes.problem.groups):
        members = list(lanes.members_of(number))
        unreachable = ~np.isfinite(lanes.cost[members]).any(axis=1)
        if unreachable.any():
            zone = group.members[int(np.argmax(unreachable))].zone
            text = Text(
                en=f"no allowed warehouse of {group.id} has a lane to {zone}",
                zh=f"{group.id}可用的仓库都没有到{zone}的线路",
            )
            findings.append(Finding(kind="no_lane", subject=group.id, text=text))
        elif (group.whole or len(members) == 1) and largest[number] < lanes.group_units[number]:
            most, units = max(int(largest[number]), 0), int(lanes.group_units[number])
            text = Text(
                en=f"{group.id} must leave whole, {units} units, and no warehouse it may use "
                f"holds more than {most}",
                zh=f"{group.id}必须整团发货共{units}件，可用仓库中最多只有{most}件",
            )
            numbers = {"units": units, "most": most}
            findings.append(
                Finding(kind="group_too_large", subject=group.id, text=text, numbers=numbers)
            )
    return findings


def _relaxation(lanes: Lanes, *, deadline: Deadline) -> list[Finding]:
    """Return the fewest units of stock and parcels that would let everybody be served."""
    if lanes.groups > _MOST_ELASTIC_GROUPS:
        return []
    everyone = range(lanes.groups)
    part = Part(
        groups=everyone,
        cost=lanes.cost,
        split=splittable(lanes, everyone),
        shared=frozenset({"parcels"}),
        elastic=True,
    )
    found = place_exactly(lanes, part, deadline=deadline)
    names = [warehouse.id for warehouse in lanes.problem.warehouses]
    products = list(dict.fromkeys(group.product for group in lanes.problem.groups))
    findings: list[Finding] = []
    for (at, product), by in sorted(found.missing.items(), key=lambda pair: -pair[1]):
        text = Text(en=f"let {names[at]} pack {by} more parcels", zh=f"{names[at]}多处理{by}件包裹")
        subject = names[at]
        if product >= 0:
            subject = f"{names[at]}/{products[product]}"
            text = Text(
                en=f"bring {by} more units of {products[product]} to {names[at]}",
                zh=f"向{names[at]}补{by}件{products[product]}",
            )
        findings.append(Finding(kind="relaxation", subject=subject, text=text, numbers={"by": by}))
    return findings
