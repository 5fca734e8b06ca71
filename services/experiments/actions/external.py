"""Taking over a split that was made elsewhere."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import ValidationError

from services.experiments.actions.assignments import CODE_VERSION, AlreadyAssigned, Begin, report
from services.experiments.lifecycle import WrongState
from services.experiments.queries import assignments, experiments, looks
from services.experiments.queries import external as queries
from shared.bodies import chunked, parse_json
from shared.contracts.assignments import AssignmentsRun, ExternalAssignment, RefusedRow
from shared.contracts.base import in_words
from shared.contracts.experiments import Experiment, Population, State
from shared.contracts.results import Design
from shared.db import Db, be_patient, new_id
from shared.errors import Conflict, Invalid, Unreadable

SHOWN = 100
FORGOTTEN_AFTER = timedelta(days=1)


class LookedAt(Conflict):
    """Who is added now was not there when everybody was looked at."""

    code = "looked-at"


Row = tuple[int, ExternalAssignment | RefusedRow]


def read(line: int, raw: bytes | dict[str, str]) -> Row:
    """One row of an upload, or why it is refused."""
    try:
        if isinstance(raw, bytes):
            raw = parse_json(raw)
        return line, ExternalAssignment.model_validate(raw)
    except (Unreadable, Invalid) as error:
        pointer = error.errors[0].pointer if error.errors else ""
        return line, RefusedRow(line=line, pointer=pointer, detail=error.detail.replace("The body", "The row"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        pointer = "".join(f"/{part}" for part in first["loc"])
        return line, RefusedRow(line=line, pointer=pointer, detail=in_words(first["msg"]))


def load(begin: Begin, reference: str, rows: Iterable[Row]) -> AssignmentsRun:
    """Take the rows over, all that fit or, if the upload breaks off, none.

    Raises `WrongState`, `AlreadyAssigned`, and `LookedAt` for customers who come after the last look, or after one at
    the whole planned size as one blast. Repeating a load is no error then either.
    """
    with begin() as db:
        _may_load(experiments.experiment(db, reference))
    load_id, refused, rejects = new_id(), 0, list[RefusedRow]()
    for chunk in chunked(rows, 5000):
        bad = [row for _, row in chunk if isinstance(row, RefusedRow)]
        refused += len(bad)
        rejects = (rejects + bad)[:SHOWN]
        good = [(line, row) for line, row in chunk if isinstance(row, ExternalAssignment)]
        with begin() as db:
            queries.stage(db, load_id, good, datetime.now(UTC))
    with begin() as db:
        experiment = experiments.experiment(db, reference, lock=True)
        be_patient(db)
        _may_load(experiment)
        found, judged = _take(db, experiment, load_id)
        queries.forget(db, load_id, datetime.now(UTC) - FORGOTTEN_AFTER)
    shown = sorted(rejects + judged.rejects, key=lambda row: row.line)[:SHOWN]
    return found.model_copy(update={"already": judged.already, "rejected": refused + judged.refused, "rejects": shown})


def _may_load(experiment: Experiment) -> None:
    if experiment.state is not State.RUNNING:
        raise WrongState(f"Only a running experiment takes assignments; {experiment.key} is {experiment.state}.")
    if experiment.population is Population.ONLINE:
        raise AlreadyAssigned(f"{experiment.key} assigns online; a split made elsewhere does not fit.")


def _may_grow(db: Db, experiment: Experiment) -> None:
    latest = looks.latest(db, experiment.id)
    if latest is not None and (latest.final or latest.design is Design.ONE_BLAST):
        raise LookedAt(
            f"{experiment.key} had {'its last look' if latest.final else 'a look at everybody at once'}: "
            "customers who come now belong into another experiment."
        )


def _take(db: Db, experiment: Experiment, load_id: UUID) -> tuple[AssignmentsRun, queries.Judged]:
    known = assignments.run(db, experiment.id)
    if known is not None and known.source != Population.EXTERNAL:
        raise AlreadyAssigned(f"The list of {experiment.key} was assigned here.")
    closed = known is not None and experiment.target_list_id is None
    judged = queries.take(db, load_id, experiment.id, experiment.target_list_id, closed=closed)
    arms = assignments.by_arm(db, experiment.id)
    run = assignments.Run(
        Population.EXTERNAL, None, sum(arms.values()), None, str(experiment.design_digest), CODE_VERSION
    )
    if judged.new:
        _may_grow(db, experiment)
        if known is None and experiment.target_list_id is not None:
            run = run._replace(population=assignments.on_list(db, experiment.target_list_id))
        experiments.settle_population(db, experiment.id, Population.EXTERNAL)
        assignments.store_run(db, experiment.id, run, datetime.now(UTC))
    return report(experiment, run, arms, new=judged.new), judged
