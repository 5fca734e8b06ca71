"""SQL of refinements: the ledger of an experiment's proposals, verdicts and decisions."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from shared.contracts.feedback import NewRefinement, Refinement
from shared.db import Db
from shared.errors import NotFound
from shared.pages import PageRequest

SHOWN = """
    r.id, r.experiment, r.segment_id, r.metric, r.state, r.verdict, r.proposal, r.alpha, r.definition, r.evidence,
    r.searched_version, r.new_version, r.reason, r.job_id as job, r.created_at, r.decided_at
"""
INSERT = sa.text("""
    insert into feedback.refinement (id, experiment, segment_id, metric, state, job_id, created_at)
    values (:id, :experiment, :segment_id, :metric, 'searching', :job_id, :now)
""")
ONE = sa.text(f"select {SHOWN} from feedback.refinement as r where r.id = :id")  # noqa: S608
LOCKED = sa.text(f"select {SHOWN} from feedback.refinement as r where r.id = :id for update")  # noqa: S608
MANY = sa.text(f"""
    select {SHOWN}
      from feedback.refinement as r
     where (cast(:experiment as text) is null or r.experiment = :experiment)
       and (cast(:after as uuid) is null or r.id < :after)
     order by r.id desc
     limit :limit
""")  # noqa: S608
ONE_AT_A_TIME = sa.text("select pg_advisory_xact_lock(hashtextextended('refinement ' || :experiment, 0))")
NUMBER = sa.text("""
    update feedback.refinement as r
       set proposal = 1 + (select coalesce(max(o.proposal), 0)
                             from feedback.refinement as o
                            where o.experiment = r.experiment)
     where r.id = :id and r.proposal is null
""")
CONCLUDE = sa.text("""
    update feedback.refinement as r
       set state = :state, verdict = :verdict, proposal = :proposal, alpha = :alpha,
           definition = cast(:definition as jsonb), evidence = cast(:evidence as jsonb), searched_version = :version
     where r.id = :id and r.state = 'searching'
""").bindparams(sa.bindparam("definition", type_=sa.JSON(none_as_null=True)), sa.bindparam("evidence", type_=sa.JSON))
FAIL = sa.text("""
    update feedback.refinement as r
       set state = 'failed', verdict = :verdict
     where r.id = :id and r.state = 'searching'
""")
DECIDE = sa.text("""
    update feedback.refinement as r
       set state = :state, reason = :reason, new_version = :new_version, decided_at = :now
     where r.id = :id and r.state = 'proposed'
""")


def insert(db: Db, refinement_id: UUID, new: NewRefinement, job_id: UUID, now: datetime) -> None:
    db.execute(INSERT, {**new.model_dump(), "id": refinement_id, "job_id": job_id, "now": now})


def refinement(db: Db, refinement_id: UUID, *, lock: bool = False) -> Refinement:
    """Raises `NotFound`."""
    row = db.execute(LOCKED if lock else ONE, {"id": refinement_id}).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no refinement {refinement_id}.")
    return Refinement.model_validate(dict(row))


def refinements(db: Db, experiment: str | None, page: PageRequest) -> list[Refinement]:
    """The newest first, one more than the page holds."""
    after = page.after[0] if page.after else None
    rows = db.execute(MANY, {"experiment": experiment, "after": after, "limit": page.limit + 1}).mappings()
    return [Refinement.model_validate(dict(row)) for row in rows]


def number(db: Db, found: Refinement) -> int:
    """The proposal's number in its experiment's ledger: given once, kept when the search is run again."""
    db.execute(ONE_AT_A_TIME, {"experiment": found.experiment})
    db.execute(NUMBER, {"id": found.id})
    given = refinement(db, found.id).proposal
    assert given is not None
    return given


def conclude(db: Db, refinement_id: UUID, conclusion: dict[str, Any]) -> None:
    """Store a verdict: state, verdict, proposal, alpha, definition, evidence, version."""
    db.execute(CONCLUDE, {**conclusion, "id": refinement_id})


def fail(db: Db, refinement_id: UUID, verdict: str) -> None:
    """The search could not be made."""
    db.execute(FAIL, {"id": refinement_id, "verdict": verdict})


def decide(
    db: Db, refinement_id: UUID, state: str, now: datetime, *, reason: str | None = None, version: int | None = None
) -> None:
    """Accept or reject a proposal that waits for it; one that does not stays as it is."""
    db.execute(DECIDE, {"id": refinement_id, "state": state, "reason": reason, "new_version": version, "now": now})
