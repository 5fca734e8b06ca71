"""What customers of an arm do, by their features: a logistic or a linear model for each arm (the T-learner)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from services.experiments.uplift.data import Floats, Integers

SHRINKAGE = 1.0  # ridge penalty on standardised coefficients: next to nothing for hundreds of customers


class Model(NamedTuple):
    """Expected outcome: `link`(intercept + standardised features · coefficients)."""

    centre: Floats
    scale: Floats
    coefficients: Floats
    intercept: float
    logistic: bool

    def predict(self, features: Floats) -> Floats:
        """One expected outcome per row."""
        linear = ((features - self.centre) / self.scale) @ self.coefficients + self.intercept
        return np.asarray(expit(linear) if self.logistic else linear)


def fit(features: Floats, outcome: Floats) -> Model:
    """Fit by penalised maximum likelihood: logistic where the outcome is 0 or 1 and both occur, else linear.

    Without features, customers or variation it is the mean (nan without customers).
    """
    width = features.shape[1]
    if not width or len(outcome) < 2 or np.ptp(outcome) == 0:
        mean = float(outcome.mean()) if len(outcome) else float("nan")
        return Model(np.zeros(width), np.ones(width), np.zeros(width), mean, logistic=False)
    centre, spread = features.mean(axis=0), features.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    standardised = (features - centre) / scale
    binary = bool(np.isin(outcome, (0, 1)).all())
    if binary:
        from sklearn.linear_model import LogisticRegression

        found = LogisticRegression(C=1 / SHRINKAGE, solver="newton-cholesky", max_iter=100)
        found.fit(standardised, outcome.astype(int))
        return Model(centre, scale, found.coef_[0], float(found.intercept_[0]), logistic=True)
    from sklearn.linear_model import Ridge

    found = Ridge(alpha=SHRINKAGE, solver="cholesky").fit(standardised, outcome)
    return Model(centre, scale, found.coef_, float(found.intercept_), logistic=False)


class Crossed(NamedTuple):
    """Models by half and arm, and what they expect of everybody: array (customers, arms), each from the other half."""

    by_half: tuple[tuple[Model, ...], tuple[Model, ...]]
    expected: Floats


def cross_fit(features: Floats, outcome: Floats, arms: Integers, number: int, held_out: NDArray[np.bool_]) -> Crossed:
    """Fit every arm on each half, and let each half be predicted by the other's models."""
    expected = np.full((len(outcome), number), np.nan)
    by_half = []
    for half in (False, True):
        learn = held_out == half
        models = tuple(fit(features[learn & (arms == arm)], outcome[learn & (arms == arm)]) for arm in range(number))
        expected[~learn] = np.column_stack([model.predict(features[~learn]) for model in models])
        by_half.append(models)
    return Crossed((by_half[0], by_half[1]), expected)


def importances(models: Sequence[Model], features: Floats, sources: Sequence[str]) -> list[tuple[str, float]]:
    """Mean absolute change of (first model - second) when one feature's values are dealt out anew; largest first."""
    treated, control = models

    def effect(rows: Floats) -> Floats:
        return treated.predict(rows) - control.predict(rows)

    before = effect(features)
    order = np.random.default_rng(0).permutation(len(features))
    found = []
    for source in sorted(set(sources)):
        dealt = features.copy()
        of_source = [position for position, each in enumerate(sources) if each == source]
        dealt[:, of_source] = features[order][:, of_source]
        found.append((source, float(np.abs(effect(dealt) - before).mean())))
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))
