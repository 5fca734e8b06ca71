"""A simulated shop in which every customer's reaction to every treatment is known.

Four temperaments, of which the shop's own data show only hints (interest, loyalty, age): *persuadable* customers buy
because they are written to, *sure things* buy anyway, *lost causes* never do, and the *annoyed* buy less when written
to. What a campaign truly changes is therefore known for each customer, and every estimate can be held against it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Texts = NDArray[np.str_]

WINDOW_DAYS = 14
MARGIN = 0.4

TEMPERAMENTS = ("persuadable", "sure thing", "lost cause", "annoyed")
INTERESTS = ("outdoor", "home", "kids", "sports")
LOYALTIES = ("none", "silver", "gold")
CITIES = ("Lyon", "Porto", "Gent", "Graz", "Turku", "Brno")

ARMS = ("control", "postcard", "catalogue")
COST_PER_CONTACT = {"control": 0.0, "postcard": 0.8, "catalogue": 1.6}

# Probability to buy within the window, by temperament (rows) and arm (columns).
BUYS = np.array([
    [0.04, 0.13, 0.21],  # persuadable
    [0.08, 0.08, 0.083],  # sure thing
    [0.005, 0.005, 0.006],  # lost cause
    [0.05, 0.035, 0.02],  # annoyed
])  # fmt: skip
VISITS = np.array([
    [0.10, 0.22, 0.30],
    [0.25, 0.26, 0.27],
    [0.02, 0.02, 0.03],
    [0.15, 0.12, 0.09],
])  # fmt: skip
COMPLAINS = np.array([0.001, 0.001, 0.004, 0.05])  # of those contacted, by temperament
BASKET_MEAN = np.array([75.0, 70.0, 40.0, 55.0])  # by temperament, in euros
BASKET_SPREAD = 0.35  # standard deviation of the logarithm
SECOND_ORDER = 0.15  # share of buyers who order once more within the window
ORDERS_A_YEAR = np.array([2.0, 4.0, 0.8, 2.2])  # before the campaign, by temperament


@dataclass(frozen=True)
class Shop:
    """Customers, one array element each. What the shop knows, and (`temperament`) what only the simulation knows."""

    name: str
    customer_id: Texts
    age: Integers
    interest: Integers
    loyalty: Integers
    city: Integers
    member_since: NDArray[np.datetime64]
    consents: Booleans
    reachable: Booleans
    temperament: Integers

    def __len__(self) -> int:
        return len(self.customer_id)

    def rows_of(self, customer_ids: Texts) -> Integers:
        """Where these customers stand; all of them must be of this shop."""
        rows = np.searchsorted(self.customer_id, customer_ids).clip(max=len(self) - 1)
        if not np.array_equal(self.customer_id[rows], customer_ids):
            raise ValueError("a customer is not of this shop")
        return rows


class Truth(NamedTuple):
    """What an arm changes against the control, on average over some customers and their windows (14 days).

    `visits` and `buyers` are probabilities, `revenue` and `profit` euros per customer; profit is net of contact cost.
    """

    visits: float
    buyers: float
    revenue: float
    profit: float


class Responses(NamedTuple):
    """What customers did: row of the customer, seconds after t0, and for orders the value (visits: 0)."""

    kind: Texts
    row: Integers
    seconds: Integers
    value: Floats


def build(name: str, customers: int, seed: int) -> Shop:
    """A shop of so many customers, whose ids start with its name; the same seed gives the same shop."""
    chance = np.random.default_rng(seed)
    age = np.clip(np.rint(chance.normal(46, 16, customers)), 18, 90).astype(np.int64)
    interest = chance.choice(4, customers, p=[0.38, 0.27, 0.18, 0.17])
    loyalty = chance.choice(3, customers, p=[0.58, 0.27, 0.15])
    joined = np.datetime64("2026-01-01") - chance.integers(30, 3000, customers).astype("timedelta64[D]")
    return Shop(
        name=name,
        customer_id=np.char.add(f"{name}-", np.char.zfill(np.arange(1, customers + 1).astype(str), 7)),
        age=age,
        interest=interest,
        loyalty=loyalty,
        city=chance.integers(0, len(CITIES), customers),
        member_since=joined,
        consents=chance.random(customers) < 0.86,
        reachable=chance.random(customers) < 0.95,
        temperament=_temperaments(chance, age, interest, loyalty),
    )


def _temperaments(chance: np.random.Generator, age: Integers, interest: Integers, loyalty: Integers) -> Integers:
    """Drawn from what the shop can see: outdoor people under 55 are mostly persuadable, gold members sure things,
    older customers more easily annoyed, everybody else mostly a lost cause."""
    odds = np.tile([0.03, 0.14, 0.63, 0.20], (len(age), 1))
    odds[age >= 60] = [0.02, 0.13, 0.50, 0.35]
    odds[loyalty == LOYALTIES.index("gold")] = [0.03, 0.62, 0.10, 0.25]
    odds[(interest == INTERESTS.index("outdoor")) & (age < 55)] = [0.80, 0.07, 0.10, 0.03]
    drawn: Integers = (chance.random(len(age))[:, None] > np.cumsum(odds, axis=1)).sum(axis=1).clip(max=3)
    return drawn


def truth(shop: Shop, rows: Integers, arm: str) -> Truth:
    """What `arm` changes for the customers in `rows`, on average."""
    temperament, column = shop.temperament[rows], ARMS.index(arm)
    buys = (BUYS[:, column] - BUYS[:, 0])[temperament]
    revenue = buys * (1 + SECOND_ORDER) * BASKET_MEAN[temperament]
    return Truth(
        visits=float((VISITS[:, column] - VISITS[:, 0])[temperament].mean()),
        buyers=float(buys.mean()),
        revenue=float(revenue.mean()),
        profit=float(MARGIN * revenue.mean() - COST_PER_CONTACT[arm]),
    )


def history(shop: Shop, seed: int) -> Responses:
    """Orders of the year before the campaign; `seconds` are negative: before t0."""
    chance = np.random.default_rng(seed)
    row = np.repeat(np.arange(len(shop)), chance.poisson(ORDERS_A_YEAR[shop.temperament]))
    seconds = -chance.integers(2 * 86_400, 365 * 86_400, len(row))
    return Responses(np.full(len(row), "order"), row, seconds, _baskets(chance, shop.temperament[row]))


def respond(shop: Shop, rows: Integers, arms: Integers, seed: int) -> Responses:
    """What the customers in `rows`, treated by `arms` (positions in `ARMS`), do after t0.

    Orders and visits inside the window; some orders after it, which no 14-day metric may count; complaints of those
    who were contacted.
    """
    chance = np.random.default_rng(seed)
    temperament = shop.temperament[rows]
    buys = chance.random(len(rows)) < BUYS[temperament, arms]
    again = buys & (chance.random(len(rows)) < SECOND_ORDER)
    later = chance.random(len(rows)) < 0.5 * BUYS[temperament, 0]
    visits = chance.random(len(rows)) < VISITS[temperament, arms]
    complains = (arms > 0) & (chance.random(len(rows)) < COMPLAINS[temperament])
    window = WINDOW_DAYS * 86_400
    parts = [
        _ordered(chance, rows[buys], temperament[buys], 1, window),
        _ordered(chance, rows[again], temperament[again], 1, window),
        _ordered(chance, rows[later], temperament[later], window + 1, 2 * window),
        _happened(chance, "view", rows[visits], window),
        _happened(chance, "unsubscribed", rows[complains], window),
    ]
    return Responses(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _ordered(chance: np.random.Generator, rows: Integers, temperament: Integers, low: int, high: int) -> Responses:
    seconds = _soon(chance, len(rows), high - low) + low
    return Responses(np.full(len(rows), "order"), rows, seconds, _baskets(chance, temperament))


def _happened(chance: np.random.Generator, kind: str, rows: Integers, window: int) -> Responses:
    return Responses(np.full(len(rows), kind), rows, _soon(chance, len(rows), window), np.zeros(len(rows)))


def _soon(chance: np.random.Generator, size: int, window: int) -> Integers:
    """Seconds within the window, more of them early, as responses to mail come."""
    return np.floor(chance.beta(1.2, 2.2, size) * window).astype(np.int64)


def _baskets(chance: np.random.Generator, temperament: Integers) -> Floats:
    """Order values, lognormal with the temperament's mean, in whole cents."""
    mean = BASKET_MEAN[temperament]
    values: Floats = np.round(chance.lognormal(np.log(mean) - BASKET_SPREAD**2 / 2, BASKET_SPREAD), 2)
    return values
