"""How each kind of company can misbehave: the `behaviour` parts of the configuration."""

from pydantic import Field

from sandbox.misbehaviour import NEVER, AnswerFaults, EventFaults, Occasion, Repeat, Rule


class LateNotify(Occasion):
    """The notify is sent later than the payment."""

    seconds: int = Field(default=1800, ge=1, description="business seconds")


class PaymentBehaviour(Rule):
    """How the provider treats payments, notifies and refunds."""

    answers: AnswerFaults = AnswerFaults()
    notify_never: Occasion = Field(default=NEVER, description="paid, and nobody is told")
    notify_twice: Occasion = Field(default=NEVER, description="told twice, one after the other")
    notify_tenfold: Occasion = Field(default=NEVER, description="told ten times at once")
    notify_late: LateNotify = LateNotify()
    wrong_amount: Occasion = Field(
        default=NEVER, description="preceded by a notify, sent once, of one fen less"
    )
    wrong_merchant: Occasion = Field(
        default=NEVER, description="preceded by a notify, sent once, for another merchant"
    )
    declined: Occasion = Field(default=NEVER, description="the bank says no to the payer")
    refund_abnormal: Occasion = Field(
        default=NEVER, description="refund taken, then ABNORMAL: the payer's account is closed"
    )
    refund_seconds: int = Field(default=60, ge=0, description="business seconds until refunded")


class Reject(Occasion):
    """The order is refused whole."""

    reason: str = "out_of_capacity"


class Partial(Occasion):
    """Less is accepted than was asked."""

    fraction: float = Field(default=0.5, ge=0, lt=1)
    multiple: int = Field(default=1, ge=1, description="accepted units are rounded down to it")


class Late(Occasion):
    """Goods come later than the lead time."""

    days: int = Field(default=2, ge=1)
    announced: bool = Field(
        default=True,
        description="in the promise; else only by despatch_advice.updated on the promised day",
    )


class Change(Occasion):
    """Other terms are proposed instead of an acceptance."""

    price_bp: int = Field(default=500, ge=0, description="price up by basis points, rounded up")
    days: int = Field(default=0, ge=0)
    reason: str = "raw_material"


class Short(Occasion):
    """Fewer units arrive than the despatch advice says."""

    units: int = Field(default=1, ge=1)
    rest_after_days: int | None = Field(
        default=None, ge=1, description="the rest arrives so much later; null is never"
    )


class Damaged(Occasion):
    """Some of the units arrive broken."""

    units: int = Field(default=1, ge=1)


class SupplierBehaviour(Rule):
    """How a supplier answers and delivers; `only` names SKUs, in `answers` calls."""

    answers: AnswerFaults = AnswerFaults()
    events: EventFaults = EventFaults()
    reject: Reject = Reject()
    partial: Partial = Partial()
    late: Late = Late()
    change: Change = Change()
    out_of_order: Occasion = Field(
        default=NEVER, description="the despatch advice is sent before the acceptance"
    )
    unannounced: Occasion = Field(default=NEVER, description="goods arrive without an advice")
    recall: Occasion = Field(
        default=NEVER, description="an advice is cancelled and the goods leave a day later"
    )
    short: Short = Short()
    damaged: Damaged = Damaged()


class PartWave(Occasion):
    """Only a part of a wave leaves in time."""

    fraction: float = Field(default=0.5, ge=0, lt=1)
    rest_after_hours: int = Field(default=24, ge=1)


class Miscount(Occasion):
    """A snapshot line says less than what lies there."""

    units: int = Field(default=1, ge=1)


class WarehouseBehaviour(Rule):
    """How a warehouse counts and ships."""

    answers: AnswerFaults = AnswerFaults()
    events: EventFaults = EventFaults()
    part_wave: PartWave = PartWave()
    miscount: Miscount = Miscount()


class CarrierBehaviour(Rule):
    """How a carrier carries; counted per parcel, `unknown_parcel` per webhook."""

    answers: AnswerFaults = AnswerFaults()
    events: EventFaults = EventFaults()
    repeated: Repeat = Field(default=Repeat(), description="an update again, one event_id")
    backwards: Occasion = Field(default=NEVER, description="in_transit is told after delivered")
    unknown_parcel: Occasion = Field(default=NEVER, description="an update nobody can place")
    trouble: Occasion = Field(default=NEVER, description="an exception, delivered a day later")
    lost: Occasion = NEVER
    returned: Occasion = NEVER
