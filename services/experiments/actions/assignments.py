"""Giving a whole list its arms, and telling who is to be contacted."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from services.experiments import bucketing
from services.experiments.lifecycle import WrongState
from services.experiments.queries import assignments as queries
from services.experiments.queries import experiments
from shared.clients.audience import AudienceClient
from shared.contracts.assignments import AssignmentsRun, StoredAssignment
from shared.contracts.experiments import Experiment, Population, Split, State
from shared.db import Db, be_patient
from shared.errors import Conflict, FieldError, Invalid
from shared.jobs import Progress

Begin = Callable[[], AbstractContextManager[Db]]

INLINE = 10_000  # members up to which a list is assigned while the caller waits
CODE_VERSION = "bucketing-2.1"  # changes whenever the same list and seed would give other arms


class ListPlan(NamedTuple):
    """What assigning a list needs to know beforehand, so that no transaction waits for another service."""

    list_id: UUID
    digest: str
    members: int
    t0: datetime

    def as_json(self) -> dict[str, object]:
        """As the arguments of a job."""
        return {**self._asdict(), "list_id": str(self.list_id), "t0": self.t0.isoformat()}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "ListPlan":
        """Back from the arguments of a job."""
        read = {"list_id": UUID(found["list_id"]), "t0": datetime.fromisoformat(found["t0"])}
        return cls(**{**found, **read})


class AlreadyAssigned(Conflict):
    """The population has its arms, from another source or another time zero."""

    code = "already-assigned"


def plan(begin: Begin, audience: AudienceClient, reference: str, t0: datetime | None) -> ListPlan | AssignmentsRun:
    """What there is to do, or what has been done. Raises `WrongState`, `AlreadyAssigned`, `Invalid`."""
    with begin() as db:
        experiment = experiments.experiment(db, reference)
        known = queries.run(db, experiment.id)
        if known is not None:
            return _repeated(db, experiment, known, t0)
    if experiment.state is not State.RUNNING:
        raise WrongState(f"Only a running experiment assigns; {experiment.key} is {experiment.state}.")
    if experiment.target_list_id is None:
        raise Invalid("The experiment has no target list; use `source=external`, or assign online.")
    found = audience.target_list(experiment.target_list_id)
    if t0 is None and experiment.campaign is not None:
        t0 = audience.campaign(experiment.campaign).send_at
    t0 = t0 or datetime.now(UTC)
    if t0 < found.as_of:
        raise Invalid("The list is younger than its sending.", [FieldError("/t0", f"before the list's {found.as_of}")])
    return ListPlan(experiment.target_list_id, found.digest, found.count, t0)


def assign_list(begin: Begin, reference: str, task: ListPlan, progress: Progress) -> AssignmentsRun:
    """Give every member an arm, all in one transaction: a crash leaves nothing. Repeating it changes nothing."""
    with begin() as db:
        experiment = experiments.experiment(db, reference, lock=True)
        be_patient(db)
        known = queries.run(db, experiment.id)
        if known is not None:
            return _repeated(db, experiment, known, task.t0)
        if experiment.state is not State.RUNNING:
            raise WrongState(f"Only a running experiment assigns; {experiment.key} is {experiment.state}.")
        counts = _write(db, experiment, task, progress)
        run = queries.Run(
            Population.LIST, task.t0, sum(counts.values()), task.digest, str(experiment.design_digest), CODE_VERSION
        )
        queries.store_run(db, experiment.id, run, datetime.now(UTC))
        return report(experiment, run, counts, new=run.assigned)


def _write(db: Db, experiment: Experiment, task: ListPlan, progress: Progress) -> dict[str, int]:
    keys, weights = [arm.key for arm in experiment.arms], [arm.weight for arm in experiment.arms]
    run = queries.Writing(experiment.id, task.list_id, keys, weights, task.t0, datetime.now(UTC))
    counts, done = np.zeros(len(keys), dtype=np.int64), 0
    draw = _exact if experiment.split is Split.EXACT else _hashed
    for after, arms in draw(db, experiment, task.list_id):
        done += queries.write(db, run, after, arms.astype(np.uint8).tobytes())
        counts += np.bincount(arms, minlength=len(keys))
        progress(done / max(task.members, done))
    return dict(zip(keys, counts.tolist(), strict=True))


def _hashed(db: Db, experiment: Experiment, list_id: UUID) -> Iterator[tuple[str, bucketing.Integers]]:
    """The arms of each page of members, by their buckets."""
    of = bucketing.ranges([arm.weight for arm in experiment.arms])
    for page in queries.members(db, list_id):
        yield page.after, bucketing.arms_of(bucketing.buckets(experiment.seed, page.customers), of)


def _exact(db: Db, experiment: Experiment, list_id: UUID) -> Iterator[tuple[str, bucketing.Integers]]:
    """The arms of each page of members. The whole list is read for its order first, 12 bytes a member."""
    names: dict[str, int] = {}
    starts, orders, strata = list[str](), [np.empty(0, dtype=np.uint32)], [np.empty(0, dtype=np.int64)]
    for page in queries.members(db, list_id):
        starts.append(page.after)
        orders.append(bucketing.draw_order(experiment.seed, page.customers))
        strata.append(np.array([names.setdefault(stratum, len(names)) for stratum in page.strata], dtype=np.int64))
    arms = bucketing.exact_arms(
        experiment.seed,
        np.concatenate(orders),
        np.concatenate(strata),
        list(names),
        [arm.weight for arm in experiment.arms],
    )
    ends = np.cumsum([len(order) for order in orders])
    for start, low, high in zip(starts, ends[:-1], ends[1:], strict=True):
        yield start, arms[low:high]


def _repeated(db: Db, experiment: Experiment, known: queries.Run, t0: datetime | None) -> AssignmentsRun:
    if known.source != Population.LIST:
        raise AlreadyAssigned(f"The customers of {experiment.key} were split elsewhere.")
    if t0 is not None and known.t0 != t0:
        raise AlreadyAssigned(f"The list was assigned with t0 {known.t0}.")
    return report(experiment, known, queries.by_arm(db, experiment.id))


def report(experiment: Experiment, run: queries.Run, arms: dict[str, int], *, new: int = 0) -> AssignmentsRun:
    """What assigning did, as a message; every arm is named."""
    return AssignmentsRun(
        experiment=experiment.key,
        source=Population(run.source),
        t0=run.t0,
        assigned=run.assigned,
        new=new,
        already=run.assigned - new,
        rejected=0,
        arms={arm.key: arms.get(arm.key, 0) for arm in experiment.arms},
        list_digest=run.list_digest,
        design_digest=run.design_digest,
        code_version=run.code_version,
    )


def stored(begin: Begin, reference: str) -> Iterator[StoredAssignment]:
    """All assignments, by customer, read in short transactions. The first page is read at once. Raises `NotFound`."""
    with begin() as db:
        experiment = experiments.experiment(db, reference)
    return pages(begin, experiment.id, contact=False)


def pages(begin: Begin, experiment_id: UUID, *, contact: bool) -> Iterator[StoredAssignment]:
    """Assignments by customer, a thousand at a time."""
    after = ""
    while True:
        with begin() as db:
            found = queries.page(db, experiment_id, after, contact=contact)
        yield from found
        if not found:
            return
        after = found[-1].customer_id
