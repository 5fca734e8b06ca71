"""A/A campaigns looked at every day: how often is a difference ever declared where there is none?

Every look is decided by `shared.stats.looks.decide`, as in the product.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import isfinite, log, nan
from typing import NamedTuple
from zlib import crc32

import numpy as np

from shared.stats import correlated_looks, looks, means, moments
from shared.stats.correlated_looks import Products
from shared.stats.looks import Design, Evidence, Kind, PastLook, Plan
from shared.stats.means import Stratum
from shared.stats.randomisation import Block, Draw
from shared.stats.small_sample import too_few
from tests.simulation.registry import Result, Study
from tests.simulation.worlds import (
    APPETITE,
    ARRIVAL,
    STRATA,
    Array,
    Campaign,
    Events,
    Responders,
    Truths,
    events,
    responders,
)

ALPHA = 0.05
WINDOW = 14
WAVES, WAVE_WINDOW = 10, 7
OPEN_DAYS = 60
USUAL_LAG = ARRIVAL * log(100)  # 99 % of the responses have arrived by then
NAIVE = 1.96


class Setting(NamedTuple):
    """One case: how customers enter, and the campaign's shape."""

    design: Design
    campaign: Campaign

    @property
    def name(self) -> str:
        campaign = self.campaign
        shares = f"{campaign.control_share:.0%} control".replace("%", " %")
        split, metric = "exact" if campaign.exact else "hash", "money" if campaign.money else "proportion"
        return f"{self.design.value.replace('_', ' ')}, {split}, {shares}, {metric}"


class Outcome(NamedTuple):
    """What daily looking came to: the rule's verdict, that of 1.96 at each look, what the same
    bounds would have made of plain z, and whether any look counted."""

    decided: bool
    naive: bool
    plain: bool
    looked: bool


def _strata(seen: Responders, values: Array, pooled: bool) -> tuple[list[Stratum], list[Block]]:
    """Moments and non-zero values by stratum of everyone in `seen`."""
    strata, blocks = [], []
    for group, sizes in _groups(seen, pooled):
        of_control, of_treatment = values[group & seen.control], values[group & ~seen.control]
        blocks.append(Block(int(sizes[0]), int(sizes[1]), of_control[of_control != 0], of_treatment[of_treatment != 0]))
        strata.append(
            Stratum(moments.of_values(of_control, int(sizes[0])), moments.of_values(of_treatment, int(sizes[1])))
        )
    return strata, blocks


def _groups(seen: Responders, pooled: bool) -> Iterator[tuple[Truths, Array]]:
    if pooled:
        yield np.ones(seen.count, dtype=np.bool_), seen.sizes.sum(axis=0)
        return
    for stratum, sizes in enumerate(seen.sizes):
        yield seen.stratum == stratum, sizes


def _evidence(campaign: Campaign, seen: Responders, values: Array, **further: object) -> Evidence:
    strata, blocks = _strata(seen, values, pooled=not campaign.exact)
    kind = Kind.MONEY if campaign.money else Kind.PROPORTION
    return Evidence(strata, kind, draw=Draw(blocks) if campaign.money else None)._replace(**further)


def _correlation(seen: Responders, by_look: Array, pooled: bool) -> Array:
    """Between looks, from values by look, shape (k, responders), each as it was known at its look."""

    def sums(which: Truths, size: int) -> Products:
        rows = by_look[:, which]
        return Products(size, rows.sum(axis=1), rows @ rows.T)

    pairs = [
        (sums(group & seen.control, int(sizes[0])), sums(group & ~seen.control, int(sizes[1])))
        for group, sizes in _groups(seen, pooled)
    ]
    return correlated_looks.correlation(pairs)


def _followed(plan: Callable[[Evidence], Plan], looked: Iterator[Evidence]) -> Outcome:
    """Look, decide, remember, look again."""
    past: list[PastLook] = []
    decided = naive = plain = counted = False
    for evidence in looked:
        look = looks.decide(plan(evidence), past, evidence, quick=True)
        past.append(look.as_past())
        decided, counted = decided or look.crossed, counted or isfinite(look.bound)
        z = look.interval.estimate / look.interval.standard_error if look.interval.standard_error > 0 else 0.0
        naive, plain = naive or abs(z) > NAIVE, plain or abs(z) >= look.bound
    return Outcome(decided, naive, plain, counted)


def one_blast(rng: np.random.Generator, campaign: Campaign) -> Outcome:
    """Everyone at once, looked at for each day of the window."""
    return _followed(lambda _: Plan(Design.ONE_BLAST, ALPHA), blast(rng, campaign, range(1, WINDOW + 1)))


def blast(rng: np.random.Generator, campaign: Campaign, days: Sequence[int]) -> Iterator[Evidence]:
    """Everyone at once, looked at for some days of the window, each when 99 % of its responses have arrived.

    As in the product, the correlation is that of the values as recounted at the latest look.
    """
    sizes = np.round(STRATA * campaign.customers).astype(np.int64)
    seen = responders(rng, campaign, sizes, campaign.rate * APPETITE)
    done = events(rng, campaign, seen.count, WINDOW)

    for number, day in enumerate(days, start=1):
        arrived = done.arrived <= day + USUAL_LAG
        known = np.stack([_by_day(done, seen, arrived, each) for each in days[:number]])
        yield _evidence(
            campaign,
            seen,
            known[-1],
            fraction=day / WINDOW,
            final=day == WINDOW,
            correlation=_correlation(seen, known, pooled=not campaign.exact),
            seed=int(rng.integers(2**32)),
        )


def _by_day(done: Events, seen: Responders, arrived: Truths, day: int) -> Array:
    return done.values(seen.count, arrived & (done.occurred <= day))


