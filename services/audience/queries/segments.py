"""Segments as they are kept: every version stays. And what their definitions refer to."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from services.audience.queries.cutoffs import in_force
from services.audience.queries.parameters import with_json
from services.audience.segments.catalogue import MAX_SEGMENTS, Catalogue, Referenced
from services.audience.segments.describe import describe
from services.audience.segments.tree import references, walk
from shared.contracts.audience import AttributeType
from shared.contracts.base import as_id
from shared.contracts.clauses import Clause, TraitClause
from shared.contracts.kinds import WELL_KNOWN
from shared.contracts.segments import Evidence, Segment, SegmentVersion
from shared.db import Db
from shared.errors import Invalid, NotFound
from shared.pages import PageRequest

# One change of segments at a time: two that each refer to the other would both find no circle.
ONE_AT_A_TIME = sa.text("select pg_advisory_xact_lock(hashtext('audience.segment'))")
INSERT = sa.text("""
    insert into audience.segment (id, key, name, version, created_at, revised_at)
    values (:id, :key, :name, 1, :now, :now)
        on conflict (key) do nothing
 returning id
""")
INSERT_VERSION = with_json(
    sa.text("""
    insert into audience.segment_version (segment_id, version, definition, note, evidence, created_at)
    values (:id, :version, :definition, :note, :evidence, :now)
"""),
    "definition",
    "evidence",
)
REVISE = sa.text("""
    update audience.segment as s
       set version = :version, name = coalesce(:name, s.name), revised_at = :now
     where s.id = :id
""")
RENAME = sa.text("update audience.segment as s set name = :name where s.id = :id")
COLUMNS = """s.id, s.key, s.name, s.version, v.definition, s.created_at, s.revised_at
      from audience.segment as s
      join audience.segment_version as v on v.segment_id = s.id and v.version = s.version"""
# An older release took keys in the form of an id: the id wins.
ONE = sa.text(f"select {COLUMNS} where s.key = :reference or s.id = :id order by s.key = :reference limit 1")
MANY = sa.text(f"select {COLUMNS} where s.key = any(:references) or s.id = any(:ids)")
PAGE = sa.text(f"""
    select {COLUMNS}
     where cast(:at as timestamptz) is null or (s.created_at, s.id) > (:at, cast(:id as uuid))
     order by s.created_at, s.id
     limit :limit
""")
VERSIONS = sa.text("""
    select v.segment_id, v.version, v.definition, v.note, v.evidence, v.created_at
      from audience.segment_version as v
     where v.segment_id = :id and (cast(:before as integer) is null or v.version < :before)
     order by v.version desc
     limit :limit
