"""Does refinement keep its promise? Simulated customers of whom it is known what contact does to them.

On shuffled arms nothing can be right to propose, so every proposal is an error; with a planted interaction every
missing one is lost profit.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.feedback.refine import Arm, Cells, Coding, Proposal, Spec, Verdict, cells_of, refine

DECILES = np.arange(0.1, 1.0, 0.1)
ARMS = 3


class Shop(NamedTuple):
    """Customers with coded traits, their arm, whether they responded and with how much, and in which half they are."""

    codings: tuple[Coding, ...]
    codes: NDArray[np.int64]
    arm: NDArray[np.int64]
    responded: NDArray[np.bool_]
    value: NDArray[np.float64]
    grow: NDArray[np.bool_]


class Effects(NamedTuple):
    """What contact adds to the chance of a response: for the young with children, for city C, for all others."""

    persuadable: float = 0.0
    annoyed: float = 0.0
    other: float = 0.0


NONE = Effects()
PLANTED = Effects(persuadable=0.06, annoyed=-0.06, other=0.02)


def simulate(customers: int, seed: int, effects: Effects, *, control: float = 1 / 3, money: bool = False) -> Shop:
    """Deal `customers` out to a control and two arms; each responds with 10 % before any effect.

    Money is log-normal with a coefficient of variation of 1.3, as in mail-order data.
    """
    draw = np.random.default_rng(seed)
    age, visits, income = draw.integers(18, 80, customers), draw.poisson(3, customers), draw.normal(0, 1, customers)
    city, children = draw.integers(0, 5, customers), draw.integers(0, 2, customers)
    arm = draw.choice(ARMS, customers, p=[control, (1 - control) / 2, (1 - control) / 2])
    effect = np.where((age < 40) & (children == 1), effects.persuadable, effects.other)
    effect = np.where(city == 2, effects.annoyed, effect)
    responded = draw.random(customers) < 0.10 + (arm > 0) * effect
    value = responded * (draw.lognormal(3.0, 1.0, customers) if money else 1.0)
    numbers = {"age": age, "visits": visits, "income": income}
    cuts = {name: np.unique(np.quantile(x, DECILES, method="inverted_cdf")) for name, x in numbers.items()}
    codings = (
        *(Coding(name, "attribute", "number", cuts=tuple(map(float, cut))) for name, cut in cuts.items()),
        Coding("city", "attribute", "category", values=("A", "B", "C", "D", "E")),
        Coding("children", "attribute", "boolean", values=("true", "false")),
    )
    coded = [np.searchsorted(cuts[name], x, side="right") for name, x in numbers.items()]
    codes = np.column_stack([*coded, city + 1, 2 - children])
    return Shop(codings, codes, arm, responded, value, draw.random(customers) < 0.5)


def cells(shop: Shop, half: NDArray[np.bool_], control: float = 1 / 3) -> Cells:
    """What the GROUP BY of a real run answers for one half."""
    keys, group = np.unique(np.column_stack([shop.codes[half], shop.arm[half]]), axis=0, return_inverse=True)
    group = group.ravel()
    probability = np.where(keys[:, -1] == 0, control, (1 - control) / 2)
    figures = [np.bincount(group, each[half]) for each in (shop.responded, shop.value, shop.value**2)]
    rows = np.column_stack([keys, probability, np.bincount(group), *figures])
    return cells_of(rows.tolist(), shop.codes.shape[1])


def question(shop: Shop, *, cost: float = 0.0, attempt: int = 1, money: bool = False) -> Spec:
    """Ask for a better segment where a contact costs `cost`."""
    arms = (Arm("nothing", control=True), Arm("letter", cost=cost), Arm("mail", cost=cost))
    return Spec(arms, shop.codings, {"segment": "everyone"}, "responses", money=money, attempt=attempt)


def run(customers: int, seed: int, effects: Effects, *, cost: float = 0.0, control: float = 1 / 3) -> Proposal:
    """One experiment, refined: responses where contact is free, money where it costs."""
    shop = simulate(customers, seed, effects, control=control, money=cost > 0)
    halves = cells(shop, shop.grow, control), cells(shop, ~shop.grow, control)
    return refine(*halves, question(shop, cost=cost, money=cost > 0))


def proposals(
    runs: int, customers: int, effects: Effects, *, cost: float = 0.0, control: float = 1 / 3
) -> Counter[Verdict]:
    """Verdicts over many experiments."""
    return Counter(run(customers, seed, effects, cost=cost, control=control).verdict for seed in range(runs))
