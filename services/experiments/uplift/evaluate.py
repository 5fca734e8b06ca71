"""The one entry: data in, readout out."""

import numpy as np
from numpy.typing import NDArray

from services.experiments.uplift import folds, learners, policy, ranking
from services.experiments.uplift.data import (
    ArmUplift,
    Estimate,
    Floats,
    Importance,
    UpliftData,
    UpliftReadout,
)
from services.experiments.uplift.features import Design, encode
from services.experiments.uplift.scores import aipw, estimate

FEWEST_RESPONDERS = 25  # in each half, of the arm and of the control
_IMPORTANCE_ROWS = 20_000
_UNKNOWN = Estimate(*[float("nan")] * 4)


def evaluate(people: UpliftData) -> UpliftReadout:
    """Learn effects by customer on one half, and judge rankings and policies on the other, for every treatment arm.

    Raises
    ------
    ValueError
        If arrays have unequal lengths, an arm position or the control is unknown, or a probability is not in (0, 1].
    """
    _check(people)
    return _Evaluation(people).readout()


def _check(people: UpliftData) -> None:
    n = len(people.customers)
    optional = [each for each in (people.strata, people.responded) if each is not None]
    if any(len(each) != n for each in (people.arms, people.outcome, people.probability, *optional)):
        raise ValueError("All arrays must have one entry per customer.")
    if people.control not in people.arm_keys:
        raise ValueError(f"There is no arm {people.control}.")
    if n and not 0 <= people.arms.min() <= people.arms.max() < len(people.arm_keys):
        raise ValueError("An arm position is outside the arms.")
    if not ((people.probability > 0) & (people.probability <= 1)).all():
        raise ValueError("Every probability must be above 0 and at most 1.")
    if not np.isfinite(people.outcome).all():
        raise ValueError("Every outcome must be a finite number.")


class _Evaluation:
    def __init__(self, people: UpliftData) -> None:
        self._people = people
        columns = dict(people.features)
        if people.strata is not None:
            columns["stratum"] = people.strata.tolist()
        self._design: Design = encode(columns, len(people.customers))
        self._hash = folds.hashed(people.customers)
        self._held_out: NDArray[np.bool_] = folds.held_out(self._hash)
        outcome = people.outcome.astype(np.float64)
        number = len(people.arm_keys)
        self._crossed = learners.cross_fit(self._design.matrix, outcome, people.arms, number, self._held_out)
        self._scores = aipw(self._crossed.expected, outcome, people.arms, people.probability)
        self._control = people.arm_keys.index(people.control)
        self._sign = -1.0 if people.value < 0 else 1.0

    def readout(self) -> UpliftReadout:
        people = self._people
        arms = [arm for arm in range(len(people.arm_keys)) if arm != self._control]
        held_out = int(self._held_out.sum())
        n = len(people.customers)
        return UpliftReadout(n, n - held_out, held_out, tuple(self._arm(arm) for arm in arms))

    def _arm(self, arm: int) -> ArmUplift:
        key = self._people.arm_keys[arm]
        gamma = self._scores[:, arm] - self._scores[:, self._control]
        effect = estimate(gamma)
        predicted = self._crossed.expected[:, arm] - self._crossed.expected[:, self._control]
        reason = self._too_few(arm)
        if reason:
            return ArmUplift(
                key, effect, (), None, (), (), float("nan"), (), _UNKNOWN, False, reason, predicted, reason
            )
        here = self._held_out
        better = self._sign * predicted[here]
        response = self._sign * self._crossed.expected[here, arm]
        sample = self._sample(arm, self._sign * gamma)
        models = (ranking.judge("t_learner", better, sample), ranking.judge("response_model", response, sample))
        winner = max(models, key=lambda model: model.rate.estimate)
        money, dearer = abs(self._people.value), self._dearer(key)
        worth = money * self._sign * gamma[here] - dearer
        profit = policy.profit_curve(better if winner is models[0] else response, worth)
        pays = money * better > dearer
        # ties of the response model are cut by hash, so that the order of rows decides nothing
        by_hash = np.argsort(self._hash[here], kind="stable")
        found, gain = policy.policies(pays[by_hash], response[by_hash], worth[by_hash])
        accepted, verdict = policy.verdict(gain, found[0].share)
        return ArmUplift(
            arm=key,
            effect=effect,
            models=models,
            winner=winner.name,
            importances=self._importances(arm),
            profit=profit,
            best_share=max(profit, key=lambda point: point.profit).share,
            policies=found,
            gain_over_all=gain,
            accepted=accepted,
            verdict=verdict,
            scores=predicted,
        )

    def _dearer(self, key: str) -> float:
        """What one customer of the arm costs more than one of the control, in money."""
        cost = self._people.cost
        return cost.get(key, 0.0) - cost.get(self._people.control, 0.0)

    def _too_few(self, arm: int) -> str | None:
        people = self._people
        responded = people.outcome != 0 if people.responded is None else people.responded
        for half in (self._held_out, ~self._held_out):
            for compared in (arm, self._control):
                if (responded & half & (self._people.arms == compared)).sum() < FEWEST_RESPONDERS:
                    return (
                        f"There are fewer than {FEWEST_RESPONDERS} responders in one half of "
                        f"{self._people.arm_keys[compared]}: too few to learn from and to check."
                    )
        return None

    def _sample(self, arm: int, gamma: Floats) -> ranking.Sample:
        people, here = self._people, self._held_out
        weight = 1 / people.probability[here]
        return ranking.Sample(
            gamma=gamma[here],
            treated=np.where(people.arms[here] == arm, weight, 0.0),
            control=np.where(people.arms[here] == self._control, weight, 0.0),
            outcome=self._sign * people.outcome[here],
            blocks=folds.blocks(self._hash[here]),
        )

    def _importances(self, arm: int) -> tuple[Importance, ...]:
        grown = self._crossed.by_half[0]
        rows = np.flatnonzero(self._held_out)
        some = rows[np.argsort(self._hash[rows], kind="stable")][:_IMPORTANCE_ROWS]
        found = learners.importances(
            (grown[arm], grown[self._control]), self._design.matrix[some], self._design.sources
        )
        return tuple(Importance(*each) for each in found)
