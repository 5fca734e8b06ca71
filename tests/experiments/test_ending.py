"""When an experiment is over, and on which days it is looked at until then."""

import doctest
from datetime import timedelta

import pytest

from services.experiments import ending, schedule, signs
from services.experiments.ending import Horizon
from shared.contracts.experiments import Method
from tests.experiments.test_decision import NOW, experiment


@pytest.mark.parametrize(
    ("horizon", "assigned", "mature", "over"),
    [
        (Horizon(400, 400, stopped=False), 400, 400, True),
        (Horizon(400, 400, stopped=False), 400, 399, False),
        (Horizon(400, 400, stopped=False), 200, 200, False),
        (Horizon(400, 400, stopped=True), 200, 200, True),
        (Horizon(400, 400, stopped=True), 200, 150, False),
        (Horizon(None, 400, stopped=False), 4000, 4000, False),
        (Horizon(None, 400, stopped=True), 4000, 4000, True),
        (Horizon(None, None, stopped=True), 0, 0, False),
    ],
)
def test_it_is_over_when_nobody_is_to_come_and_everybodys_window_has_closed(horizon, assigned, mature, over):
    assert horizon.ended(assigned, mature) is over


def test_no_more_is_waited_for_than_the_list_has_and_than_was_planned():
    tried = experiment().model_copy(update={"planned_size": 300})
    assert ending.horizon(tried, 200, NOW).customers == 200
    assert ending.horizon(tried, 500, NOW).customers == 300
    assert ending.horizon(tried, None, NOW).customers == 300


def test_a_confidence_sequence_goes_on_past_its_planned_size_until_it_is_stopped():
    tried = experiment().model_copy(update={"planned_size": 300, "method": Method.CONFIDENCE_SEQUENCE})
    assert ending.horizon(tried, None, NOW) == Horizon(None, 300, stopped=False)
    stopped = tried.model_copy(update={"stopped_at": NOW})
    assert ending.horizon(stopped, None, NOW).stopped
    assert not ending.horizon(stopped, None, NOW - timedelta(days=1)).stopped


def test_stopping_below_the_planned_number_is_early():
    assert Horizon(None, 300, stopped=True).early(299)
    assert not Horizon(None, 300, stopped=True).early(300)


@pytest.mark.parametrize("window", [1, 7, 14, 15, 60, 730])
def test_a_blast_is_looked_at_fourteen_times_at_most_and_at_its_end(window):
    days = schedule.days(window)
    assert days == sorted(set(days))
    assert (len(days), days[-1]) == (min(14, window), window)


@pytest.mark.parametrize("module", [schedule, signs], ids=lambda module: module.__name__)
def test_the_examples_are_true(module):
    assert doctest.testmod(module).failed == 0