""")
ATTRIBUTES = sa.text("select a.name, a.type from audience.attribute as a")
DECLARED_KINDS = sa.text("select k.name, k.properties from published.feedback_kinds as k")

PROPERTY_TYPES = {
    "text": AttributeType.TEXT,
    "number": AttributeType.NUMBER,
    "boolean": AttributeType.BOOLEAN,
    "time": AttributeType.INSTANT,
}


class Change(NamedTuple):
    """A new version of a segment, ready to be stored."""

    id: UUID
    version: int
    definition: Clause
    name: str | None
    note: str | None
    evidence: Evidence | None = None


def keep_others_waiting(db: Db) -> None:
    """Until the end of the transaction no other segment is made or revised."""
    db.execute(ONE_AT_A_TIME)


def insert(db: Db, key: str, change: Change, now: datetime) -> bool:
    """Store a segment with its first version; False when the key is taken."""
    row = {"id": change.id, "key": key, "name": change.name, "now": now}
    if db.execute(INSERT, row).one_or_none() is None:
        return False
    _store(db, change, now)
    return True


def revise(db: Db, change: Change, now: datetime) -> None:
    """Add a version and put it in force."""
    _store(db, change, now)
    db.execute(REVISE, {"id": change.id, "version": change.version, "name": change.name, "now": now})


def rename(db: Db, segment_id: UUID, name: str) -> None:
    """Give a segment another name; no version of it says something else."""
    db.execute(RENAME, {"id": segment_id, "name": name})


def _store(db: Db, change: Change, now: datetime) -> None:
    row = {"id": change.id, "version": change.version, "note": change.note, "now": now}
    row |= {"definition": change.definition.model_dump(mode="json")}
    row |= {"evidence": None if change.evidence is None else change.evidence.model_dump(mode="json")}
    db.execute(INSERT_VERSION, row)


def find(db: Db, reference: str) -> Segment:
    """By key or id, with the version that is in force. Raises `NotFound`."""
    row = db.execute(ONE, {"reference": reference, "id": as_id(reference)}).one_or_none()
    if row is None:
        raise NotFound(f"There is no segment {reference}.")
    return _segment(row)


def page(db: Db, asked: PageRequest) -> list[Segment]:
    """In the order of their making, one more than the page holds."""
    at, identifier = asked.after or (None, None)
    rows = db.execute(PAGE, {"at": at, "id": identifier, "limit": asked.limit + 1})
    return [_segment(row) for row in rows]


def versions(db: Db, segment_id: UUID, asked: PageRequest) -> list[SegmentVersion]:
    """The newest first, one more than the page holds."""
    before = int(asked.after[0]) if asked.after else None
    rows = db.execute(VERSIONS, {"id": segment_id, "before": before, "limit": asked.limit + 1})
    found = [SegmentVersion.model_validate({**row, "sentence": ""}) for row in rows.mappings()]
    return [one.model_copy(update={"sentence": describe(one.definition)}) for one in found]


def _segment(row: Any) -> Segment:
    found = Segment.model_validate({**row._mapping, "sentence": ""})
    return found.model_copy(update={"sentence": describe(found.definition)})


def catalogue(db: Db, definition: Clause, as_of: datetime, *others: Clause) -> Catalogue:
    """All that these definitions may refer to and, through segments, do refer to, as it stands at `as_of`.

    A reference to what does not exist is left out; `check` then says so.
    """
    segments = _referred(db, [definition, *others])
    everything = [definition, *others, *(one.definition for one in segments.values())]
    return Catalogue(
        attributes={row.name: AttributeType(row.type) for row in db.execute(ATTRIBUTES)},
        kinds=_kinds(db),
        segments=segments,
        cutoffs=in_force(db, _cutoffs(everything), as_of),
    )


def _referred(db: Db, definitions: Sequence[Clause]) -> dict[str | UUID, Referenced]:
    found: dict[str | UUID, Referenced] = {}
    asked: set[str] = set()
    while wanted := _named(definitions) - asked:
        asked |= wanted
        ids = [identifier for identifier in map(as_id, wanted) if identifier is not None]
        segments = [_segment(row) for row in db.execute(MANY, {"references": sorted(wanted), "ids": ids})]
        for one in segments:
            found[one.id] = found[one.key] = Referenced(one.key, one.version, one.definition)
        if len(found) > 4 * MAX_SEGMENTS:
            raise Invalid(f"The definition needs more than {MAX_SEGMENTS} other segments.")
        definitions = [one.definition for one in segments]
    return found


def _named(definitions: Sequence[Clause]) -> set[str]:
    return {reference for definition in definitions for _, reference in references(definition)}


def _cutoffs(definitions: Sequence[Clause]) -> set[str]:
    clauses = (clause for definition in definitions for _, clause in walk(definition))
    return {clause.cutoff for clause in clauses if isinstance(clause, TraitClause) and clause.cutoff}


def _kinds(db: Db) -> dict[str, dict[str, AttributeType]]:
    kinds = {
        name: {property_name: PROPERTY_TYPES[one.type] for property_name, one in rule.properties.items()}
        for name, rule in WELL_KNOWN.items()
    }
    for row in db.execute(DECLARED_KINDS):
        kinds[row.name] = {name: PROPERTY_TYPES[one["type"]] for name, one in row.properties.items()}
    return kinds
