"""Segments: make, revise, try, list, explain, compare."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from services.audience.queries import cutoffs as cutoff_queries
from services.audience.queries import evaluations, traits
from services.audience.queries import segments as queries
from services.audience.queries.evaluations import Meant
from services.audience.queries.segments import Change
from services.audience.segments.catalogue import referred
from services.audience.segments.check import check, check_once, check_still
from services.audience.segments.describe import describe, phrase
from services.audience.segments.match import Verdict
from services.audience.segments.match import explain as verdicts_on
from services.audience.segments.measures import shown
from services.audience.segments.tree import walk
from shared.contracts.clauses import Clause, TraitClause
from shared.contracts.segments import (
    ClauseCount,
    ClauseVerdict,
    Cutoff,
    Explanation,
    Member,
    NewCutoff,
    NewSegment,
    Overlap,
    Preview,
    PreviewRequest,
    Revision,
    Segment,
    Shared,
)
from shared.db import Db, new_id
from shared.errors import Conflict, FieldError, Invalid
from shared.telemetry import log

STREAMED = 100_000  # members fetched at once: each fetch decides the whole segment, so few are better than many
COMPARED = 10

Reading = Callable[[], AbstractContextManager[Db]]


class KeyTaken(Conflict):
    """Keys are unique and never change."""

    code = "segment-key-taken"


class VersionPassed(Conflict):
    """Another version came in between."""

    code = "segment-version-passed"


class TooSlow(Invalid):
    """Counting took longer than it may."""

    code = "preview-too-slow"


class NoTrait(Invalid):
    """A cut-off needs customers who have the trait."""

    code = "no-such-trait"


def create(db: Db, new: NewSegment) -> Segment:
    """Raises `Invalid` where the definition does not fit the catalogue, `KeyTaken`."""
    now = datetime.now(UTC)
    queries.keep_others_waiting(db)
    check(new.definition, queries.catalogue(db, new.definition, now), own=new.key)
    if not queries.insert(db, new.key, Change(new_id(), 1, new.definition, new.name, None), now):
        raise KeyTaken(f"There is a segment {new.key} already.")
    log.info("segment made", segment=new.key)
    return _with_warnings(db, queries.find(db, new.key), now)


def revise(db: Db, reference: str, revision: Revision) -> Segment:
    """Make a new version; the same definition again changes the name at most, which belongs to no version.

    Raises `NotFound`, `Invalid`, `VersionPassed`.
    """
    now = datetime.now(UTC)
    queries.keep_others_waiting(db)
    segment = queries.find(db, reference)
    if revision.definition == segment.definition and revision.name in (None, segment.name):
        return segment
    if revision.based_on not in (None, segment.version):
        raise VersionPassed(f"The segment {segment.key} is at version {segment.version} already.")
    if revision.definition == segment.definition and revision.name is not None:
        queries.rename(db, segment.id, revision.name)
        log.info("segment renamed", segment=segment.key)
        return queries.find(db, reference)
    catalogue = queries.catalogue(db, revision.definition, now)
    check(revision.definition, catalogue, own=segment.key, in_force=segment.definition)
    version = segment.version + 1
    change = Change(segment.id, version, revision.definition, revision.name, revision.note, revision.evidence)
    queries.revise(db, change, now)
    log.info("segment revised", segment=segment.key, version=version)
    return _with_warnings(db, queries.find(db, reference), now)


def _with_warnings(db: Db, segment: Segment, now: datetime) -> Segment:
    return segment.model_copy(update={"warnings": _warnings(db, segment.definition, now)})


def _warnings(db: Db, definition: Clause, as_of: datetime) -> list[str]:
    """Traits need no declaration, so a misspelt one cannot be refused: the model that brings it may run tomorrow."""
    named = {path: clause.trait for path, clause in walk(definition) if isinstance(clause, TraitClause)}
    held = traits.held(db, named.values(), as_of)
    return [f"At {path or 'the whole'}: no customer has the trait {trait}." for path, trait in named.items()
            if trait not in held]  # fmt: skip


def preview(db: Db, asked: PreviewRequest) -> Preview:
    """Count without storing anything. Raises `Invalid`, `TooSlow` pointing at the slowest clause."""
    as_of = asked.as_of or datetime.now(UTC)
    catalogue = queries.catalogue(db, asked.definition, as_of)
    check_once(asked.definition, catalogue)
    try:
        found = evaluations.preview(db, asked.definition, as_of, catalogue, asked.timeout_ms)
    except evaluations.TooSlow as error:
        pointed = [FieldError(f"/definition{error.path}", "is the slowest clause by Postgres's estimate")]
        raise TooSlow(f"Counting took longer than {asked.timeout_ms} ms.", pointed) from error
    sentences = {path: phrase(clause, outermost=True) for path, clause in walk(asked.definition)}
    return Preview(
        as_of=as_of,
        count=found.members,
        known=found.known,
        share=found.members / found.known if found.known else None,
        sample=found.sample,
        clauses=[
            ClauseCount(path=path, sentence=sentences[path], count=count, missing=missing)
            for path, count, missing in found.clauses
        ],
        sentence=describe(asked.definition),
        sql_ms=round(found.sql_ms, 3),
        warnings=_warnings(db, asked.definition, as_of),
    )


def members(db: Db, reference: str, as_of: datetime, after: str | None, limit: int) -> list[Member]:
    """Members in the order of their ids, those after `after`. Raises `NotFound`, `Invalid`."""
    found = evaluations.members(db, _meant(db, queries.find(db, reference).definition, as_of), after, limit)
    return [Member(customer_id=one) for one in found]


def all_members(begin: Reading, reference: str, as_of: datetime) -> Iterator[Member]:
    """Every member by id, by the definition that is in force at the start. Raises `NotFound`, `Invalid` at once."""
    with begin() as db:
        meant = _meant(db, queries.find(db, reference).definition, as_of)
    return _streamed(begin, meant)


def _streamed(begin: Reading, meant: Meant) -> Iterator[Member]:
    after = None
    while True:
        with begin() as db:
            found = evaluations.members(db, meant, after, STREAMED)
        yield from (Member(customer_id=one) for one in found)
        if len(found) < STREAMED:
            return
        after = found[-1]


def explain(db: Db, reference: str, customer_id: str, as_of: datetime) -> Explanation:
    """Clause by clause why a customer is, or is not, a member. Raises `NotFound`, `Invalid`."""
    segment = queries.find(db, reference)
    catalogue = _meant(db, segment.definition, as_of).catalogue
    definitions = [segment.definition, *(one.definition for one in referred(segment.definition, catalogue))]
    portrait = evaluations.portrait(db, customer_id, definitions, as_of)
    verdicts = verdicts_on(segment.definition, portrait, as_of, catalogue)
    return Explanation(
        segment_id=segment.id,
        version=segment.version,
        customer_id=customer_id,
        as_of=as_of,
        member=verdicts[0].satisfied,
        clauses=[_told(verdict) for verdict in verdicts],
    )


def _told(verdict: Verdict) -> ClauseVerdict:
    sentence = phrase(verdict.clause, outermost=True)
    return ClauseVerdict(path=verdict.path, sentence=sentence, satisfied=verdict.satisfied, found=shown(verdict.found))


def overlap(db: Db, reference: str, others: list[str], as_of: datetime) -> Overlap:
    """How much other segments share with this one. Raises `NotFound`, `Invalid`."""
    if not 1 <= len(others) <= COMPARED:
        raise Invalid("Name the segments to compare with.", [FieldError("#query/with", f"1 to {COMPARED} segments")])
    segments = [queries.find(db, one) for one in (reference, *others)]
    definitions = [one.definition for one in segments]
    catalogue = queries.catalogue(db, definitions[0], as_of, *definitions[1:])
    sizes, both = evaluations.overlap(db, definitions, as_of, catalogue)
    compared = [
        Shared(
            segment=segment.key,
            count=size,
            both=shared,
            share=shared / size if size else None,
            jaccard=shared / (sizes[0] + size - shared) if sizes[0] + size else None,
        )
        for segment, size, shared in zip(segments[1:], sizes[1:], both, strict=True)
    ]
    return Overlap.model_validate({"segment": segments[0].key, "count": sizes[0], "with": compared})


def _meant(db: Db, definition: Clause, as_of: datetime) -> Meant:
    catalogue = queries.catalogue(db, definition, as_of)
    check_still(definition, catalogue)
    return Meant(definition, as_of, catalogue)


def store_cutoff(db: Db, new: NewCutoff) -> Cutoff:
    """Raises `NoTrait` when no customer has the trait as a number."""
    found = cutoff_queries.compute(db, new, datetime.now(UTC))
    if found is None:
        raise NoTrait("There is nothing to cut.", [FieldError("/trait", "no customer has this trait as a number")])
    return found
