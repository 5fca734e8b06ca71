"""SQL about experiments: their design and their life."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, select

from services.experiments.queries.metrics import metric_of
from services.experiments.tables import ExperimentRow, MetricRow
from shared.contracts.base import as_id
from shared.contracts.experiments import Design, Experiment, FrozenMetric, NewExperiment, State
from shared.contracts.metrics import Metric
from shared.db import Db, waiting_for_others
from shared.errors import NotFound

INSERT = sa.text("""
    insert into experiments.experiment (id, key, state, target_list_id, definition, seed, created_at)
    values (:id, :key, 'draft', :target_list_id, cast(:definition as jsonb), :seed, :now)
        on conflict (key) do nothing
 returning id
""")
INSERT_ARM = sa.text("""
    insert into experiments.arm (experiment_id, key, position, weight, control, contact, payload, cost_per_contact)
    values (:experiment_id, :key, :position, :weight, :control, :contact, cast(:payload as jsonb),
            cast(:cost as numeric))
""")
MEASURED = sa.text("""
    select s.experiment_id, m.key, m.version, s.role, s.allowance
      from experiments.measured as s
      join experiments.metric as m on m.id = s.metric_id
     where s.experiment_id = any(:ids)
     order by s.experiment_id, s.position
""")
NEWEST = sa.text("""
    select m.key, max(m.version) as version from experiments.metric as m where m.key = any(:keys) group by m.key
""")
MEASURED_TABLE = sa.table(
    "measured", sa.column("experiment_id"), sa.column("metric_id"), sa.column("position"), schema="experiments"
)
MEASURE = sa.text("""
    insert into experiments.measured (experiment_id, metric_id, role, position, allowance)
    select :experiment_id, m.id, :role, :position, cast(:allowance as float8)
      from experiments.metric as m
     where m.key = :key and m.version = :version
""")
START = sa.text("""
    update experiments.experiment as x
       set state = 'running', started_at = :now, design_digest = :digest,
           population = case when x.target_list_id is not null then 'list' end
     where x.id = :id
""")
SET_STATE = sa.text("""
    update experiments.experiment as x
       set state = :state, stopped_at = case when :state = 'stopped' then :now else x.stopped_at end
     where x.id = :id
""")
OPEN_POPULATION = sa.text("""
    with free as (select x.id
                    from experiments.experiment as x
                   where x.id = :id and x.population is null
                     for update skip locked)
    update experiments.experiment as x
       set population = :population
      from free as f
     where x.id = f.id
 returning x.population
""")
POPULATION = sa.text("select x.population from experiments.experiment as x where x.id = :id")
SET_POPULATION = sa.text("""
    update experiments.experiment as x
       set population = coalesce(x.population, :population)
     where x.id = :id
 returning x.population
