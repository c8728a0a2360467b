"""The payment provider of this process: made from the settings when first needed."""

import asyncio
from typing import Final

from kit.settings import settings
from payments.keys import PaymentsNotConfigured, load_keys
from payments.wechat_client import WechatPay

_NOTIFY_PATH: Final = "/v1/webhooks/payments/"


class _Providers:
    """The provider and the loop its connections belong to; a class so that nothing is global."""

    current: WechatPay | None = None
    loop: asyncio.AbstractEventLoop | None = None


def use_provider(provider: WechatPay | None) -> None:
    """Make `provider` the one of this process and loop."""
    _Providers.current = provider
    _Providers.loop = asyncio.get_running_loop() if provider is not None else None


def provider() -> WechatPay:
    """Return the provider that the settings name.

    Raises:
        PaymentsNotConfigured: there is none, or its keys are missing.
    """
    loop = asyncio.get_running_loop()
    if _Providers.current is None or _Providers.loop is not loop:
        _Providers.current, _Providers.loop = _from_settings(), loop
    return _Providers.current


async def close_provider() -> None:
    """Close the connections of this process; the next call opens new ones."""
    current, _Providers.current = _Providers.current, None
    if current is not None and _Providers.loop is asyncio.get_running_loop():
        await current.close()


def _from_settings() -> WechatPay:
    given = settings()
    if given.pay_url is None or given.pay_keys_dir is None:
        raise PaymentsNotConfigured("CARAVAN_PAY_URL and CARAVAN_PAY_KEYS_DIR are not set")
    notify_url = given.pay_notify_url or (
        f"http://{given.host}:{given.port}{_NOTIFY_PATH}{given.pay_provider}"
    )
    return WechatPay(load_keys(given.pay_keys_dir), url=given.pay_url, notify_url=notify_url)
