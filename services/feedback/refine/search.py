"""What both searches on the grow half share: the ground they search, what a leaf must hold, when it decides otherwise.

Nothing here decides for good: what is found must be confirmed on the other half.
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
FEWEST_RESPONDERS = 25  # in each leaf, contacted and not
DOUBT = 2.0  # standard errors that a difference must be worth before anything is decided otherwise because of it


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
    """A rule that keeps some and drops others, and whose contacts it judges."""

    contrast: Contrast
    leaves: tuple[Leaf, ...]


class Ground(NamedTuple):
    """The grow half made ready: figures by cell, codes by cell as places in the codebook, questions and their masks."""

    cells: Cells
    figures: Floats
    places: NDArray[np.int64]
    book: Codebook
    splits: list[Split]
    masks: Floats


def prepare(cells: Cells, figures: Floats, codings: Sequence[Coding], contrast: Contrast) -> Ground:
    """Codebook and the questions that leave at least the smallest leaf on both sides."""
    book = codebook(codings)
    places = cells.codes + 1 + book.start
    histogram = by_code(figures, places, book)
    asked = splits(codings, book, sums.customers(histogram), sums.net(histogram, *contrast).effect)
    table = masks(asked, book)
    inside = table @ sums.customers(histogram)
    total = cells.customers.sum()
    enough = (inside >= SMALLEST_SHARE * total) & (total - inside >= SMALLEST_SHARE * total)
    kept = [split for split, it in zip(asked, enough, strict=True) if it]
    return Ground(cells, figures, places, book, kept, table[enough])


def by_code(figures: Floats, places: NDArray[np.int64], book: Codebook) -> Floats:
    """Array (codes, arms, 7): the sums of the cells that have each code."""
    flat = figures.reshape(len(figures), -1)
    columns = [np.bincount(places.ravel(), np.repeat(column, places.shape[1]), book.size) for column in flat.T]
    return np.asarray(np.stack(columns, axis=-1).reshape(book.size, *figures.shape[1:]), dtype=np.float64)


def decide(sums_: Floats, contrast: Contrast, parent: Booleans) -> tuple[Booleans, Floats]:
    """Contact or not, and what that earns in total.

    A leaf may decide otherwise than its parent only where that earns more than `DOUBT` standard errors, which are taken
    off its value: slices that are merely noise then leave no trace in the rule.
    """
    effect, error = sums.net(sums_, *contrast)
    doubt = np.where(np.isnan(error), np.inf, DOUBT * error)
    contact = np.where(np.abs(np.nan_to_num(effect)) > doubt, effect > 0, parent)
    earned = np.where(contact, np.nan_to_num(effect), 0.0) - np.where(contact != parent, doubt, 0.0)
    return contact, earned * sums.customers(sums_)


def admissible(sums_: Floats, contrast: Contrast, total: float) -> Booleans:
    """Whether a leaf holds enough customers, and enough who responded, contacted and not."""
    enough = sums.responders(sums_, contrast.treatments, contrast.control) >= FEWEST_RESPONDERS
    return np.asarray(enough & (sums.customers(sums_) >= SMALLEST_SHARE * total))


def contrast(figures: Floats, control: int, costs: Floats) -> Contrast:
    """Whose contacts are judged: the best arm where it beats the mix of all by more than doubt, else that mix.

    So the arms' own differences neither add rules to be tried nor noise to be confirmed.
    """
    root = figures.sum(axis=0)
    treatments = tuple(arm for arm in range(len(costs)) if arm != control and root[arm, 0] > 0)
    mixed = Contrast(treatments, control, float(costs[list(treatments)].mean()))
    value = np.nan_to_num(sums.means(root) - costs, nan=-np.inf)
    best = max(treatments, key=lambda arm: float(value[arm]))
    rest = tuple(arm for arm in treatments if arm != best)
    if not rest:
        return mixed
    difference = float(value[best] - value[list(rest)].mean())
    error = float(np.sqrt(sums.variances(root)[best] + sums.variances(root)[list(rest)].sum() / len(rest) ** 2))
    return Contrast((best,), control, float(costs[best])) if difference > DOUBT * error else mixed


def found(contrast: Contrast, leaves: Sequence[Leaf]) -> Found | None:
    """The rule with its leaves merged; None where it treats everyone alike."""
    merged = tuple(_merged(list(leaves)))
    return Found(contrast, merged) if len({leaf.contact for leaf in merged}) == 2 else None


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
