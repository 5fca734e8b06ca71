"""Taking a look: a stored snapshot that spends its share of α."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from services.experiments import looking
from services.experiments.actions import questions
from services.experiments.actions.assignments import Begin
from services.experiments.actions.past import history
from services.experiments.actions.questions import NothingToSee, Part, Question, Sight
from services.experiments.looking import Kept
from services.experiments.queries import experiments
from services.experiments.queries import looks as queries
from shared.contracts.results import Design, Look, LookEffect
from shared.db import Db, be_patient
from shared.errors import Busy
from shared.jobs import Progress, unwatched
from shared.telemetry import log

T = TypeVar("T")

INLINE = 100_000  # customers up to which a look is taken while the caller waits


class Answer(NamedTuple):
    """What a look says of a contrast, and, if it was tested now, what later looks need to know of that."""

    effect: LookEffect
    tested: Kept | None
    question: Question | None


def take(
    begin: Begin, reference: str, as_of: datetime | None, progress: Progress = unwatched, *, long: bool = True
) -> tuple[Look, bool]:
    """Take a look, and whether it is a new one: asking again for the same day spends nothing.

    Figures are read, verdicts are reached without holding a connection, and the look is stored, unless another one was
    in the meantime; a look that is cancelled spends nothing. Raises `NothingToSee`, `Invalid` (a look before the
    latest, or in the future), and `Busy` where the experiment is not free, for which it waits `long` or for seconds.
    """
    with begin() as db:
        be_patient(db)
        sight, day = _seen(db, reference, as_of)
        if (standing := _standing(sight, day)) is not None:
            return standing, False
        latest, design = sight.history.latest, questions.design(sight)
        progress(0.1)
        step = 1 / max(1, sight.contrasts)
        asked = questions.one_blast(db, sight, day) if day is not None else questions.growing(db, sight, design)
        parts = list(_told(asked, progress, 0.1, 0.5 * step))
    answers = list(_told((_answer(sight, part) for part in parts), progress, 0.6, 0.4 * step))
    look = _look(sight, design, day, [answer.effect for answer in answers])
    if latest is not None and latest.digest == look.digest:
        raise NothingToSee("Nothing is new since the latest look: it stands.")
    with begin() as db:
        experiments.experiment(db, reference, lock=True, long=long)
        other = history(db, sight.experiment).latest
        if other is not None and other.number >= look.number:
            return other, False
        for answer in answers:
            if answer.question is not None and answer.question.extras.planned_variance is not None:
                metric = answer.question.contrast.metric
                queries.freeze(db, sight.experiment.id, metric.id, answer.question.extras.planned_variance)
        tested = [answer.tested for answer in answers if answer.tested is not None]
        past = {f"{kept.effect.metric}/{kept.effect.arm}": kept.as_json() for kept in tested}
        queries.store(db, sight.experiment.id, look, past)
    return look, True


def _told(each: Iterable[T], progress: Progress, begun: float, step: float) -> Iterator[T]:
    """The same, telling after each how far the look is."""
    for number, one in enumerate(each, 1):
        progress(begun + number * step)
        yield one


def prospect(begin: Begin, reference: str, as_of: datetime | None) -> Look | int:
    """What a look would be of: the one that stands already, or so many customers. Raises like `take`."""
    with begin() as db:
        sight, day = _seen(db, reference, as_of)
        return _standing(sight, day) or sight.assigned


def _seen(db: Db, reference: str, as_of: datetime | None) -> tuple[Sight, int | None]:
    """What there is to look at, and, of one blast, the day."""
    sight = questions.sight(db, experiments.experiment(db, reference), as_of)
    return sight, questions.day_of(sight) if questions.design(sight) is Design.ONE_BLAST else None


def _standing(sight: Sight, day: int | None) -> Look | None:
    """The latest look, where another one would be of the same moment, or would come after the last."""
    latest = sight.history.latest
    if latest is None:
        return None
    again = latest.final or latest.as_of >= sight.as_of or (day is not None and latest.day == day)
    return latest if again else None


def _answer(sight: Sight, part: Part) -> Answer:
    """Where there is nothing to spend, the last test's word stands, and this look keeps nothing of its own."""
    if isinstance(part, LookEffect):
        return Answer(part, None, None)
    found = looking.decide(sight.experiment, *part)
    return Answer(looking.standing(found, part.past), found if found.bounded else None, part)


def due(begin: Begin) -> list[str]:
    """Experiments whose daily look the worker should take now."""
    with begin() as db:
        return queries.due(db, datetime.now(UTC))


def take_due(begin: Begin, reference: str) -> Look | None:
    """Take the daily look, if there is anything new to see and no other work has the experiment: others' looks wait."""
    try:
        look, fresh = take(begin, reference, None, long=False)
    except (NothingToSee, Busy) as hindrance:
        log.info("look postponed", experiment=reference, reason=hindrance.detail)
        return None
    return look if fresh else None


def _look(sight: Sight, design: Design, day: int | None, effects: Sequence[LookEffect]) -> Look:
    rested = json.dumps([effect.model_dump(mode="json") for effect in effects], sort_keys=True)
    return Look(
        number=len(sight.history.looks) + 1,
        taken_at=datetime.now(UTC),
        as_of=sight.as_of,
        day=day,
        method=sight.experiment.method,
        design=design,
        final=0 < len(effects) == sight.contrasts and all(effect.final for effect in effects),
        digest=hashlib.sha256(rested.encode()).hexdigest(),
        effects=list(effects),
    )
