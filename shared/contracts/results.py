"""What the difference is: results, looks and decisions (experiments service).

What cannot be estimated is null, with a reason beside it; never NaN and never a number that only looks like one.
"""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from shared.contracts.base import Instant, Message, Money
from shared.contracts.experiments import Method, MetricRole
from shared.contracts.metrics import Direction, MetricKind


class Design(StrEnum):
    """How customers came in, which decides how peeking is paid for."""

    ONE_BLAST = "one_blast"
    STAGGERED = "staggered"
    OPEN_ENROLMENT = "open_enrolment"


class Lateness(Message):
    """Why what occurred lately is not taken as complete: events of this `kind` arrive latest of all that metrics count.

    `hours`: within which 99 of 100 arrived, of those of the last eight days. `forgotten`: when that is waited for no
    longer, if none comes as late again.
    """

    kind: str
    hours: float
    forgotten: Instant


class Counted(Message):
    """How far the counting is: everything that arrived before `position` is in."""

    position: str
    until: Instant
    pending_batches: int
    refresh: Literal["incremental", "full"]
    agrees: bool | None = Field(default=None, description="full only: the recount equals what was accumulated")
    waits_for: Lateness | None = Field(default=None, description="why `until` lies back; null: nothing is late")


class ArmSize(Message):
    arm: str
    control: bool
    contact: bool
    weight: float
    assigned: int
    contacts: int = Field(description="customers this arm contacts, by design")


class CheckStatus(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class HealthCheck(Message):
    """One way an experiment can be wrong: its figure, what it means, and what to do about it."""

    check: str
    status: CheckStatus
    figure: float | None
    detail: str
    advice: str


class Interval(Message):
    """An estimate with its interval; all null where there is none."""

    estimate: float | None
    low: float | None
    high: float | None


class Relative(Interval):
    """Treatment mean / control mean − 1, by the test behind `absolute`: the two never disagree about zero. `method`:
    Fieller (in looks of earlier releases also the delta method); null with a `reason` otherwise.
    """

    method: str | None
    reason: str | None


class FixedHorizon(Message):
    """Valid only at the planned end: `label` says so."""

    low: float | None
    high: float | None
    p_value: float | None
    label: str


class Crossing(Message):
    """The first look at which a bound was crossed: on which side of zero, of which day (one blast). `borne_out`: the
    interval that is shown now lies on that side too."""

    look: int
    day: int | None
    side: Literal["above", "below"]
    borne_out: bool


class Sequential(Message):
    """Valid however often somebody looks. Of group-sequential methods: as of the latest look."""

    low: float | None
    high: float | None
    p_value: float | None
    method: str
    overstated: bool = Field(description="the estimate of an experiment that was stopped early is too large on average")
    as_of: Instant
    look: int | None
    crossed: Crossing | None = Field(default=None, description="when `p_value` fell to α, and whether that held")


class Randomisation(Message):
    """The test that replays the actual draw; two-sided p-value."""

    p_value: float
    draws: int


class Verdict(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    NOT_SHOWN = "not_shown"
    TOO_FEW = "too_few"


class Effect(Message):
    """An arm against the control, in the metric's own unit (0.01 of a proportion is one percentage point).

    `adjusted_p_value`: Holm over the arms for the primary metric, Benjamini–Hochberg for secondary ones.
    `verdict` knows the metric's direction: fewer complaints are `better`.
    """

    arm: str
    against: str
    absolute: Interval
    relative: Relative
    standard_error: float | None
    p_value: float | None
    fixed: FixedHorizon
    sequential: Sequential | None
    randomisation: Randomisation | None
    adjusted_p_value: float | None
    notes: list[str]
    verdict: Verdict


class ArmMoments(Message):
    """`n` customers count (`mature` ones of a closed metric); those without a response count as zero.

    `total` is theirs, without the metric's cap; of profit it is net of contacts, as the mean is.
    """

    arm: str
    n: int
    mature: int
    responders: int
    mean: float | None
    variance: float | None
    total: float


class MetricResult(Message):
    metric: str
    version: int
    name: str | None
    kind: MetricKind
    role: MetricRole
    direction: Direction
    window_days: int
    currency: str | None
    ended: bool = Field(default=False, description="its planned end is reached: it had its last look, or needs none")
    mature_until: Instant | None = Field(default=None, description="the last t0 of those who are mature")
    arms: list[ArmMoments]
    effects: list[Effect]


class ArmMoney(Message):
    """What an arm brought beyond the control, for all its customers. Profit needs a profit metric.

    `cost_per_incremental_response` has an upper end only where more responses are shown.
    """

    arm: str
    currency: str | None
    incremental_profit: Interval
    incremental_responses: Interval
    contacts: int
    cost: Money
    cost_per_incremental_response: Interval
    note: str | None = None


class LookEffect(Message):
    """One contrast at one look. `bound` is on |z|; null where there was no verdict, for the `reason` given.

    `p_value` is sequential: it never rises, and is at most α once a bound was crossed (`decided`). `final`: this
    metric's last look, after which it is not tested again. `randomisation`: of money on a frozen list. Where a look has
    nothing new to spend it repeats what the last test said, whose number `look` gives.
    """

    metric: str
    arm: str
    against: str
    estimate: float | None
    standard_error: float | None
    z: float | None
    bound: float | None
    spent: float | None = Field(description="α spent up to and with this look")
    low: float | None
    high: float | None
    relative: Relative
    p_value: float | None
    decided: bool
    final: bool
    look: int | None = Field(default=None, description="the look that tested it; null while none could")
    too_few: bool = Field(default=False, description="there are too few responses to test it")
    overstated: bool
    randomisation: Randomisation | None
    method: str
    reason: str | None
    warning: str | None


class NewLook(Message):
    """Take a look. `as_of` (default: now) looks at a past or simulated campaign as it went, never backwards."""

    as_of: Instant | None = None


class Look(Message):
    """A stored snapshot that spent its share of α. `day`: whole days since t0 for one blast, else null.

    `digest` (SHA-256, hex) covers the figures of all effects.
    """

    number: int
    taken_at: Instant
    as_of: Instant
    day: int | None
    method: Method
    design: Design
    final: bool
    digest: str
    effects: list[LookEffect]


class Results(Message):
    experiment: str
    name: str | None
    hypothesis: str
    state: str
    as_of: Instant
    counted: Counted
    method: Method
    design: Design
    alpha: float
    arms: list[ArmSize]
    health: list[HealthCheck]
    look: Look | None
    metrics: list[MetricResult]
    money: list[ArmMoney]


class SeriesPoint(Message):
    """One contrast of one look, for plots over time."""

    look: int
    as_of: Instant
    metric: str
    arm: str
    estimate: float | None
    low: float | None
    high: float | None
    p_value: float | None


class History(Message):
    experiment: str
    points: list[SeriesPoint]


class DecisionVerdict(StrEnum):
    SHIP = "ship"
    STOP = "stop"
    KEEP_RUNNING = "keep_running"


class Decision(Message):
    """What to do, in plain words. `arm` is the one to ship; `healthy` is false while a health check fails."""

    experiment: str
    as_of: Instant
    verdict: DecisionVerdict
    arm: str | None
    healthy: bool
    reasons: list[str]
