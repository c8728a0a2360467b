"""A notify of the payment provider: believed, understood, applied, or recorded and refused."""

from collections.abc import Mapping

from operations.capture_payment import Heard, capture
from operations.send_refunds import hear_refund
from payments.news import PaymentNews
from payments.provider import provider


async def hear_payment(headers: Mapping[str, str], body: bytes) -> None:
    """Apply a notify in one transaction, once.

    Args:
        headers: names in lower case.
        body: the raw bytes, as they were signed.

    Raises:
        NotBelieved: it is not proven to be the provider's, said now.
        NotUnderstood: it is the provider's, about nothing that we know.
        WrongMoney: it tells of other money than was asked for; recorded, nothing applied.
    """
    notify = provider().hear(headers, body)
    heard = Heard(external_id=notify.external_id, kind=notify.kind)
    if isinstance(notify.news, PaymentNews):
        await capture(notify.news, heard=heard)
    else:
        await hear_refund(notify.news, heard)
