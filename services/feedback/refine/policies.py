"""Where contact costs: the policy of two questions that earns most, found exactly, all pairs compared at once."""

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.feedback.refine import sums
from services.feedback.refine.search import (
    Booleans,
    Contrast,
    Floats,
    Found,
    Ground,
    Leaf,
    admissible,
    by_code,
    decide,
    found,
    kept,
)


def best_policy(ground: Ground, contrast: Contrast) -> tuple[Found | None, int]:
    """The policy of depth two that earns most, out of all pairs of questions; with how many rules were compared.

    None where no rule beats treating all alike.
    """
    if not ground.splits:
        return None, 0
    root = ground.figures.sum(axis=0)
    alike, constant = decide(root, contrast, np.asarray(sums.net(root, *contrast).effect > 0))
    both = sides(ground, contrast, alike)
    tried = sum(side.tried for side in both)
    best = max(float((both[0].value + both[1].value).max()), float((both[0].plain + both[1].plain).max()))
    if not best > constant:
        return None, tried
    return found(contrast, _simplest(ground, contrast, both)), tried


def sides(ground: Ground, contrast: Contrast, alike: Booleans) -> list["Side"]:
    """Both sides of every first question, each with its best second one; `alike` is what to do without any."""
    total = float(ground.cells.customers.sum())
    inside = np.einsum("pc,c...->p...", ground.masks, by_code(ground.figures, ground.places, ground.book))
    of_inside = np.einsum("pc,cd...,qd->pq...", ground.masks, _crossed(ground), ground.masks, optimize=True)
    outside, of_outside = ground.figures.sum(axis=0) - inside, inside[None] - of_inside
    return [
        _best_second(first, both, contrast, alike, total)
        for first, both in ((inside, of_inside), (outside, of_outside))
    ]


def _simplest(ground: Ground, contrast: Contrast, sides: Sequence["Side"]) -> list[Leaf]:
    """The best rule of two questions, where it earns a standard error more than the best of one; else that one."""
    best = int(np.argmax(sides[0].value + sides[1].value))
    plain = int(np.argmax(sides[0].plain + sides[1].plain))
    longer = [leaf for yes, side in zip((True, False), sides, strict=True) for leaf in side.leaves(ground, best, yes)]
    shorter = [
        Leaf(((ground.splits[plain], yes),), bool(side.alone[plain]))
        for yes, side in zip((True, False), sides, strict=True)
    ]
    of_longer, of_shorter = (kept(ground.cells.codes, leaves) for leaves in (longer, shorter))
    earned, variance = 0.0, 0.0
    for sign, here in ((1, of_longer & ~of_shorter), (-1, of_shorter & ~of_longer)):
        if here.any():
            node = ground.figures[here].sum(axis=0)
            effect, error = sums.net(node, *contrast)
            earned += sign * float(np.nan_to_num(effect) * sums.customers(node))
            variance += float(np.nan_to_num(error) * sums.customers(node)) ** 2
    return longer if earned > variance**0.5 else shorter


def _crossed(ground: Ground) -> Floats:
    """Array (codes, codes, arms, 7): the sums of the cells that have both codes."""
    book, arms = ground.book, ground.figures.shape[1]
    found = np.zeros((book.size, book.size, arms, sums.FIGURES))
    for arm in range(arms):
        here = ground.cells.arm == arm
        codes, figures = ground.places[here] - book.start, ground.figures[here, arm]
        for one, other in combinations_with_replacement(range(len(book.start)), 2):
            shape = int(book.width[one]), int(book.width[other])
            pair = codes[:, one] * shape[1] + codes[:, other]
            table = np.stack([np.bincount(pair, column, shape[0] * shape[1]) for column in figures.T], axis=-1)
            rows, columns = book.places(one), book.places(other)
            found[rows, columns, arm] = table.reshape(*shape, sums.FIGURES)
            found[columns, rows, arm] = found[rows, columns, arm].swapaxes(0, 1)
    return found


class Side(NamedTuple):
    """One side of every first question.

    Its value with the best second question (-1: none) and without, and the decisions for it and for its two parts.
    """

    value: Floats
    plain: Floats
    second: NDArray[np.int64]
    alone: Booleans
    yes: Booleans
    no: Booleans
    tried: int

    def leaves(self, ground: Ground, first: int, side: bool) -> list[Leaf]:
        start = ((ground.splits[first], side),)
        second = int(self.second[first])
        if second < 0:
            return [Leaf(start, bool(self.alone[first]))]
        question = ground.splits[second]
        yes, no = bool(self.yes[first, second]), bool(self.no[first, second])
        return [Leaf((*start, (question, True)), yes), Leaf((*start, (question, False)), no)]


def _best_second(first: Floats, both: Floats, contrast: Contrast, alike: Booleans, total: float) -> Side:
    alone, value = decide(first, contrast, alike)
    value = np.where(admissible(first, contrast, total), value, -np.inf)
    rest = first[:, None] - both
    yes, of_yes = decide(both, contrast, alone[:, None])
    no, of_no = decide(rest, contrast, alone[:, None])
    possible = admissible(both, contrast, total) & admissible(rest, contrast, total)
    together = np.where(possible & (yes != no), of_yes + of_no, -np.inf)
    second = together.argmax(axis=1)
    better = together.max(axis=1) > value
    chosen = np.where(better, together.max(axis=1), value)
    tried = int(np.isfinite(value).sum() + possible.sum())
    return Side(chosen, value, np.where(better, second, -1), alone, yes, no, tried)
