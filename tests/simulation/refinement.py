"""Does refinement keep its promise? Simulated customers of whom it is known what contact does to them.

On shuffled arms nothing can be right to propose, so every proposal is an error; with a planted interaction every
missing one is lost profit.
"""

import csv
import gzip
import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.feedback.refine import Arm, Cells, Coding, Proposal, Spec, Verdict, cells_of, refine
from tests.simulation.registry import Result, Study

DECILES = np.arange(0.1, 1.0, 0.1)
ARMS = 3
ALPHA = 0.05
MAIL_ORDER = "hillstrom.csv.gz"
ARM_OF = {"No E-Mail": 0, "Mens E-Mail": 1, "Womens E-Mail": 2}


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


def question(shop: Shop, *, cost: float = 0.0, money: bool = False) -> Spec:
    """Ask for a better segment where a contact costs `cost`; money is searched for the policy that earns most."""
    arms = (Arm("nothing", control=True), Arm("letter", cost=cost), Arm("mail", cost=cost))
    return Spec(arms, shop.codings, {"segment": "everyone"}, "responses", money=money, net=money)


class Case(NamedTuple):
    """Experiments of one kind. Money is log-normal, and searched for the best policy; without, for the honest tree."""

    name: str
    customers: int
    effects: Effects = NONE
    cost: float = 0.0
    control: float = 1 / 3
    money: bool = False

    def shop(self, seed: int) -> Shop:
        return simulate(self.customers, seed, self.effects, control=self.control, money=self.money)

    def run(self, seed: int) -> Proposal:
        """One experiment, refined."""
        return refined(self.shop(seed), self)


def refined(shop: Shop, case: Case, *, honest: bool = True) -> Proposal:
    """What is proposed; dishonestly, the rule is confirmed on the customers it was searched on."""
    grow = cells(shop, shop.grow, case.control)
    confirm = cells(shop, ~shop.grow, case.control) if honest else grow
    return refine(grow, confirm, question(shop, cost=case.cost, money=case.money))


def mail_order(path: Path) -> Shop:
    """The real customers of the Hillstrom file with their visits, all in one half."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    column = {
        name: np.array([row[name] for row in rows]) for name in ("zip_code", "channel", "mens", "womens", "newbie")
    }
    coded, codings = [], []
    for name in ("recency", "history"):
        values = np.array([float(row[name]) for row in rows])
        cut = np.unique(np.quantile(values, DECILES, method="inverted_cdf"))
        codings.append(Coding(name, "attribute", "number", cuts=tuple(map(float, cut))))
        coded.append(np.searchsorted(cut, values, side="right"))
    for name, values in column.items():
        kinds, position = np.unique(values, return_inverse=True)
        codings.append(Coding(name, "attribute", "category", values=tuple(map(str, kinds))))
        coded.append(position + 1)
    arm = np.array([ARM_OF[row["segment"]] for row in rows])
    visited = np.array([row["visit"] == "1" for row in rows])
    return Shop(tuple(codings), np.column_stack(coded), arm, visited, visited * 1.0, np.ones_like(visited))


def shuffled(shop: Shop, seed: int) -> Shop:
    """The same customers with shuffled arms and halves: whatever is found is chance."""
    draw = np.random.default_rng(seed)
    return shop._replace(arm=draw.permutation(shop.arm), grow=draw.random(len(shop.arm)) < 0.5)


SHUFFLED = (
    Case("shuffled arms, responses", 20_000),
    Case("shuffled arms, money", 20_000, money=True),
    Case("shuffled arms, responses, 5 % control", 60_000, control=0.05),
    Case("shuffled arms, money, 5 % control", 100_000, control=0.05, money=True),
)
PLANTED_CASES = (
    Case("planted interaction, responses", 40_000, PLANTED),
    Case("planted interaction, money, contact costs", 100_000, PLANTED, cost=0.2, money=True),
)


def _study(runs: int, seed: int) -> list[Result]:
    found = [_errors(case, case.shop, runs, seed) for case in SHUFFLED]
    path = Path(os.environ.get("ATTUNE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / MAIL_ORDER
    if path.exists():
        real = mail_order(path)
        case = Case("shuffled arms, real mail-order customers, visits", len(real.arm))
        found.append(_errors(case, partial(shuffled, real), runs, seed))
    return found


def _errors(case: Case, shop: Callable[[int], Shop], runs: int, seed: int) -> Result:
    """How often something is proposed; beside it, how often it would be if searched and checked on the same half."""
    shops = (shop(seed + number) for number in range(runs))
    pairs = [(refined(each, case).verdict, refined(each, case, honest=False).verdict) for each in shops]
    proposed = Counter(honest is Verdict.PROPOSE for honest, _ in pairs)[True]
    same = Counter(naive is Verdict.PROPOSE for _, naive in pairs)[True]
    return Result(case.name, runs, proposed, ALPHA, {"checked on the same customers": f"{same / runs:.1%}"})


def _misses(runs: int, seed: int) -> list[Result]:
    found = []
    for case in PLANTED_CASES:
        proposals = [case.run(seed + number) for number in range(max(20, runs // 5))]
        kept = [each for each in proposals if each.verdict is Verdict.PROPOSE]
        missed = len(proposals) - len(kept)
        named = sum("city" in str(each.definition) for each in kept)
        beside = {"proposals that name the city": f"{named} of {len(kept)}"}
        found.append(Result(case.name, len(proposals), missed, 0.2, beside))
    return found


STUDIES: tuple[Study, ...] = (
    Study(
        "refinement",
        "Refinement proposes nothing where there is nothing",
        "Arms are shuffled, so that no rule can be better; the rate is that of experiments with a proposal. α = 5 % is "
        "for all proposals an experiment will ever have: the first may spend 3.04 %. Checking a rule on the customers "
        "it was searched on shows what the second half is for.",
        500,
        _study,
    ),
    Study(
        "refinement-power",
        "Refinement finds what is there",
        "Contact annoys the customers of one city (−6 points), moves the young with children (+6) and others a little "
        "(+2); 10 % respond anyway. The rate is that of experiments without a proposal: at most 20 % may miss it.",
        500,
        _misses,
    ),
)
