"""A short run of the A/A studies: daily looks declare no more differences than stated, and still find a real one."""

import pytest

from shared.stats.designs import Design
from tests.simulation import peeking
from tests.simulation.registry import Result, Study, replaced, section
from tests.simulation.studies import STUDIES

RUNS = {Design.ONE_BLAST: 16, Design.STAGGERED: 50, Design.OPEN_ENROLMENT: 40}


@pytest.mark.parametrize("design", list(Design))
def test_daily_looks_at_nothing_declare_a_difference_no_more_often_than_stated(design):
    """All cases of a design together; each by itself is the long run's."""
    found = [peeking.outcomes(setting, RUNS[design], seed=3 + k) for k, setting in enumerate(peeking.settings(design))]
    runs = sum(map(len, found))
    decided = sum(outcome.decided for case in found for outcome in case)
    assert Result("all", runs, decided, peeking.ALPHA, {}).within
    assert all(any(outcome.looked for outcome in case) for case in found), "a rule that never speaks proves nothing"


def test_a_plain_test_at_every_look_would_not_have_held():
    setting = peeking.settings(Design.OPEN_ENROLMENT)[0]
    assert sum(outcome.naive for outcome in peeking.outcomes(setting, 60, seed=3)) > 60 * 0.1


def test_the_studies_cover_both_splits_both_shares_and_both_metrics():
    for design in Design:
        seen = {(s.campaign.exact, s.campaign.control_share, s.campaign.money) for s in peeking.settings(design)}
        assert len(seen) == (4 if design is Design.OPEN_ENROLMENT else 8)


def test_runs_do_not_depend_on_how_many_there_are():
    setting = peeking.settings(Design.STAGGERED)[0]
    assert peeking.outcomes(setting, 3, seed=1) == peeking.outcomes(setting, 5, seed=1)[:3]


@pytest.mark.parametrize(("hits", "within"), [(0, True), (63, True), (64, False), (500, False)])
def test_within_means_within_the_monte_carlo_error_of_the_stated_level(hits, within):
    """Five per cent of 1,000 runs are 50, with a standard deviation of 6.9."""
    assert Result("case", 1000, hits, 0.05, {}).within is within


def test_a_study_replaces_its_own_part_of_the_page_and_leaves_the_others_alone():
    studies = [Study(key, key.title(), "Words.", 1, lambda runs, seed: []) for key in ("one", "two")]
    results = [Result("a case", 100, 4, 0.05, {"beside": "20 %"})]
    page = "# Page\n"
    for study in studies:
        page = replaced(page, study, section(study, results))
    again = replaced(page, studies[0], section(studies[0], [results[0]._replace(hits=7)]))
    assert "| a case | 100 | 4.0% | 1.1% to 9.9% | 5.0% | yes | 20 % |" in page
    assert again.count("## One") == again.count("## Two") == 1
    assert "| a case | 100 | 7.0% |" in again


def test_every_study_has_a_key_of_its_own():
    assert len({study.key for study in STUDIES}) == len(STUDIES)


@pytest.mark.parametrize("design", list(Design))
def test_a_true_effect_is_found_in_spite_of_all_the_looking(design):
    """A third of the responders respond only if contacted: a rule that never decided would be safe and of no use."""
    setting = peeking.settings(design)[0]
    eager = setting._replace(campaign=setting.campaign._replace(lift=0.33))
    assert sum(outcome.decided for outcome in peeking.outcomes(eager, 15, seed=2)) >= 14
