"""The life of an experiment, and what is frozen when it begins."""

import hashlib
import json
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.contracts.experiments import Arm, FrozenMetric, NewExperiment, State
from shared.errors import Conflict

MOVES: dict[State, frozenset[State]] = {
    State.DRAFT: frozenset({State.RUNNING}),
    State.RUNNING: frozenset({State.PAUSED, State.STOPPED}),
    State.PAUSED: frozenset({State.RUNNING, State.STOPPED}),
    State.STOPPED: frozenset({State.ARCHIVED}),
    State.ARCHIVED: frozenset(),
}


class WrongState(Conflict):
    """The experiment's state does not allow it."""

    code = "wrong-state"


class StillCounting(Conflict):
    """Responses to the experiment are still to be counted."""

    code = "still-counting"


class Counting(NamedTuple):
    """How far an experiment is counted: when its last window closes (None: nobody is assigned), whether assignments
    wait, what is counted until when, and how much later than they occur events usually arrive."""

    closes: datetime | None
    waiting: bool
    counted_at: datetime | None
    usual_lag: timedelta


def may_archive(key: str, counting: Counting) -> None:
    """What is archived is never counted again, so all of it must be in. Raises `StillCounting`.

    >>> may_archive("never-sent", Counting(None, False, None, timedelta(0)))
    """
    if counting.closes is None:
        return
    complete = counting.closes + counting.usual_lag
    if counting.waiting or counting.counted_at is None or counting.counted_at < complete:
        raise StillCounting(
            f"Responses to {key} are counted until {complete:%Y-%m-%d %H:%M} UTC: archive it after that."
        )


def move(found: State, wanted: State) -> State:
    """The state after a move. Staying where one is is no error. Raises `WrongState`.

    >>> move(State.DRAFT, State.RUNNING)
    <State.RUNNING: 'running'>
    """
    if found is not wanted and wanted not in MOVES[found]:
        raise WrongState(f"An experiment that is {found} cannot become {wanted}.")
    return wanted


def normalised(new: NewExperiment) -> NewExperiment:
    """The design as it is stored: weights sum to one, defaults are filled in."""
    total = sum(arm.weight for arm in new.arms)
    scale = 1.0 if abs(total - 1) < 1e-9 else total
    arms = [arm.model_copy(update={"weight": arm.weight / scale, "contact": arm.contacted}) for arm in new.arms]
    return new.model_copy(update={"arms": arms, "method": new.chosen_method(), "name": new.name or new.key})


def design_digest(
    arms: list[Arm], seed: str, split: str, measured: list[FrozenMetric], alpha: float, method: str
) -> str:
    """SHA-256 (hex) over all that is frozen at start, as canonical JSON."""
    design = {
        "arms": [arm.model_dump(mode="json") for arm in arms],
        "seed": seed,
        "split": split,
        "measured": [metric.model_dump(mode="json") for metric in measured],
        "alpha": alpha,
        "method": method,
    }
    text = json.dumps(design, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
