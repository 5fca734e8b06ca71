"""The looks that were taken, and what is kept of them."""

from datetime import datetime
from math import isfinite
from typing import NamedTuple

from services.experiments.looking import Kept
from services.experiments.queries import looks as queries
from shared.contracts.base import read
from shared.contracts.experiments import Experiment
from shared.contracts.results import Look, LookEffect
from shared.db import Db

Key = tuple[str, str]  # metric and arm


class Said(NamedTuple):
    """The last word on a contrast, and the look that tested it, or, where none could, that said so."""

    effect: LookEffect
    look: Look


class History(NamedTuple):
    """The looks so far; of each contrast those that had a bound, and its last word."""

    looks: list[Look]
    tested: dict[Key, list[Kept]]
    said: dict[Key, Said]

    @property
    def latest(self) -> Look | None:
        return self.looks[-1] if self.looks else None


def history(db: Db, experiment: Experiment, as_of: datetime | None = None) -> History:
    """All looks of an experiment, or those that speak of an instant or of one before."""
    looks, tested, said = list[Look](), dict[Key, list[Kept]](), dict[Key, Said]()
    for row in queries.stored(db, experiment.id):
        if as_of is not None and row.as_of > as_of:
            continue
        look = read(Look, row.content)
        looks.append(look)
        for effect in look.effects:
            key = (effect.metric, effect.arm)
            past = row.past.get(f"{effect.metric}/{effect.arm}")
            kept = Kept.from_json(past, effect) if past is not None else None
            if kept is not None and isfinite(kept.past.bound):
                tested.setdefault(key, []).append(kept)
            if effect.p_value is not None or key not in tested:
                origin = looks[effect.look - 1] if effect.look else look
                said[key] = Said(effect, origin)
    return History(looks, tested, said)
