"""Individual effects: whom contact moves, and what a policy built on that earns."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from services.experiments import counted, figures
from services.experiments.actions.assignments import Begin
from services.experiments.figures import compared, contact_cost
from services.experiments.looking import number
from services.experiments.memory import Memory
from services.experiments.queries import experiments, moments, outcomes
from services.experiments.queries import people as queries
from shared.contracts.base import as_id
from shared.contracts.experiments import Arm, Experiment, State
from shared.contracts.metrics import MONEY, Maturity, Metric, MetricKind
from shared.contracts.policies import (
    Importance,
    Policy,
    PolicyPoint,
    PolicyValue,
    RankingQuality,
    Uplift,
)
from shared.contracts.results import Interval, Lateness
from shared.db import Db
from shared.errors import Conflict, FieldError, Invalid

if TYPE_CHECKING:  # scikit-learn takes seconds to import: only who asks for uplift waits for it
    from services.experiments.uplift import ArmUplift, Estimate, UpliftReadout

MOST = 200_000  # customers that one readout learns from
READOUTS = 100  # kept in memory, some kilobytes each: they hold no customer


class NotYet(Conflict):
    """Nobody counts yet: no window has closed, or late arrivals are still waited for."""

    code = "not-yet"


class NotShown(Invalid):
    """The control, who was not contacted, cannot show the response: nothing says what it does without contact."""

    def __init__(self, detail: str) -> None:
        told = "only contacted customers can show it, and the control is not contacted"
        super().__init__(detail, [FieldError("#query/metric", told)])


class Question(NamedTuple):
    """One arm against the control, on one metric. `value`: money for one unit of the outcome."""

    experiment: Experiment
    metric: Metric
    arm: Arm
    value: float | None
    as_of: datetime
    until: datetime
    waits_for: Lateness | None


class Known(NamedTuple):
    """All that a readout depends on: designs do not change once they run, data are named by their version."""

    experiment_id: UUID
    metric_id: UUID
    value: float | None
    version: queries.Version


LEARNT = Memory[Known, "UpliftReadout"](READOUTS)


def asked(
    begin: Begin, reference: str, metric: str | None = None, arm: str | None = None, value: float | None = None
) -> tuple[Question, "UpliftReadout"]:
    """The question, and what was learnt to answer it, now or when the same was last known and asked.

    Data are read first: learning holds no connection. Raises `NotYet` where nobody's window has closed.
    """
    with begin() as db:
        found = question(db, reference, metric, arm, value)
        seen = version(db, found)
        known = Known(found.experiment.id, found.metric.id, value, seen)
        learnt = LEARNT.get(known)
        if learnt is not None:
            return found, learnt
        people = queries.people(db, found.experiment.id, found.metric.id, seen, MOST)
    return found, LEARNT.answer(known, lambda: learn(found, people))


def every_arm(begin: Begin, reference: str) -> tuple[list[Uplift], list[Policy]]:
    """Both answers for every arm, on the metric asked about by default; none while no window has closed, or where the
    control cannot show that metric."""
    try:
        found, readout = asked(begin, reference)
    except (NotYet, NotShown):
        return [], []
    arms = [found._replace(arm=arm) for arm, _ in compared(found.experiment.arms, found.metric)]
    return [uplift(each, readout) for each in arms], [policy(each, readout) for each in arms]


def question(db: Db, reference: str, metric: str | None, arm: str | None, value: float | None) -> Question:
    """What is asked; by default about profit where it is measured, else the primary metric, and the first arm.

    Raises `Invalid` for a metric or an arm that the experiment does not have, or a price of profit, `NotShown` for a
    metric that the control cannot show, `NotYet` before it has started.
    """
    experiment = experiments.experiment(db, reference)
    if experiment.state is State.DRAFT:
        raise NotYet(f"{experiment.key} has not started.")
    measured = experiments.measured(db, experiment.id)
    profit = next((each for each in measured if each.kind is MetricKind.PROFIT), measured[0])
    asked_for = (each for each in measured if metric is not None and (each.key == metric or each.id == as_id(metric)))
    found = profit if metric is None else next(asked_for, None)
    if found is None:
        raise Invalid("The metric is not measured.", [FieldError("#query/metric", f"not measured: {metric}")])
    arms = [each for each, against in compared(experiment.arms, found) if against.control]
    if not arms:
        raise NotShown(f"Whom contact moves cannot be learnt from {found.key}.")
    if value is not None and found.kind is MetricKind.PROFIT:
        raise Invalid("Profit has no price.", [FieldError("#query/value", f"{found.key} is profit already")])
    chosen = arms[0] if arm is None else next((each for each in arms if each.key == arm), None)
    if chosen is None:
        raise Invalid("There is no such arm to compare.", [FieldError("#query/arm", f"no such arm: {arm}")])
    now = datetime.now(UTC)
    pending = outcomes.pending(db)
    return Question(experiment, found, chosen, value, now, counted.until(pending, now), counted.lateness(pending))


def version(db: Db, asked: Question) -> queries.Version:
    """The customers to learn from: of a closed metric those whom the results call mature.

    Raises `NotYet` where there are none.
    """
    latest = asked.until
    if asked.metric.maturity is Maturity.CLOSED:
        latest = _mature_until(db, asked)
    found = queries.version(db, asked.experiment.id, asked.metric.id, latest)
    if not found.customers:
        raise NotYet("Nobody has been counted yet.")
    return found


def _mature_until(db: Db, asked: Question) -> datetime:
    cohorts, window = moments.cohorts(db, asked.experiment.id, None), asked.metric.window_days
    latest = figures.mature_until(cohorts, window, asked.until)
    if latest is None:
        closes = figures.first_close(cohorts, window)
        if closes is None or closes > asked.as_of:
            raise NotYet("No customer's window has closed yet.")
        raise NotYet(f"Nobody counts yet: {counted.held_back(closes, asked.as_of, asked.waits_for)}.")
    return latest


def uplift(asked: Question, readout: "UpliftReadout") -> Uplift:
    """How well individual effects are ranked, and by which features."""
    from services.experiments.uplift import DEFINITION

    found = _arm(asked, readout)
    return Uplift(
        experiment=asked.experiment.key,
        metric=asked.metric.key,
        arm=asked.arm.key,
        against=asked.experiment.control.key,
        as_of=asked.as_of,
        grown_on=readout.grown_on,
        held_out=readout.held_out,
        average_effect=_interval(found.effect),
        learners=[
            RankingQuality(
                learner=model.name, qini=_interval(model.qini), auuc=_interval(model.auuc), rate=_interval(model.rate)
            )
            for model in found.models
        ],
        winner=found.winner,
        importances=[Importance(feature=each.feature, importance=each.importance) for each in found.importances],
        definition=DEFINITION,
        reason=found.reason,
    )


def policy(asked: Question, readout: "UpliftReadout") -> Policy:
    """Profit by share contacted, and whether learning whom to contact pays."""
    found = _arm(asked, readout)
    return Policy(
        experiment=asked.experiment.key,
        metric=asked.metric.key,
        arm=asked.arm.key,
        against=asked.experiment.control.key,
        as_of=asked.as_of,
        curve=[
            PolicyPoint(
                share=point.share,
                value=Interval(estimate=number(point.profit), low=number(point.low), high=number(point.high)),
            )
            for point in found.profit
        ],
        policies=[
            PolicyValue.model_validate(
                {"policy": each.name, "share_contacted": each.share, "value": _interval(each.value)}
            )
            for each in found.policies
        ],
        best_share=number(found.best_share),
        gain_over_contact_all=_interval(found.gain_over_all),
        accepted=found.accepted,
        reason=found.verdict,
    )


def learn(asked: Question, people: queries.People) -> "UpliftReadout":
    """Learn individual effects of every arm, on the metric that is asked about; without the scores of customers."""
    import numpy as np

    from services.experiments.uplift import UpliftData, columns_of, evaluate

    arms = asked.experiment.arms
    keys = tuple(arm.key for arm in arms)
    got = np.array([keys.index(arm) for arm in people.arms], dtype=np.int64)
    counted = np.array(people.values, dtype=np.float64)
    costs = np.array([contact_cost(arm) for arm in arms])
    net = asked.metric.kind is MetricKind.PROFIT  # of contacts, as in the results
    priced = not net and (asked.metric.kind in MONEY or asked.value is not None)
    found = evaluate(
        UpliftData(
            customers=np.array(people.customers),
            arms=got,
            arm_keys=keys,
            control=asked.experiment.control.key,
            outcome=counted - costs[got] if net else counted,
            probability=np.array(people.probabilities, dtype=np.float64),
            features=columns_of(people.features),
            strata=np.array(people.strata) if any(people.strata) else None,
            cost=dict(zip(keys, costs.tolist(), strict=True)) if priced else {},
            value=_worth(asked),
            responded=counted != 0,
        )
    )
    nobody = np.empty(0)
    return found._replace(arms=tuple(arm._replace(scores=nobody) for arm in found.arms))


def _arm(asked: Question, readout: "UpliftReadout") -> "ArmUplift":
    return next(each for each in readout.arms if each.arm == asked.arm.key)


def _worth(asked: Question) -> float:
    worth = 1.0 if asked.value is None else asked.value
    return worth if asked.metric.direction == "up" else -worth


def _interval(found: "Estimate") -> Interval:
    return Interval(estimate=number(found.estimate), low=number(found.low), high=number(found.high))
