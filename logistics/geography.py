"""Where provinces lie, so that "the nearest warehouse" is a number."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Mean radius of the Earth (IUGG); great-circle distances are then good to half a percent.
EARTH_KM: Final = 6371.0

# Longitude and latitude of the capital of each province-level division by adcode (GB/T 2260);
# coordinates as in the administrative table of the PyPI package cpca 0.5.5 (MIT).
CAPITALS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "110000": (116.41, 39.90),  # 北京
        "120000": (117.20, 39.08),  # 天津
        "130000": (114.51, 38.04),  # 河北 石家庄
        "140000": (112.55, 37.87),  # 山西 太原
        "150000": (111.75, 40.84),  # 内蒙古 呼和浩特
        "210000": (123.47, 41.68),  # 辽宁 沈阳
        "220000": (125.32, 43.82),  # 吉林 长春
        "230000": (126.53, 45.80),  # 黑龙江 哈尔滨
        "310000": (121.47, 31.23),  # 上海
        "320000": (118.80, 32.06),  # 江苏 南京
        "330000": (120.21, 30.25),  # 浙江 杭州
        "340000": (117.23, 31.82),  # 安徽 合肥
        "350000": (119.30, 26.07),  # 福建 福州
        "360000": (115.86, 28.68),  # 江西 南昌
        "370000": (117.12, 36.65),  # 山东 济南
        "410000": (113.63, 34.75),  # 河南 郑州
        "420000": (114.31, 30.59),  # 湖北 武汉
        "430000": (112.94, 28.23),  # 湖南 长沙
        "440000": (113.26, 23.13),  # 广东 广州
        "450000": (108.37, 22.82),  # 广西 南宁
        "460000": (110.20, 20.04),  # 海南 海口
        "500000": (106.55, 29.56),  # 重庆
        "510000": (104.07, 30.57),  # 四川 成都
        "520000": (106.63, 26.65),  # 贵州 贵阳
        "530000": (102.83, 24.88),  # 云南 昆明
        "540000": (91.17, 29.65),  # 西藏 拉萨
        "610000": (108.94, 34.34),  # 陕西 西安
        "620000": (103.83, 36.06),  # 甘肃 兰州
        "630000": (101.78, 36.62),  # 青海 西宁
        "640000": (106.23, 38.49),  # 宁夏 银川
        "650000": (87.62, 43.83),  # 新疆 乌鲁木齐
    }
)


def great_circle_km(origin: tuple[float, float], target: tuple[float, float]) -> float:
    """Return the distance of two (longitude, latitude) points in kilometres.

    >>> round(great_circle_km(CAPITALS["110000"], CAPITALS["310000"]))
    1067
    """
    lon_a, lat_a, lon_b, lat_b = map(math.radians, (*origin, *target))
    half = (
        math.sin((lat_b - lat_a) / 2) ** 2
        + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    )
    return 2 * EARTH_KM * math.asin(math.sqrt(half))


def province_km(origin: tuple[float, float], province: str) -> float:
    """Return how far the capital of a province is; infinite for an unknown one."""
    capital = CAPITALS.get(province)
    return math.inf if capital is None else great_circle_km(origin, capital)
