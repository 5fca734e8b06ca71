"""An arm for a customer, now."""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from services.experiments import bucketing
from services.experiments.measures import ASSIGNED
from services.experiments.queries import experiments
from services.experiments.queries import online as queries
from services.experiments.queries.online import Design, Given, NewAssignment, Place, Standing
from shared.contact_data import holds_contact_data
from shared.contracts.assignments import AssignAnswer, Assigned, AssignRequest, AttributeValue
from shared.contracts.base import as_id
from shared.contracts.experiments import Method, Population, State
from shared.db import Db, Engine, transaction
from shared.errors import DomainError, FieldError, Invalid
from shared.shared_commit import SharedCommit


class Desk:
    """Gives arms to customers as they come; those who come together share one transaction.

    An experiment's design cannot change, so it is remembered; whether it runs is asked every time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._designs: dict[UUID, Design] = {}
        self._commit: SharedCommit[AssignRequest, AssignAnswer] = SharedCommit(self._assign_together)

    def assign(self, request: AssignRequest) -> "Future[AssignAnswer]":
        """The arms of one customer, once they are on disk. Raises `Busy`; the answer may be an `Invalid`."""
        return self._commit.submit(request)

    def _assign_together(self, requests: Sequence[AssignRequest]) -> list[AssignAnswer | DomainError]:
        with transaction(self._engine) as db:
            answers = assign(db, requests, self._designs)
        ASSIGNED.labels("online").inc(
            sum(
                given.reason == "assigned"
                for answer in answers
                if isinstance(answer, AssignAnswer)
                for given in answer.assignments
            )
        )
        return answers


class _Wanted(NamedTuple):
    """What one request is about: the experiments that apply to it, by key."""

    request: AssignRequest
    experiments: list[Design]

    def places(self) -> list[Place]:
        return [Place(self.request.customer_id, design.id) for design in self.experiments]


def assign(db: Db, requests: Sequence[AssignRequest], designs: dict[UUID, Design]) -> list[AssignAnswer | DomainError]:
    """Decide for each request in all experiments that apply; what was decided stands.

    `designs` are those that are known already; others are added. A request that names an experiment that does not
    exist is answered with `Invalid`.
    """
    named = {name for request in requests for name in request.experiments or []}
    standing, stored = queries.applying(db, [request.customer_id for request in requests], sorted(named))
    if unseen := standing.keys() - designs.keys():
        designs.update((design.id, design) for design in queries.designs(db, sorted(unseen)))
    found = [_wanted(request, standing, designs) for request in requests]
    wanted = [each for each in found if isinstance(each, _Wanted)]
    arms, new = _decided(db, wanted, standing, stored)
    without = [each for each in wanted if each.request.experiments is not None]
    held_out = _membership(db, without, arms)
    answers: list[AssignAnswer | DomainError] = []
    for each in found:
        if isinstance(each, _Wanted):
            answers.append(_answer(each, standing, arms, new, held_out))
            new.difference_update(each.places())  # a second request of the same customer finds them stored
        else:
            answers.append(each)
    return answers


def decide(design: Design, customer_id: str) -> Given:
    """The arm by the customer's bucket."""
    of = bucketing.ranges(design.weights)
    arm = bucketing.arm_of(bucketing.bucket(design.seed, customer_id), of)
    return Given(design.arms[arm], design.weights[arm])


def _wanted(request: AssignRequest, standing: dict[UUID, Standing], designs: dict[UUID, Design]) -> "_Wanted | Invalid":
    if request.experiments is None:
        chosen = [designs[each] for each, at in standing.items() if at.state == State.RUNNING]
    else:
        known: dict[str | UUID, Design] = {designs[each].key: designs[each] for each in standing}
        known |= {each: designs[each] for each in standing}
        found = [known.get(as_id(name) or name) or known.get(name) for name in request.experiments]
        if None in found:
            unknown = [
                FieldError(f"/experiments/{index}", f"there is no experiment {name}")
                for index, (name, design) in enumerate(zip(request.experiments, found, strict=True))
                if design is None
            ]
            return Invalid("Some experiments do not exist.", unknown)
        chosen = list({design.id: design for design in found if design is not None}.values())
    return _Wanted(request, sorted(chosen, key=lambda design: design.key))