def staggered(rng: np.random.Generator, campaign: Campaign) -> Outcome:
    """A wave each day, later ones less eager, looked at as waves mature."""
    cells = np.repeat(STRATA, WAVES) / WAVES * campaign.customers
    eagerness = np.tile(np.linspace(1.4, 0.6, WAVES), STRATA.size)
    rates = campaign.rate * np.repeat(APPETITE, WAVES) * eagerness
    seen = responders(rng, campaign, np.round(cells).astype(np.int64), rates)
    done = events(rng, campaign, seen.count, WAVE_WINDOW)
    values = done.values(seen.count, np.ones(done.worth.size, np.bool_))
    wave = np.arange(cells.size) % WAVES

    def looked() -> Iterator[Evidence]:
        for mature in range(1, WAVES + 1):
            kept = wave[seen.stratum] < mature
            by_stratum = (seen.sizes * (wave < mature)[:, None]).reshape(STRATA.size, WAVES, 2).sum(axis=1)
            part = Responders(by_stratum, seen.stratum[kept] // WAVES, seen.control[kept])
            share, seed = mature / WAVES, int(rng.integers(2**32))
            yield _evidence(campaign, part, values[kept], fraction=share, final=mature == WAVES, seed=seed)

    return _followed(_planner(Design.STAGGERED, campaign), looked())


def open_enrolment(rng: np.random.Generator, campaign: Campaign) -> Outcome:
    """Customers enrol every day, more as time goes on, and respond late; all of them are looked at every day."""
    growth = np.linspace(0.5, 1.5, OPEN_DAYS)
    sizes = np.round(campaign.customers * growth / growth.sum()).astype(np.int64)
    seen = responders(rng, campaign, sizes, np.full(OPEN_DAYS, campaign.rate))
    done = events(rng, campaign, seen.count, WAVE_WINDOW)
    at = seen.stratum[done.responder] + done.arrived

    def looked() -> Iterator[Evidence]:
        for day in range(1, OPEN_DAYS + 1):
            there = seen.stratum < day
            enrolled = Responders(seen.sizes[:day], seen.stratum[there], seen.control[there])
            yield _evidence(campaign, enrolled, done.values(seen.count, at <= day)[there])

    return _followed(_planner(Design.OPEN_ENROLMENT, campaign), looked())


def _planner(design: Design, campaign: Campaign) -> Callable[[Evidence], Plan]:
    """Freezes, as the product does, the control's variance at the first look that has enough responders."""
    control = round(campaign.customers * campaign.control_share)
    frozen: list[float] = []

    def plan(evidence: Evidence) -> Plan:
        arms = [moments.merged(stratum[arm] for stratum in evidence.strata) for arm in (0, 1)]
        if not frozen and too_few(evidence.kind, *arms) is None:
            frozen.append(means.standard_error(arms[0].variance, control, campaign.customers - control))
        return Plan(design, ALPHA, planned_standard_error=frozen[0] if frozen else nan)

    return plan


FOLLOW: dict[Design, Callable[[np.random.Generator, Campaign], Outcome]] = {
    Design.ONE_BLAST: one_blast,
    Design.STAGGERED: staggered,
    Design.OPEN_ENROLMENT: open_enrolment,
}


def settings(design: Design) -> list[Setting]:
    """Hash and exact split, halves and 5 % control, proportions and money; who enrols by and by is split by hash."""
    return [
        Setting(
            design,
            Campaign(_customers(design, share, money), 0.009 if money or share < 0.5 else 0.02, share, exact, money),
        )
        for exact, share, money in product((False, True), (0.5, 0.05), (False, True))
        if not (exact and design is Design.OPEN_ENROLMENT)
    ]


def _customers(design: Design, share: float, money: bool) -> int:
    if share == 0.5:
        return 60_000 if money else 40_000
    return 400_000 if money else 150_000


def outcomes(setting: Setting, runs: int, seed: int) -> list[Outcome]:
    """Independent campaigns of one setting; run k is the same whatever the number of runs."""
    follow, case = FOLLOW[setting.design], crc32(setting.name.encode())
    return [follow(np.random.default_rng([seed, case, run]), setting.campaign) for run in range(runs)]


def result(setting: Setting, runs: int, seed: int) -> Result:
    """How often the rule ever declared a difference, beside what a plain test at each look would have done."""
    found = outcomes(setting, runs, seed)
    beside = {
        "plain z, same bounds": f"{sum(outcome.plain for outcome in found) / runs:.1%}",
        "1.96 at each look": f"{sum(outcome.naive for outcome in found) / runs:.1%}",
        "had a verdict": f"{sum(outcome.looked for outcome in found) / runs:.0%}",
    }
    return Result(setting.name, runs, sum(outcome.decided for outcome in found), ALPHA, beside)


def _study(design: Design, title: str, words: str, runs: int) -> Study:
    def run(runs: int, seed: int) -> Sequence[Result]:
        return [result(setting, runs, seed) for setting in settings(design)]

    return Study(f"peeking-{design.value.replace('_', '-')}", title, words, runs, run)


STUDIES = (
    _study(
        Design.ONE_BLAST,
        "Daily looks at one blast",
        "No effect; 14 daily looks at everyone, responses spread over the window and arriving late; each look waits "
        "until 99 % of its day's responses have arrived.",
        800,
    ),
    _study(
        Design.STAGGERED,
        "Daily looks at staggered sends",
        "No effect; ten daily waves of falling eagerness, looked at as they mature.",
        1500,
    ),
    _study(
        Design.OPEN_ENROLMENT,
        "Daily looks at open enrolment",
        "No effect; 60 daily looks while customers enrol faster and faster and respond late.",
        1000,
    ),
)
