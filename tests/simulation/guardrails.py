"""A treatment that loses just what the margin of a guardrail allows: how often is such a loss ruled out?

The relative interval is that of `shared.stats.looks.decide`, as in the product.
"""

from collections.abc import Sequence
from math import hypot, isfinite
from typing import NamedTuple
from zlib import crc32

import numpy as np

from shared.stats import looks, means
from shared.stats.designs import Design, Evidence, Look, PastLook, Plan
from tests.simulation.peeking import ALPHA, WINDOW, Setting, blast, settings
from tests.simulation.registry import Result, Study

MARGIN = 0.1
DAYS = (5, 10, WINDOW)


class Passing(NamedTuple):
    """Whether any look ruled the loss out; whether Fieller's set of plain z at the same bounds would have; at how many
    looks the relative interval and the absolute one disagreed about zero; and whether there was an interval at all.
    """

    passed: bool
    plain: bool
    contradictions: int
    judged: bool


def passing(setting: Setting, run: int, seed: int) -> Passing:
    """One campaign; run k is the same whatever the number of runs."""
    rng = np.random.default_rng([seed, crc32(setting.name.encode()), run])
    past: list[PastLook] = []
    passed = plain = judged = False
    contradictions = 0
    for evidence in blast(rng, setting.campaign, DAYS):
        look = looks.decide(Plan(Design.ONE_BLAST, ALPHA), past, evidence)
        past.append(look.as_past())
        judged = judged or isfinite(look.relative.low)
        passed = passed or look.relative.low >= -MARGIN
        plain = plain or _plain(evidence) >= look.bound
        contradictions += _contradicts(look)
    return Passing(passed, plain, contradictions, judged)


def _plain(evidence: Evidence) -> float:
    """Studentised distance of the treatment's mean from what the margin leaves of the control's."""
    found, least = means.difference(evidence.strata), 1 - MARGIN
    gap = found.treatment.estimate - least * found.control.estimate
    return gap / hypot(found.treatment.standard_error, least * found.control.standard_error)


def _contradicts(look: Look) -> bool:
    sides = [(found.low > 0, found.high < 0) for found in (look.interval, look.relative)]
    return isfinite(look.relative.low) and sides[0] != sides[1]


def losing(setting: Setting) -> Setting:
    """The same campaign with a treatment that loses the margin: some respond only in the control."""
    return setting._replace(campaign=setting.campaign._replace(loss=MARGIN))


def result(setting: Setting, runs: int, seed: int) -> Result:
    """How often a loss of the margin is ruled out; one side of the interval, so half of alpha."""
    found = [passing(losing(setting), run, seed) for run in range(runs)]
    beside = {
        "plain z, same bounds": f"{sum(each.plain for each in found) / runs:.1%}",
        "contradicts the absolute interval": f"{sum(each.contradictions for each in found)}",
        "had an interval": f"{sum(each.judged for each in found) / runs:.0%}",
    }
    return Result(setting.name, runs, sum(each.passed for each in found), ALPHA / 2, beside)


def _run(runs: int, seed: int) -> Sequence[Result]:
    return [result(setting, runs, seed) for setting in settings(Design.ONE_BLAST)]


STUDIES = (
    Study(
        "guardrail-margin",
        "A guardrail with a margin",
        "The treatment loses exactly the margin, 10 %; looks on days 5, 10 and 14. The rate is that of campaigns in "
        "which any look rules such a loss out: one side of the interval, half of α.",
        500,
        _run,
    ),
)
