"""Every query of the dashboard and of the alerts is asked of a real Prometheus that has scraped the deployed stack."""

import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.deployment import traffic
from tests.deployment.prometheus import (
    DASHBOARD,
    Prometheus,
    Query,
    alert_rules,
    dashboard_queries,
    metrics_of,
    watching,
)
from tests.deployment.running import ALL_PORTS, Running

pytestmark = [pytest.mark.slow, pytest.mark.needs("prometheus")]

QUERIES = dashboard_queries()
RULES = alert_rules()


@pytest.fixture(scope="module")
def prometheus(running: Running) -> Iterator[Prometheus]:
    """Prometheus after the stack has done a little of everything, and has been seen doing it."""
    with watching(running) as prometheus:
        unique = uuid4().hex[:8]
        traffic.run_experiment(running, unique, traffic.build_list(running, unique))
        end = time.monotonic() + 60
        while time.monotonic() < end:
            traffic.send_events(running)
            traffic.ask(running)
            if all(prometheus.query(query.expression) for query in QUERIES):
                break
            time.sleep(1)
        yield prometheus


def test_prometheus_reads_every_process(prometheus):
    targets = prometheus.get("targets")["activeTargets"]
    assert {target["health"] for target in targets} == {"up"}
    assert len(targets) == len(ALL_PORTS)
    assert {target["labels"]["job"] for target in targets} == {"attune"}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.panel}: {query.legend}")
def test_every_query_of_the_dashboard_finds_what_it_shows(prometheus: Prometheus, query: Query):
    found = prometheus.query(query.expression)
    assert found, f"nothing found by {query.expression}"
    for series in found:
        assert query.labels <= set(series["metric"]), series["metric"]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.panel}: {query.legend}")
def test_every_metric_of_the_dashboard_is_exposed_by_the_stack(prometheus: Prometheus, query: Query):
    named = metrics_of(query.expression)
    assert named
    assert named <= prometheus.exposed()


@pytest.mark.parametrize("alert", RULES)
def test_every_metric_of_the_alerts_is_exposed_by_the_stack(prometheus: Prometheus, alert: str):
    named = metrics_of(RULES[alert])
    assert named
    assert named <= prometheus.exposed()


def test_prometheus_evaluates_every_alert_without_an_error(prometheus):
    def evaluated() -> dict[str, str]:
        groups = prometheus.get("rules")["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    prometheus.wait_until(lambda: set(evaluated().values()) == {"ok"})
    assert set(evaluated()) == set(RULES)


def test_a_metric_that_nobody_exposes_would_be_noticed(prometheus):
    wrong = "sum(rate(attune_events_acepted_total[1m]))"
    assert metrics_of(wrong) == {"attune_events_acepted_total"}
    assert not metrics_of(wrong) <= prometheus.exposed()
    assert prometheus.query(wrong) == []


def test_a_query_that_cannot_be_read_would_be_noticed(prometheus):
    with pytest.raises(AssertionError, match="parse error"):
        prometheus.query("sum by service (up)")


def test_the_choice_of_services_finds_all_three(prometheus):
    (chosen,) = [variable for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    metric, label = chosen["query"]["query"].removeprefix("label_values(").removesuffix(")").split(", ")
    assert set(prometheus.get(f"label/{label}/values", **{"match[]": metric})) == {
        "audience",
        "experiments",
        "feedback",
    }


def test_figures_of_the_dashboard_are_those_of_the_processes(prometheus, running):
    """Accepted events as Prometheus sums them, against what the service itself says at the same time or later."""

    def told() -> float:
        text = httpx.get(f"{running.url('feedback')}/metrics").text
        samples = [line for line in text.splitlines() if line.startswith("attune_events_accepted_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in samples)

    prometheus.wait_until(
        lambda: float(prometheus.query("sum(attune_events_accepted_total)")[0]["value"][1]) == told(), within=10
    )
    assert told() >= 2 * len(traffic.CUSTOMERS)


def test_panels_do_not_overlap_and_each_is_explained():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["type"] == "row" or len(panel["description"]) > 15
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
