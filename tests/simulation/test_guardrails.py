"""A short run of the study of guardrails: a loss of the margin is ruled out no more often than stated."""

import pytest

from shared.stats.designs import Design
from tests.simulation import guardrails, peeking
from tests.simulation.registry import Result

PROPORTION, MONEY = (
    next(
        each
        for each in peeking.settings(Design.ONE_BLAST)
        if (each.campaign.control_share, each.campaign.money) == case
    )
    for case in ((0.05, False), (0.05, True))
)


@pytest.mark.parametrize(("setting", "runs"), [(PROPORTION, 200), (MONEY, 12)], ids=["proportion", "money"])
def test_a_loss_of_the_margin_is_ruled_out_no_more_often_than_stated_with_five_per_cent_control(setting, runs):
    found = [guardrails.passing(guardrails.losing(setting), run, seed=1) for run in range(runs)]
    assert Result("all", runs, sum(each.passed for each in found), peeking.ALPHA / 2, {}).within
    assert all(each.judged for each in found)
    assert not any(each.contradictions for each in found)


def test_a_guardrail_is_passed_where_nothing_is_lost():
    """A third of the responders respond only if contacted."""
    eager = PROPORTION._replace(campaign=PROPORTION.campaign._replace(lift=0.33))
    assert sum(guardrails.passing(eager, run, seed=1).passed for run in range(15)) >= 14
