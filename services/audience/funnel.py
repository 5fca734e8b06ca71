"""The steps from a segment's members to those who are contacted, and how they add up. Pure."""

from itertools import pairwise
from typing import NamedTuple, get_args

from shared.contracts.targeting import FunnelName, FunnelStep

STEPS: tuple[FunnelName, ...] = get_args(FunnelName)


class Left(NamedTuple):
    """Customers left after each screening step, in their order, before anything is ranked."""

    matched: int
    reachable: int
    permitted: int
    not_suppressed: int
    not_fatigued: int
    not_in_global_control: int


def steps(left: Left, limited: int, held_out: int) -> list[FunnelStep]:
    """The funnel of a list with `limited` members, of whom `held_out` are never contacted.

    >>> [step.removed for step in steps(Left(10, 9, 7, 7, 7, 6), limited=5, held_out=1)]
    [0, 1, 2, 0, 0, 1, 1, 1, 0]
    """
    selected = limited - held_out
    counts = [*left, limited, selected, selected]
    removed = [0, *(before - after for before, after in pairwise(counts))]
    return [
        FunnelStep(step=step, count=count, removed=gone)
        for step, count, gone in zip(STEPS, counts, removed, strict=True)
    ]


def in_words(steps: list[FunnelStep]) -> str:
    """The funnel in a line, down to the step that left nobody.

    >>> in_words(steps(Left(10, 9, 0, 0, 0, 0), limited=0, held_out=0))
    '10 matched, 9 reachable, 0 permitted'
    """
    emptied = next((place for place, step in enumerate(steps, 1) if step.count == 0), len(steps))
    return ", ".join(f"{step.count} {step.step}" for step in steps[:emptied])
