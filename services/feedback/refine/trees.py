"""Where contact is free: an honest causal tree."""

import numpy as np

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
)
from services.feedback.refine.splits import Split, answers

DEPTH = 3


def best_tree(ground: Ground, contrast: Contrast) -> tuple[Found | None, int]:
    """An honest causal tree of depth three at most: the split with the largest Athey–Imbens gain, while it is positive.

    A leaf of share s adds s·τ² − (2/N)·(S²_t/e_t + S²_c/e_c), its squared effect less what estimating it on another
    half of the same size N costs (Athey and Imbens 2016, PNAS 113:7353-7360, equation 5).
    """
    total = float(ground.cells.customers.sum())
    root = ground.figures.sum(axis=0)
    alike, constant = decide(root, contrast, np.asarray(True))
    growing = _Growing(ground, contrast, total)
    leaves, value = growing.grow((), np.ones(len(ground.cells.arm), dtype=bool), alike)
    return (found(contrast, leaves) if value > float(constant) else None), growing.tried


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
            contact, value = decide(node, self._contrast, contact)
            return [Leaf(path, bool(contact))], float(value)
        contact, _ = decide(node, self._contrast, contact)
        yes = answers(ground.cells.codes, best)
        left, earned = self.grow((*path, (best, True)), here & yes, contact)
        right, more = self.grow((*path, (best, False)), here & ~yes, contact)
        return left + right, earned + more

    def _best(self, node: Floats, here: Booleans) -> Split | None:
        ground = self._ground
        histogram = by_code(ground.figures[here], ground.places[here], ground.book)
        inside = np.einsum("pc,c...->p...", ground.masks, histogram)
        outside = node - inside
        possible = admissible(inside, self._contrast, self._total) & admissible(outside, self._contrast, self._total)
        self.tried += int(possible.sum())
        gain = np.where(possible, self._score(inside) + self._score(outside), -np.inf)
        best = int(np.argmax(gain))
        return ground.splits[best] if gain[best] > float(self._score(node)) else None

    def _score(self, node: Floats) -> Floats:
        effect, error = sums.net(node, *self._contrast)
        share = sums.customers(node) / self._total
        with np.errstate(invalid="ignore"):
            return np.asarray(share * effect**2 - 2 * share * error**2)