""")


def insert(db: Db, experiment_id: UUID, new: NewExperiment, seed: str, now: datetime) -> bool:
    """Store a draft with its arms, unless the key is taken; whether it was stored."""
    row = {"id": experiment_id, "key": new.key, "target_list_id": new.target_list_id, "seed": seed, "now": now}
    if db.execute(INSERT, {**row, "definition": new.model_dump_json()}).one_or_none() is None:
        return False
    arms = [
        {
            "experiment_id": experiment_id,
            "key": arm.key,
            "position": position,
            "weight": arm.weight,
            "control": arm.control,
            "contact": arm.contacted,
            "payload": _json(arm.payload),
            "cost": arm.cost_per_contact,
        }
        for position, arm in enumerate(new.arms)
    ]
    db.execute(INSERT_ARM, arms)
    return True


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)


def experiment(db: Db, reference: str, *, lock: bool = False, long: bool = True) -> Experiment:
    """By key or id; with `lock` it stays as it is until the end of the transaction.

    Raises `NotFound`, and `Busy` where too many wait for who has it, such as the assigning of a long list, or where it
    is not free within seconds and nobody wants to wait `long`.
    """
    return _experiments(db, [_row(db, reference, lock, long)])[0]


def listed(db: Db, state: State | None, after: list[str] | None, limit: int) -> list[Experiment]:
    """The newest first."""
    made, number = col(ExperimentRow.created_at), col(ExperimentRow.id)
    query = select(ExperimentRow).order_by(made.desc(), number.desc()).limit(limit)
    if state is not None:
        query = query.where(ExperimentRow.state == state.value)
    if after is not None:
        at, last = datetime.fromisoformat(after[0]), UUID(after[1])
        query = query.where(sa.tuple_(made, number) < sa.tuple_(at, last))
    return _experiments(db, db.exec(query).all())


def in_state(db: Db, state: State) -> list[Experiment]:
    """All experiments in a state, by key."""
    query = select(ExperimentRow).where(ExperimentRow.state == state.value).order_by(col(ExperimentRow.key))
    return _experiments(db, db.exec(query).all())


def definition(db: Db, key: str) -> Design | None:
    """The design as it was given, if there is one of this key."""
    row = db.exec(select(ExperimentRow).where(ExperimentRow.key == key)).one_or_none()
    return None if row is None else Design.model_validate(row.definition)


def _row(db: Db, reference: str, lock: bool = False, long: bool = True) -> ExperimentRow:
    named = sa.or_(col(ExperimentRow.key) == reference, col(ExperimentRow.id) == as_id(reference))
    query = select(ExperimentRow).where(named).order_by((col(ExperimentRow.key) == reference).asc())
    with waiting_for_others(db, long=long) if lock else nullcontext():
        found = db.exec(query.with_for_update() if lock else query, execution_options={"populate_existing": True})
    row = found.first()
    if row is None:
        raise NotFound(f"There is no experiment {reference}.")
    return row


def measure(db: Db, experiment_id: UUID, measured: Sequence[FrozenMetric]) -> None:
    """Freeze the versions of what is measured."""
    rows = [
        {
            "experiment_id": experiment_id,
            "key": metric.key,
            "version": metric.version,
            "role": metric.role.value,
            "position": position,
            "allowance": metric.margin,
        }
        for position, metric in enumerate(measured)
    ]
    db.execute(MEASURE, rows)


def measured(db: Db, experiment_id: UUID) -> list[Metric]:
    """The metrics of a started experiment, in order, at the versions it measures."""
    query = (
        select(MetricRow)
        .join(MEASURED_TABLE, MEASURED_TABLE.c.metric_id == col(MetricRow.id))
        .where(MEASURED_TABLE.c.experiment_id == experiment_id)
        .order_by(MEASURED_TABLE.c.position)
    )
    return [metric_of(row) for row in db.exec(query)]


def start(db: Db, experiment_id: UUID, digest: str, now: datetime) -> None:
    """From draft to running, with the design's digest."""
    db.execute(START, {"id": experiment_id, "digest": digest, "now": now})


def set_state(db: Db, experiment_id: UUID, state: State, now: datetime) -> None:
    db.execute(SET_STATE, {"id": experiment_id, "state": state.value, "now": now})


def settle_population(db: Db, experiment_id: UUID, population: str) -> str:
    """Say where customers come from, unless that is settled; what it is then."""
    return str(db.execute(SET_POPULATION, {"id": experiment_id, "population": population}).scalar_one())


def settle_population_unless_busy(db: Db, experiment_id: UUID, population: str) -> str | None:
    """`settle_population` that waits for nobody: None while another transaction has the experiment, unsettled."""
    settled = db.execute(OPEN_POPULATION, {"id": experiment_id, "population": population}).scalar_one_or_none()
    found: str | None = settled or db.execute(POPULATION, {"id": experiment_id}).scalar_one()
    return found


def _experiments(db: Db, rows: Sequence[ExperimentRow]) -> list[Experiment]:
    frozen: dict[UUID, list[FrozenMetric]] = {}
    for row in db.execute(MEASURED, {"ids": [row.id for row in rows]}):
        found = FrozenMetric(key=row.key, version=row.version, role=row.role, margin=row.allowance)
        frozen.setdefault(row.experiment_id, []).append(found)
    designs = [Design.model_validate(row.definition) for row in rows]
    drafted = {
        key for row, design in zip(rows, designs, strict=True) if row.id not in frozen for key in design.metrics.names()
    }
    newest = {row.key: row.version for row in db.execute(NEWEST, {"keys": sorted(drafted)})} if drafted else {}
    return [
        _experiment(row, design, frozen.get(row.id) or design.metrics.measured(newest))
        for row, design in zip(rows, designs, strict=True)
    ]


def _experiment(row: ExperimentRow, design: Design, measured: list[FrozenMetric]) -> Experiment:
    given = {name: getattr(design, name) for name in Design.model_fields if name != "key"}
    stored = {name: getattr(row, name) for name in ExperimentRow.model_fields if name != "definition"}
    return Experiment.model_validate({**given, **stored, "measured": measured})
