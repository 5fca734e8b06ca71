"""Target lists: freeze one, release it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.audience import clock, funnel
from services.audience.control import SERVICE_MESSAGES, control_of
from services.audience.measures import LIST_MEMBERS, LISTS_BUILT
from services.audience.permission import Scope
from services.audience.queries import attributes, building, campaigns, segments, traits
from services.audience.queries import lists as queries
from services.audience.queries.building import Choice, Frozen, Screening
from services.audience.queries.lists import Claim
from services.audience.segments import sql
from shared.contracts.audience import AttributeType
from shared.contracts.segments import Segment
from shared.contracts.targeting import FunnelStep, ListState, NewTargetList, Reference, TargetList
from shared.db import Db, new_id
from shared.errors import Conflict, FieldError, Invalid, NotFound
from shared.settings import Settings
from shared.telemetry import log


class NameTaken(Conflict):
    """Lists are frozen; another one needs another name."""

    code = "target-list-name-taken"


class EmptyList(Invalid):
    """Nobody of the list would be contacted."""

    code = "empty-target-list"


class Expired(Conflict):
    """Too much may have changed since the list was frozen."""

    code = "target-list-expired"


def now() -> datetime:
    """The present, in UTC: whether a list has expired is a question of the clock."""
    return datetime.now(UTC)


def build(db: Db, new: NewTargetList, settings: Settings) -> TargetList:
    """Freeze a list, or with `dry_run` say what it would be.

    The transaction that claims the name writes the members; a build of the same name under way is waited for.

    Raises
    ------
    Invalid
        When what is named does not exist or fit, or nobody would be on the list (`EmptyList`).
    NameTaken
        When a list of that name exists.
    """
    segment = _segment(db, new)
    claimed = _claimed(db, new, segment, settings)
    _check_references(db, new, claimed.as_of)
    if not new.dry_run and not queries.claim(db, claimed):
        raise NameTaken(f"There is a target list {new.name!r} already.")
    catalogue = segments.catalogue(db, segment.definition, claimed.as_of)
    building.match(db, sql.members_select(segment.definition, claimed.as_of, catalogue))
    if not new.dry_run:
        building.keep_others_waiting(db)
    known_at = datetime.now(UTC)
    left = building.screen(db, _screening(claimed, settings, known_at))
    frozen = building.choose(db, _choice(claimed))
    steps = funnel.steps(left, frozen.limited, frozen.held_out)
    return (
        _rehearsed(claimed, steps, frozen, known_at) if new.dry_run else _stored(db, claimed, steps, frozen, known_at)
    )


def _stored(db: Db, claimed: Claim, steps: list[FunnelStep], frozen: Frozen, known_at: datetime) -> TargetList:
    if not frozen.limited:
        emptied = next(step.step for step in steps if step.count == 0)
        told = f"Nobody is left for this list: {funnel.in_words(steps)}."
        raise EmptyList(told, [FieldError("/segment_id", f"0 left at the step: {emptied}")])
    if frozen.held_out == frozen.limited:
        everybody = FieldError("/holdout_share", f"would hold out all {frozen.limited} members")
        raise EmptyList(f"Nobody is left to be contacted: {funnel.in_words(steps)}.", [everybody])
    personal = [name for name, one in attributes.catalogue(db).items() if one.personal]
    building.store(db, claimed.id, claimed.as_of, personal)
    queries.complete(db, claimed.id, steps, frozen.held_out, frozen.digest, known_at)
    LISTS_BUILT.inc()
    LIST_MEMBERS.inc(frozen.limited)
    log.info("list built", target_list=str(claimed.id), selected=steps[-1].count, held_out=frozen.held_out)
    return queries.target_list(db, claimed.id, known_at)


def _rehearsed(claimed: Claim, steps: list[FunnelStep], frozen: Frozen, known_at: datetime) -> TargetList:
    """The answer of a dry run."""
    known = claimed._asdict() | claimed.scope._asdict() | claimed.new.model_dump(include=queries.AS_ASKED)
    known |= {"id": None, "known_at": known_at, "count": steps[-1].count, "held_out": frozen.held_out}
    known |= {"digest": frozen.digest, "funnel": steps, "state": ListState.BUILT, "released_at": None}
    return TargetList.model_validate({name: known[name] for name in TargetList.model_fields})


def _segment(db: Db, new: NewTargetList) -> Segment:
    try:
        return segments.find(db, new.segment_id)
    except NotFound as error:
        raise Invalid(error.detail, [FieldError("/segment_id", "there is no such segment")]) from error


def _claimed(db: Db, new: NewTargetList, segment: Segment, settings: Settings) -> Claim:
    now = datetime.now(UTC)
    as_of = new.as_of or now
    if as_of > now + clock.TOLERANCE:
        raise Invalid("A list cannot be frozen in the future.", [FieldError("/as_of", "must not lie in the future")])
    scope = _scope(db, new)
    return Claim(
        id=new_id(),
        new=new,
        scope=scope,
        segment_id=segment.id,
        segment_key=segment.key,
        segment_version=segment.version,
        definition=segment.definition.model_dump(mode="json", by_alias=True),
        global_control_share=control_of(settings.secret, settings.global_control_share, scope.purpose).share,
        seed=new.seed or new.name,
        as_of=as_of,
        built_at=now,
        expires_at=now + timedelta(hours=new.valid_hours),
    )


def _scope(db: Db, new: NewTargetList) -> Scope:
    """Brand, channel and purpose: the campaign's, where there is one; what is said beside it must agree."""
    if new.campaign is None:
        return Scope(new.brand or "default", new.channel or "", new.purpose or "")
    try:
        campaign = campaigns.campaign(db, new.campaign)
    except NotFound as error:
        raise Invalid(error.detail, [FieldError("/campaign", "there is no such campaign")]) from error
    scope = Scope(campaign.brand, campaign.channel, campaign.purpose)
    said = Scope(new.brand or scope.brand, new.channel or scope.channel, new.purpose or scope.purpose)
    if said != scope:
        wrong = [FieldError(f"/{name}", f"the campaign says {own}") for name, own in scope._asdict().items()
                 if getattr(said, name) != own]  # fmt: skip
        raise Invalid("The campaign says otherwise.", wrong)
    return scope


