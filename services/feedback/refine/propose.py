"""From cells to a proposal: gates, search, confirmation, verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from services.feedback.refine import confirm as check
from services.feedback.refine import search, sums, wording
from services.feedback.refine.cells import Cells
from services.feedback.refine.policies import best_policy
from services.feedback.refine.search import Contrast, Found
from services.feedback.refine.spec import Gain, Group, Proposal, Spec, Verdict
from services.feedback.refine.trees import best_tree

FEWEST = 25  # responders in each half and group, contacted and not
FEWEST_MONEY = 100
_POWER = 0.8416212335729143  # the 80 % quantile of the normal distribution
_FIFTH = 0.2


def refine(grow: Cells, confirm: Cells, spec: Spec) -> Proposal:
    """Search a rule on one half of the customers, confirm it once on the other, and word the verdict.

    Parameters
    ----------
    grow, confirm
        Cells of the two halves, coded alike (`Spec.codings`).
    spec
        What is asked, declared before anyone looked.

    Returns
    -------
    Proposal
        With a definition only where, on the half the search never saw, the rule earns more than the segment as it
        stands *and* more than the best policy that treats everyone alike (simultaneous one-sided lower bounds above
        zero at this attempt's share of α); the net effect of contacting those dropped then has an upper bound below
        zero. Anything else proposes nothing, and says why.

    Raises
    ------
    ValueError
        If there is not exactly one control, or cells name an arm that there is not.
    """
    question = _Question(grow, confirm, spec)
    if spec.problems:
        return question.nothing(Verdict.UNHEALTHY, wording.unhealthy(spec))
    reason = question.too_few()
    if reason:
        return question.nothing(Verdict.TOO_FEW, reason)
    found, tried = question.search()
    if found is None:
        summary = wording.no_rule(spec, tried, question.detectable())
        return question.nothing(Verdict.NO_RULE, summary, tried, question.detectable())
    return question.judge(found, tried)


@dataclass
class _Question:
    grow: Cells
    confirm: Cells
    spec: Spec

    def __post_init__(self) -> None:
        arms = self.spec.arms
        if sum(arm.control for arm in arms) != 1 or len(arms) < 2:
            raise ValueError("There must be exactly one control and at least one other arm.")
        for cells in (self.grow, self.confirm):
            if len(cells.arm) and not 0 <= cells.arm.min() <= cells.arm.max() < len(arms):
                raise ValueError("The cells name an arm that the specification does not.")
        sign = -1.0 if self.spec.direction == "down" else 1.0
        self.control = next(position for position, arm in enumerate(arms) if arm.control)
        self.treatments = [position for position, arm in enumerate(arms) if not arm.control]
        self.costs = np.array([0.0 if arm.control else arm.cost for arm in arms])
        self.alpha = check.allowance(self.spec.alpha, self.spec.attempt)
        self.sign = sign
        self.figures = [sums.figures(cells, len(arms), sign) for cells in (self.grow, self.confirm)]

    def too_few(self) -> str | None:
        """Why there is too little to learn from, or None."""
        fewest = FEWEST_MONEY if self.spec.money else FEWEST
        for half in self.figures:
            total = half.sum(axis=0)
            if sums.responders(total, self.treatments, self.control) < fewest:
                return wording.too_few_responders(self.spec, fewest)
        return None

    def detectable(self) -> float:
        """The net effect among a fifth of the customers that confirmation would find with 80 % power."""
        total = self.figures[1].sum(axis=0)
        errors = [float(sums.net(total, (arm,), self.control, 0.0).standard_error) for arm in self.treatments]
        return float((check.critical_value(self.alpha, 0.0) + _POWER) * min(errors) / np.sqrt(_FIFTH))

    def search(self) -> tuple[Found | None, int]:
        """The most promising rule, and how many were compared."""
        look = best_policy if self.spec.net or self.costs.any() else best_tree
        contrast = search.contrast(self.figures[0], self.control, self.costs)
        ground = search.prepare(self.grow, self.figures[0], self.spec.codings, contrast)
        return look(ground, contrast)

    def judge(self, found: Found, tried: int) -> Proposal:
        """Confirm the rule and word what came out."""
        contrast = found.contrast
        halves = [
            check.half(figures, search.kept(cells.codes, found.leaves), contrast.arms)
            for figures, cells in zip(self.figures, (self.grow, self.confirm), strict=True)
        ]
        gains, bound = self._gains(halves, contrast)
        groups = tuple(self._group(halves, found, side, bound) for side in (check.KEPT, check.DROPPED))
        enough = bool((sums.responders(halves[1].sums, contrast.treatments, contrast.control) >= FEWEST).all())
        better = all(gain.low > 0 for gain in gains)
        verdict = Verdict.PROPOSE if better and enough else Verdict.NOT_CONFIRMED
        clauses = wording.clauses(found.leaves, self.spec.codings, self.missing())
        detectable = self.detectable()
        if better:
            thin = None if enough else FEWEST
            summary = wording.better(self.spec, gains, groups, tried, thin)
        else:
            summary = wording.not_better(self.spec, gains, groups, tried, detectable)
        return self.nothing(verdict, summary, tried, detectable)._replace(
            definition={"all": [self.spec.current, *clauses]} if verdict is Verdict.PROPOSE else None,
            clauses=tuple(clauses),
            rule=groups[check.KEPT].rule,
            arms=tuple(self.spec.arms[arm].key for arm in contrast.treatments),
            gains=gains,
            groups=groups,
        )

    def missing(self) -> list[bool]:
        """For each trait, whether any customer lacks it."""
        return [
            any(bool((cells.codes[:, trait] < 0).any()) for cells in (self.grow, self.confirm))
            for trait in range(len(self.spec.codings))
        ]

    def _gains(self, halves: Sequence[check.Half], contrast: Contrast) -> tuple[tuple[Gain, ...], float]:
        """Over the segment as it stands, and over contacting nobody where that looked better than contacting all."""
        everyone, nobody = contrast.treatments, (contrast.control,)
        overall = sums.net(self.figures[0].sum(axis=0), *contrast).effect
        others = [everyone] if overall > 0 else [everyone, nobody]
        rule = (everyone, nobody)
        related = check.correlation(halves[1], rule, [(other, other) for other in others], len(self.costs))
        bound = check.critical_value(self.alpha, related)
        return tuple(self._gain(halves, rule, other, bound) for other in others), bound

    def _gain(self, halves: Sequence[check.Half], rule: check.Policy, other: tuple[int, ...], bound: float) -> Gain:
        before, after = (check.compare(half, rule, (other, other), self.costs) for half in halves)
        return Gain(
            against=wording.against(self.spec, other),
            grow=before.gain,
            confirm=after.gain,
            standard_error=after.standard_error,
            low=after.gain - bound * after.standard_error,
            shrunken=check.shrunken(after.gain, after.standard_error),
        )

    def _group(self, halves: Sequence[check.Half], found: Found, side: int, bound: float) -> Group:
        rule = (found.contrast.treatments, found.contrast.treatments)
        nobody = ((found.contrast.control,),) * 2
        before, after = (check.compare(half.only(side), rule, nobody, self.costs) for half in halves)
        error = after.standard_error
        leaves = [leaf._replace(contact=leaf.contact == (side == check.KEPT)) for leaf in found.leaves]
        return Group(
            kept=side == check.KEPT,
            rule=wording.rule(leaves, self.spec.codings, self.missing()),
            share=float(halves[1].shares[side]),
            customers=int(sums.customers(halves[1].sums)[side]),
            of_both_halves=int(sum(sums.customers(half.sums)[side] for half in halves)),
            grow=before.gain,
            confirm=after.gain,
            standard_error=error,
            low=after.gain - bound * error,
            high=after.gain + bound * error,
            shrunken=check.shrunken(after.gain, error),
        )

    def nothing(self, verdict: Verdict, summary: str, tried: int = 0, detectable: float = nan) -> Proposal:
        """A verdict without a rule."""
        return Proposal(
            verdict=verdict,
            summary=summary,
            definition=None,
            clauses=(),
            rule=None,
            arms=(),
            gains=(),
            groups=(),
            rules_tried=tried,
            attempt=self.spec.attempt,
            alpha=self.alpha,
            grow_customers=int(self.grow.customers.sum()),
            confirm_customers=int(self.confirm.customers.sum()),
            detectable=detectable,
        )