def _decided(
    db: Db, wanted: Sequence[_Wanted], standing: dict[UUID, Standing], stored: dict[Place, Given]
) -> tuple[dict[Place, Given], set[Place]]:
    """The arms of all who have one, and where they are new."""
    chosen = {design.id: design for each in wanted for design in each.experiments}
    enrolling = {number for number in sorted(chosen) if _enrols(db, chosen[number], standing[number])}
    new: dict[Place, NewAssignment] = {}
    for each in wanted:
        attributes = json.dumps(_without_addresses(each.request.attributes), ensure_ascii=False, allow_nan=False)
        for place in each.places():
            if place not in stored and place not in new and place.experiment_id in enrolling:
                arm = decide(chosen[place.experiment_id], place.customer_id)
                new[place] = NewAssignment(arm, attributes)
    earlier = queries.store(db, new, datetime.now(UTC)) if new else {}
    decided = {place: each.arm for place, each in new.items()}
    return {**stored, **decided, **earlier}, new.keys() - earlier.keys()


def _without_addresses(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """What may be kept of what a caller knows; whoever waits for an arm is not sent away for the rest."""
    return {
        name: value
        for name, value in attributes.items()
        if not holds_contact_data(name) and not (isinstance(value, str) and holds_contact_data(value))
    }


def _enrols(db: Db, design: Design, at: Standing) -> bool:
    """Whether new customers get an arm now: only running experiments without a frozen population take them.

    One that another transaction has before its first customer, such as the load of a whole split, takes none yet: here
    customers of all experiments would wait for it.
    """
    if at.state != State.RUNNING or design.target_list_id is not None or design.method == Method.GROUP_SEQUENTIAL:
        return False
    population = at.population or experiments.settle_population_unless_busy(db, design.id, Population.ONLINE)
    return population == Population.ONLINE


def _membership(db: Db, asking: Iterable[_Wanted], arms: dict[Place, Given]) -> dict[tuple[str, UUID], bool]:
    """Of customers without an arm in an experiment with a list: who is on it, and whether held out."""
    without = {
        (each.request.customer_id, design.target_list_id)
        for each in asking
        for place, design in zip(each.places(), each.experiments, strict=True)
        if design.target_list_id is not None and place not in arms
    }
    if not without:
        return {}
    customers, lists = zip(*without, strict=True)
    return queries.membership(db, sorted(set(customers)), sorted({each for each in lists if each is not None}))


def _answer(
    wanted: _Wanted,
    standing: dict[UUID, Standing],
    arms: dict[Place, Given],
    new: set[Place],
    held_out: dict[tuple[str, UUID], bool],
) -> AssignAnswer:
    given = []
    for place, design in zip(wanted.places(), wanted.experiments, strict=True):
        state = standing[design.id].state
        arm = arms.get(place) if state in (State.RUNNING, State.PAUSED) else None
        if arm is not None:
            given.append(_assigned(design, arm, "assigned" if place in new else "stored"))
        elif wanted.request.experiments is not None:
            listed = held_out.get((place.customer_id, design.target_list_id)) if design.target_list_id else None
            given.append(_assigned(design, None, _reason(design, state, listed)))
    return AssignAnswer(customer_id=wanted.request.customer_id, assignments=given)


def _assigned(design: Design, given: Given | None, reason: str) -> Assigned:
    arm, probability = given or (None, None)
    payload = design.payloads[design.arms.index(arm)] if arm else None
    return Assigned(experiment=design.key, arm=arm, payload=payload, probability=probability, reason=reason)


def _reason(design: Design, state: str, held_out: bool | None) -> str:
    """Why a customer has no arm; `held_out` is None for who is not on the list."""
    if state != State.RUNNING:
        return "not_running"
    if design.target_list_id is None:
        return "not_assigned"
    if held_out is None:
        return "not_a_member"
    return "held_out" if held_out else "not_assigned"