def _check_references(db: Db, new: NewTargetList, as_of: datetime) -> None:
    """Ranking needs a number that is declared, strata an attribute that is.

    Traits need no declaration, but somebody must have had them at `as_of`. A stratum is written out beside its members,
    so a personal value must not be one.
    """
    declared = attributes.catalogue(db)
    held = traits.held(db, (one.trait for one in new.strata if one.trait is not None), as_of)
    wrong = []
    for index, reference in enumerate(new.strata):
        if reference.trait is not None and reference.trait not in held:
            wrong.append(FieldError(f"/strata/{index}/trait", "no customer had this trait at the list's `as_of`"))
        if reference.attribute is None:
            continue
        if reference.attribute not in declared:
            wrong.append(FieldError(f"/strata/{index}/attribute", "is not declared in the attribute catalogue"))
        elif declared[reference.attribute].personal:
            wrong.append(FieldError(f"/strata/{index}/attribute", "is personal, so its values are not shown"))
    ranked: Reference | None = new.rank_by
    if ranked is not None and ranked.attribute is not None:
        known = declared.get(ranked.attribute)
        if known is None or known.type is not AttributeType.NUMBER:
            wrong.append(FieldError("/rank_by/attribute", "is not a declared number"))
    if ranked is not None and ranked.trait is not None and not traits.held_as_number(db, ranked.trait, as_of):
        wrong.append(FieldError("/rank_by/trait", "no customer had this trait as a number at the list's `as_of`"))
    if wrong:
        raise Invalid("The list names what there is not.", wrong)


def _screening(claimed: Claim, settings: Settings, known_at: datetime) -> Screening:
    capped = claimed.new.max_contacts if claimed.scope.purpose != SERVICE_MESSAGES else None
    return Screening(
        scope=claimed.scope,
        known_at=known_at,
        max_contacts=capped,
        since=known_at - timedelta(days=capped.days) if capped else None,
        control=control_of(settings.secret, settings.global_control_share, claimed.scope.purpose),
    )


def _choice(claimed: Claim) -> Choice:
    new = claimed.new
    return Choice(new.rank_by, new.limit, new.strata, new.holdout_share, claimed.seed, claimed.as_of)


def release(db: Db, list_id: UUID) -> TargetList:
    """Hand a list over to sending. Releasing it again changes nothing. Raises `NotFound`, `Expired`."""
    now = datetime.now(UTC)
    queries.release(db, list_id, now)
    released = queries.target_list(db, list_id, now)
    if released.state is ListState.EXPIRED and released.released_at is None:
        raise Expired(f"The list expired at {released.expires_at:%Y-%m-%d %H:%M} UTC; build it again.")
    return released
