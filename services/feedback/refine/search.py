"""The search on the grow half: where contact costs, the best policy of depth two; else an honest causal tree.

Nothing here decides anything: what is found must be confirmed on the other half.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.feedback.refine import sums
from services.feedback.refine.cells import Cells, Coding
from services.feedback.refine.splits import Codebook, Split, answers, codebook, masks, splits

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

SMALLEST_SHARE = 0.02  # of customers, in each leaf
FEWEST_RESPONDERS = 25  # in each leaf and arm
DOUBT = 1.0  # standard errors
DEPTH = 3
_CHUNK = 50_000


class Contrast(NamedTuple):
    """The treatments (positions of arms, mixed in equal parts) judged against the control, and what a contact costs."""

    treatments: tuple[int, ...]
    control: int
    cost: float

    @property
    def arms(self) -> tuple[int, ...]:
        return (*self.treatments, self.control)


class Leaf(NamedTuple):
    """Customers who give these answers, and whether to contact them."""

    path: tuple[tuple[Split, bool], ...]
    contact: bool


class Found(NamedTuple):
    """A rule, and what it seemed to earn per customer over the better of contacting all and none."""

    contrast: Contrast
    leaves: tuple[Leaf, ...]
    gain: float


class Ground(NamedTuple):
    """The grow half made ready: figures by cell, codes by cell as places in the codebook, questions and their masks."""

    cells: Cells
    figures: Floats
    places: NDArray[np.int64]
    book: Codebook
    splits: list[Split]
    masks: Floats


def prepare(cells: Cells, codings: Sequence[Coding], arms: int, contrast: Contrast, sign: float) -> Ground:
    """Figures, codebook and the questions that leave at least the smallest leaf on both sides."""
    book = codebook(codings)
    figures = sums.figures(cells, arms, sign)
    places = cells.codes + 1 + book.start
    by_code = _by_code(figures, places, book)
    found = splits(codings, book, sums.customers(by_code), sums.net(by_code, *contrast).effect)
    table = masks(found, book)
    inside = table @ sums.customers(by_code)
    total = cells.count.sum()
    enough = (inside >= SMALLEST_SHARE * total) & (total - inside >= SMALLEST_SHARE * total)
    kept = [split for split, it in zip(found, enough, strict=True) if it]
    return Ground(cells, figures, places, book, kept, table[enough])


def _by_code(figures: Floats, places: NDArray[np.int64], book: Codebook) -> Floats:
    """Array (codes, arms, 7): the sums of the cells that have each code."""
    flat = figures.reshape(len(figures), -1)
    each = [np.bincount(places.ravel(), np.repeat(column, places.shape[1]), book.size) for column in flat.T]
    return np.stack(each, axis=-1).reshape(book.size, *figures.shape[1:])


def _decide(sums_: Floats, contrast: Contrast, parent: Booleans) -> tuple[Booleans, Floats]:
    """Contact or not, and what that earns in total.

    A leaf may decide otherwise than its parent only where that earns more than `DOUBT` standard errors, which are taken
    off its value: slices that are merely noise then leave no trace in the rule.
    """
    effect, error = sums.net(sums_, *contrast)
    doubt = DOUBT * np.nan_to_num(error, nan=np.inf)
    contact = np.where(np.abs(np.nan_to_num(effect)) > doubt, effect > 0, parent)
    earned = np.where(contact, np.nan_to_num(effect), 0.0) - np.where(contact != parent, doubt, 0.0)
    return contact, earned * sums.customers(sums_)


def _admissible(sums_: Floats, contrast: Contrast, total: float) -> Booleans:
    enough = sums.responders(sums_, contrast.arms) >= FEWEST_RESPONDERS
    return np.asarray(enough & (sums.customers(sums_) >= SMALLEST_SHARE * total))


def policy(ground: Ground, contrast: Contrast) -> tuple[Found | None, int]:
    """The policy of depth two that earns most, out of all pairs of questions; with how many rules were compared.

    None where no rule beats treating all alike.
    """
    if not ground.splits:
        return None, 0
    total = float(ground.cells.count.sum())
    root = ground.figures.sum(axis=0)
    alike, constant = _decide(root, contrast, np.asarray(sums.net(root, *contrast).effect > 0))
    crossed = _crossed(ground)
    inside = np.einsum("pc,c...->p...", ground.masks, _by_code(ground.figures, ground.places, ground.book))
    of_inside = np.einsum("pc,cd...,qd->pq...", ground.masks, crossed, ground.masks, optimize=True)
    sides = []
    tried = 0
    for first, both in ((inside, of_inside), (root - inside, inside[None] - of_inside)):
        side = _best_second(first, both, contrast, alike, total)
        sides.append(side)
        tried += side.tried
    value = sides[0].value + sides[1].value
    best = int(np.argmax(value))
    gain = (value[best] - constant) / total
    if not np.isfinite(gain) or gain <= 0:
        return None, tried
    leaves = [leaf for yes, side in zip((True, False), sides, strict=True) for leaf in side.leaves(ground, best, yes)]
    return _found(contrast, leaves, float(gain)), tried


def _crossed(ground: Ground) -> Floats:
    """Array (codes, codes, arms, 7): the sums of the cells that have both codes."""
    size = ground.book.size
    width = ground.figures.shape[1] * ground.figures.shape[2]
    found = np.zeros((width, size, size))
    flat = ground.figures.reshape(len(ground.figures), width)
    for start in range(0, len(flat), _CHUNK):
        places = ground.places[start : start + _CHUNK]
        marks = np.zeros((len(places), size))
        np.put_along_axis(marks, places, 1.0, axis=1)
        for each, column in zip(found, flat[start : start + _CHUNK].T, strict=True):
            each += marks.T @ (marks * column[:, None])
    return np.moveaxis(found, 0, -1).reshape(size, size, *ground.figures.shape[1:])


class _Side(NamedTuple):
    """One side of every first question: its value, the best second question (-1: none), and the decisions."""

    value: Floats
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


def _best_second(first: Floats, both: Floats, contrast: Contrast, alike: Booleans, total: float) -> _Side:
    alone, value = _decide(first, contrast, alike)
    value = np.where(_admissible(first, contrast, total), value, -np.inf)
    rest = first[:, None] - both
    yes, of_yes = _decide(both, contrast, alone[:, None])
    no, of_no = _decide(rest, contrast, alone[:, None])
    possible = _admissible(both, contrast, total) & _admissible(rest, contrast, total)
    together = np.where(possible & (yes != no), of_yes + of_no, -np.inf)
    second = together.argmax(axis=1)
    better = together.max(axis=1) > value
    chosen = np.where(better, together.max(axis=1), value)
    tried = int(np.isfinite(value).sum() + possible.sum())
    return _Side(chosen, np.where(better, second, -1), alone, yes, no, tried)


def tree(ground: Ground, contrast: Contrast) -> tuple[Found | None, int]:
    """An honest causal tree of depth three at most: the split with the largest Athey–Imbens gain, while it is positive.

    A leaf of share s adds s·τ² − (2/N)·(S²_t/e_t + S²_c/e_c), its squared effect less what estimating it on another
    half of the same size N costs (Athey and Imbens 2016, PNAS 113:7353-7360, equation 5).
    """
    total = float(ground.cells.count.sum())
    root = ground.figures.sum(axis=0)
    alike, constant = _decide(root, contrast, np.asarray(True))
    growing = _Growing(ground, contrast, total)
    leaves, value = growing.grow((), np.ones(len(ground.cells.arm), dtype=bool), alike)
    gain = (value - float(constant)) / total
    return (_found(contrast, leaves, gain) if gain > 0 else None), growing.tried


class _Growing:
    def __init__(self, ground: Ground, contrast: Contrast, total: float) -> None:
        self._ground, self._contrast, self._total = ground, contrast, total
        self.tried = 0

    def grow(self, path: tuple[tuple[Split, bool], ...], here: Booleans, contact: Booleans) -> tuple[list[Leaf], float]:
        """The leaves below a node, and what they earn in total."""
        ground = self._ground
        node = ground.figures[here].sum(axis=0)
        best = self._best(node, here) if len(path) < DEPTH and ground.splits else None
        if best is None:
            contact, value = _decide(node, self._contrast, contact)
            return [Leaf(path, bool(contact))], float(value)
        contact, _ = _decide(node, self._contrast, contact)
        yes = answers(ground.cells.codes, best)
        left, earned = self.grow((*path, (best, True)), here & yes, contact)
        right, more = self.grow((*path, (best, False)), here & ~yes, contact)
        return left + right, earned + more

    def _best(self, node: Floats, here: Booleans) -> Split | None:
        ground = self._ground
        by_code = _by_code(ground.figures[here], ground.places[here], ground.book)
        inside = np.einsum("pc,c...->p...", ground.masks, by_code)
        outside = node - inside
        possible = _admissible(inside, self._contrast, self._total) & _admissible(outside, self._contrast, self._total)
        self.tried += int(possible.sum())
        gain = np.where(possible, self._score(inside) + self._score(outside), -np.inf)
        best = int(np.argmax(gain))
        return ground.splits[best] if gain[best] > float(self._score(node)) else None

    def _score(self, node: Floats) -> Floats:
        effect, error = sums.net(node, *self._contrast)
        share = sums.customers(node) / self._total
        with np.errstate(invalid="ignore"):
            return np.asarray(share * effect**2 - 2 * share * error**2)


def _found(contrast: Contrast, leaves: Sequence[Leaf], gain: float) -> Found | None:
    merged = tuple(_merged(list(leaves)))
    return Found(contrast, merged, gain) if len({leaf.contact for leaf in merged}) == 2 else None


def _merged(leaves: list[Leaf]) -> list[Leaf]:
    """Put siblings that decide the same together, until no pair is left."""
    for one, leaf in enumerate(leaves):
        for other in leaves[one + 1 :]:
            siblings = (
                len(leaf.path) == len(other.path) > 0
                and leaf.path[:-1] == other.path[:-1]
                and leaf.path[-1][0] == other.path[-1][0]
            )
            if siblings and leaf.contact == other.contact:
                rest = [each for each in leaves if each not in (leaf, other)]
                return _merged([*rest[:one], Leaf(leaf.path[:-1], leaf.contact), *rest[one:]])
    return leaves


def kept(codes: NDArray[np.int64], leaves: Sequence[Leaf]) -> Booleans:
    """Which cells the rule goes on contacting."""
    found = np.zeros(len(codes), dtype=bool)
    for leaf in leaves:
        if leaf.contact:
            here = np.ones(len(codes), dtype=bool)
            for split, yes in leaf.path:
                here &= answers(codes, split) == yes
            found |= here
    return found
