"""An arm for one customer, now."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.experiments import bucketing
from services.experiments.queries import experiments
from services.experiments.queries import online as queries
from services.experiments.queries.online import Applying, NewAssignment
from shared.contracts.assignments import AssignAnswer, Assigned, AssignRequest
from shared.contracts.experiments import Method, Population, State
from shared.db import Db
from shared.errors import FieldError, Invalid


def assign(db: Db, request: AssignRequest) -> tuple[AssignAnswer, int]:
    """Decide in all experiments that apply; also, how many arms are new. What was decided stands. Raises `Invalid`."""
    found = queries.applying(db, request.customer_id, request.experiments)
    _all_known(request, found)
    new = {each.id: decide(each, request.customer_id) for each in found if _enrols(db, each)}
    earlier = _store(db, request, list(new.values()))
    new_arms = {key: earlier.get(key, value) for key, value in new.items()}
    named = request.experiments is not None
    reasons = _reasons(db, request.customer_id, found, new_arms) if named else {}
    answers = [_answer(each, new_arms.get(each.id), each.id in earlier, reasons.get(each.id)) for each in found]
    shown = [answer for answer in answers if named or answer.arm is not None]
    return AssignAnswer(customer_id=request.customer_id, assignments=shown), len(new) - len(earlier)


def decide(experiment: Applying, customer_id: str) -> NewAssignment:
    """The arm by the customer's bucket."""
    of = bucketing.ranges([weight for _, weight, _ in experiment.arms])
    key, weight, _ = experiment.arms[bucketing.arm_of(bucketing.bucket(experiment.seed, customer_id), of)]
    return NewAssignment(experiment.id, key, weight)


def _enrols(db: Db, experiment: Applying) -> bool:
    """Whether the customer gets an arm now: only running experiments without a frozen population take new ones."""
    if experiment.arm is not None or experiment.state != State.RUNNING or experiment.target_list_id is not None:
        return False
    if experiment.method == Method.GROUP_SEQUENTIAL:
        return False
    population = experiment.population or experiments.settle_population(db, experiment.id, Population.ONLINE)
    return population == Population.ONLINE


def _store(db: Db, request: AssignRequest, new: Sequence[NewAssignment]) -> dict[UUID, NewAssignment]:
    if not new:
        return {}
    attributes = json.dumps(request.attributes, ensure_ascii=False, allow_nan=False)
    return queries.store(db, request.customer_id, new, attributes, datetime.now(UTC))


def _all_known(request: AssignRequest, found: Sequence[Applying]) -> None:
    known = {each.key for each in found}
    unknown = [
        FieldError(f"/experiments/{index}", f"there is no experiment {key}")
        for index, key in enumerate(request.experiments or [])
        if key not in known
    ]
    if unknown:
        raise Invalid("Some experiments do not exist.", unknown)


def _reasons(db: Db, customer_id: str, found: Sequence[Applying], new: dict[UUID, NewAssignment]) -> dict[UUID, str]:
    """Why those without an arm have none."""
    without = [each for each in found if each.arm is None and each.id not in new]
    lists = [each.target_list_id for each in without if each.target_list_id is not None]
    held_out = queries.membership(db, customer_id, lists) if lists else {}
    return {each.id: _reason(each, held_out) for each in without}


def _reason(experiment: Applying, held_out: dict[UUID, bool]) -> str:
    if experiment.state != State.RUNNING:
        return "not_running"
    if experiment.target_list_id is None:
        return "not_assigned"
    if experiment.target_list_id not in held_out:
        return "not_a_member"
    return "held_out" if held_out[experiment.target_list_id] else "not_assigned"


def _answer(experiment: Applying, new: NewAssignment | None, earlier: bool, reason: str | None) -> Assigned:
    stored = experiment.arm is not None and experiment.state in (State.RUNNING, State.PAUSED)
    arm = experiment.arm if stored else (new.arm if new else None)
    probability = experiment.probability if stored else (new.probability if new else None)
    payload: Any = next((payload for key, _, payload in experiment.arms if key == arm), None)
    told = "stored" if stored or earlier else "assigned" if new else (reason or "not_running")
    return Assigned(experiment=experiment.key, arm=arm, payload=payload, probability=probability, reason=told)
