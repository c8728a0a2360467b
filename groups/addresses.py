"""Where a parcel goes: mainland provinces by adcode or name; the city as the buyer gives it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from kit.errors import Unprocessable

# Adcode, short and full name of the 31 provinces, municipalities and autonomous regions of the
# mainland, as in GB/T 2260.
_PROVINCES: Final = (
    ("110000", "北京", "北京市"),
    ("120000", "天津", "天津市"),
    ("130000", "河北", "河北省"),
    ("140000", "山西", "山西省"),
    ("150000", "内蒙古", "内蒙古自治区"),
    ("210000", "辽宁", "辽宁省"),
    ("220000", "吉林", "吉林省"),
    ("230000", "黑龙江", "黑龙江省"),
    ("310000", "上海", "上海市"),
    ("320000", "江苏", "江苏省"),
    ("330000", "浙江", "浙江省"),
    ("340000", "安徽", "安徽省"),
    ("350000", "福建", "福建省"),
    ("360000", "江西", "江西省"),
    ("370000", "山东", "山东省"),
    ("410000", "河南", "河南省"),
    ("420000", "湖北", "湖北省"),
    ("430000", "湖南", "湖南省"),
    ("440000", "广东", "广东省"),
    ("450000", "广西", "广西壮族自治区"),
    ("460000", "海南", "海南省"),
    ("500000", "重庆", "重庆市"),
    ("510000", "四川", "四川省"),
    ("520000", "贵州", "贵州省"),
    ("530000", "云南", "云南省"),
    ("540000", "西藏", "西藏自治区"),
    ("610000", "陕西", "陕西省"),
    ("620000", "甘肃", "甘肃省"),
    ("630000", "青海", "青海省"),
    ("640000", "宁夏", "宁夏回族自治区"),
    ("650000", "新疆", "新疆维吾尔自治区"),
)
PROVINCE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {adcode: full for adcode, _, full in _PROVINCES}
)
_ADCODES: Final[Mapping[str, str]] = MappingProxyType(
    {name: row[0] for row in _PROVINCES for name in row}
)
_ADCODE_DIGITS: Final = 6


class AddressUnknown(Unprocessable):
    """The place cannot be delivered to; `part` says which part of the address is wrong."""

    code = "address_unknown"

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


def province_adcode(given: str) -> str:
    """Return the adcode of a mainland province named by adcode, short or full name.

    Raises:
        AddressUnknown: it is none of the 31.

    >>> province_adcode("广东"), province_adcode("广东省"), province_adcode("440000")
    ('440000', '440000', '440000')
    """
    adcode = _ADCODES.get(given.strip())
    if adcode is None:
        raise AddressUnknown("province", "the province is not one of the mainland's 31")
    return adcode


def checked_city(given: str, *, province: str) -> str:
    """Return a city's name or adcode without blanks around it.

    Raises:
        AddressUnknown: it is empty, or an adcode of another province.

    >>> checked_city(" 深圳 ", province="440000"), checked_city("440300", province="440000")
    ('深圳', '440300')
    """
    city = given.strip()
    if not city:
        raise AddressUnknown("city", "the city is missing")
    if city.isdigit() and (len(city) != _ADCODE_DIGITS or city[:2] != province[:2]):
        raise AddressUnknown("city", "the adcode is not of a city in that province")
    return city
