"""The alerts: each fires for what it says, is silent for a healthy installation, and Prometheus accepts the files."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment.compose import ROOT, text_of

pytestmark = pytest.mark.needs("promtool")

ALERTS = ROOT / "helm" / "alerts" / "attune.yaml"
RULES = {rule["alert"]: rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}

UP = {'up{job="attune", instance="audience:8001"}': "1+0x240"}
REQUESTS = "attune_http_requests_total"
DURATION = "attune_http_request_duration_seconds_bucket"


def requests(status: str, per_minute: int) -> dict[str, str]:
    return {
        f'{REQUESTS}{{service="feedback", method="POST", route="/v1/events", status="{status}"}}': f"0+{per_minute}x240"
    }


def durations(service: str, route: str, seconds: str) -> dict[str, str]:
    """All calls took at most `seconds`, and longer than half a millisecond."""
    place = f'service="{service}", method="POST", route="{route}"'
    return {
        f'{DURATION}{{{place}, le="0.0005"}}': "0+0x240",
        f'{DURATION}{{{place}, le="{seconds}"}}': "0+60x240",
        f'{DURATION}{{{place}, le="+Inf"}}': "0+60x240",
    }


def events(verdict: str, per_minute: int) -> dict[str, str]:
    return {f'attune_events_{verdict}_total{{door="ndjson"}}': f"0+{per_minute}x240"}


def waiting(queued: str, running: str) -> dict[str, str]:
    return {
        'attune_queue_depth{service="audience", state="queued"}': queued,
        'attune_queue_depth{service="audience", state="running"}': running,
    }


HEALTHY = {
    **UP,
    **requests("200", 600),
    **durations("experiments", "/v1/assign", "0.01"),
    **durations("feedback", "/v1/events", "0.5"),
    'attune_arrival_lag_seconds{service="experiments", consumer="outcomes"}': "30+0x240",
    **waiting("5+0x240", "2+0x240"),
    "attune_sample_ratio_alarms": "0+0x240",
    **events("accepted", 1000),
    **events("rejected", 10),
}
LAG = 'attune_arrival_lag_seconds{service="experiments", consumer="outcomes"}'
TROUBLES: dict[str, tuple[str, dict[str, str]]] = {
    "a process that does not answer": ("AttuneProcessDown", {'up{job="attune", instance="audience:8001"}': "0+0x240"}),
    "no process known": ("AttuneNotScraped", {'up{job="attune", instance="audience:8001"}': "_x240"}),
    "two calls in a hundred fail": ("AttuneServerErrors", requests("503", 12)),
    "slow assignments": ("AttuneSlow", durations("experiments", "/v1/assign", "1")),
    "slow events": ("AttuneSlow", durations("feedback", "/v1/events", "10")),
    "outcomes an hour behind": ("AttuneArrivalLag", {LAG: "3600+0x240"}),
    "work waits and none runs": ("AttuneWorkWaits", waiting("1+0x240", "0+0x240")),
    "two experiments with arms of the wrong size": (
        "AttuneSampleRatioMismatch",
        {"attune_sample_ratio_alarms": "2+0x240"},
    ),
    "a tenth of the events refused": ("AttuneEventsRefused", events("rejected", 110)),
    "all events refused": ("AttuneEventsRefused", {'attune_events_rejected_total{door="csv"}': "0+10x240"}),
}


def without_slow_buckets(series: dict[str, str], trouble: dict[str, str]) -> dict[str, str]:
    """The healthy series, but where the trouble speaks of the same route's durations, only its own."""
    routes = {found.group() for name in trouble if (found := re.search(r'bucket\{.*route="[^"]+"', name))}
    return {name: values for name, values in series.items() if not any(name.find(route) >= 0 for route in routes)}


def fired(series: dict[str, str], at: str, directory: Path) -> set[str]:
    """Which alerts promtool finds firing at that time, when these series arrive minute by minute."""
    case: dict[str, Any] = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": []} for alert in RULES],
            }
        ],
    }
    file = directory / "case.yaml"
    file.write_text(yaml.safe_dump(case))
    answer = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)
    said = answer.stdout + answer.stderr
    found = set(re.findall(r"alertname: *(\w+)", said))
    assert found <= set(RULES), said
    assert (answer.returncode == 0) == (not found), said
    return found


def test_a_healthy_installation_wakes_nobody(tmp_path):
    assert fired(HEALTHY, "3h", tmp_path) == set()


@pytest.mark.parametrize(("alert", "series"), TROUBLES.values(), ids=TROUBLES)
def test_each_trouble_is_said_by_its_alert_and_by_no_other(alert, series, tmp_path):
    assert fired(without_slow_buckets(HEALTHY, series) | series, "3h", tmp_path) == {alert}


def test_every_alert_has_a_trouble_that_makes_it_fire():
    assert {alert for alert, _ in TROUBLES.values()} == set(RULES)


@pytest.mark.parametrize("alert", RULES)
def test_a_moment_of_trouble_wakes_nobody(alert):
    unit = {"s": 1, "m": 60, "h": 3600}
    duration = RULES[alert]["for"]
    assert int(duration[:-1]) * unit[duration[-1]] >= 300


@pytest.mark.parametrize("alert", RULES)
def test_every_alert_says_how_urgent_it_is_and_what_to_do(alert):
    rule = RULES[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert len(rule["annotations"]["summary"]) > 10
    assert len(rule["annotations"]["description"]) > 40


def test_prometheus_accepts_its_configuration_and_the_alerts(tmp_path):
    alerts = tmp_path / "alerts"
    alerts.mkdir()
    (alerts / "attune.yaml").write_text(ALERTS.read_text())
    config = tmp_path / "prometheus.yml"
    config.write_text(text_of("helm/compose/prometheus.yaml").replace("/etc/prometheus/alerts", str(alerts)))
    answer = subprocess.run(["promtool", "check", "config", str(config)], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert f"SUCCESS: {len(RULES)} rules found" in answer.stdout
