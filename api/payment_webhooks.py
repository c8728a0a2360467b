"""POST /v1/webhooks/payments/{provider}: what the payment provider tells us."""

import hashlib
from typing import Final

import msgspec
import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.bodies import BODY
from kit.settings import settings
from operations.capture_payment import record_anomaly
from operations.hear_payment import hear_payment
from payments.anomalies import WrongMoney
from payments.wechat import NotBelieved
from payments.wechat_messages import NotUnderstood

router = APIRouter(tags=["partners"])
log = structlog.get_logger("payments")

# WeChat Pay takes 2xx for heard; anything else it repeats, and shows {code, message} to people.
_HEARD: Final = 204
_NOT_BELIEVED: Final = msgspec.json.encode({"code": "FAIL", "message": "not believed"})
_NOT_ACCEPTED: Final = msgspec.json.encode({"code": "FAIL", "message": "not accepted"})


@router.post(
    "/v1/webhooks/payments/{provider}",
    status_code=_HEARD,
    responses={
        401: {"description": "not proven to be the provider's, said now"},
        422: {"description": "about other money than was asked for; recorded"},
    },
)
async def hear(provider: str, request: Request) -> Response:
    """Take a notify: verified, applied in one transaction, then answered."""
    body: bytes = request.scope[BODY]
    try:
        if provider != settings().pay_provider:
            raise NotBelieved(f"nobody here is called {provider!r}")  # noqa: TRY301 - same answer
        await hear_payment(dict(request.headers), body)
    except NotBelieved as doubt:
        # Anybody can send these: they are logged and not kept.
        log.warning("payment.notify_not_believed", reason=str(doubt))
        return Response(_NOT_BELIEVED, status_code=401, media_type="application/json")
    except NotUnderstood as strange:
        # A repetition is signed anew, its body stays.
        await record_anomaly(
            hashlib.sha256(body).hexdigest(), WrongMoney("not understood", why=str(strange))
        )
    except WrongMoney as wrong:
        log.warning("payment.wrong_money", reason=wrong.reason)
    else:
        return Response(status_code=_HEARD)
    return Response(_NOT_ACCEPTED, status_code=422, media_type="application/json")
