"""A real Prometheus over the deployed stack, configured as docker-compose.yml configures it."""

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from services.stack.postgres import free_port
from tests.deployment.compose import ROOT, text_of
from tests.deployment.running import ALL_PORTS, Running

DASHBOARD: dict[str, Any] = json.loads(text_of("helm/dashboards/attune.json"))
GRAFANA = {"$__rate_interval": "1m", "$__range": "15m", "$__interval": "15s", "$service": ".+"}


class Query:
    """One query of the dashboard: where it stands, what it asks, and how its answers are named."""

    def __init__(self, panel: str, expression: str, legend: str) -> None:
        self.panel = panel
        self.written = expression
        self.legend = legend

    @property
    def expression(self) -> str:
        """The query as Grafana sends it, its own variables filled in."""
        filled = self.written
        for variable, value in GRAFANA.items():
            filled = filled.replace(variable, value)
        assert "$" not in filled, f"a variable that nobody fills in: {filled}"
        return filled

    @property
    def labels(self) -> set[str]:
        """Labels out of which the answers' names are made."""
        return set(re.findall(r"{{\s*(\w+)\s*}}", self.legend))


def dashboard_queries() -> list[Query]:
    return [
        Query(panel["title"], target["expr"], target["legendFormat"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    ]


def alert_rules() -> dict[str, str]:
    """Expression of each alert, by name."""
    groups = yaml.safe_load(text_of("helm/alerts/attune.yaml"))["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def metrics_of(expression: str) -> set[str]:
    """Names of the metrics that an expression reads."""
    unquoted = re.sub(r'"[^"]*"', "", expression)
    names = re.findall(r"(?<![\w:])([a-zA-Z_:][\w:]*)\s*(?=[{\[)]|$|\s*[<>=])", unquoted)
    words = {"service", "le", "route", "method", "door", "source", "consumer", "state", "status", "instance", "job"}
    return {name for name in names if name.startswith(("attune_", "process_", "python_")) or name == "up"} - words


class Prometheus:
    """Asks a running Prometheus."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)

    def ready(self) -> bool:
        try:
            return self._http.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an API's answer. Raises AssertionError with what Prometheus says is wrong."""
        answer = self._http.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer.get("error")
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an instant query answers."""
        data = self.get("query", query=expression)
        assert data["resultType"] == "vector"
        return list(data["result"])

    def exposed(self) -> set[str]:
        """Every metric that some process exposes, also where it has no sample yet; histograms by their series."""
        found = {"up", *self.get("label/__name__/values")}
        for described in self.get("targets/metadata"):
            name = described["metric"]
            found |= {name, f"{name}_total"} if described["type"] == "counter" else {name}
        return found

    def wait_until(self, condition: Callable[[], bool], within: float = 30.0) -> None:
        end = time.monotonic() + within
        while not condition():
            assert time.monotonic() < end, "Prometheus did not get there in time"
            time.sleep(0.2)


def configuration(running: Running, alerts: Path) -> str:
    """The file that docker-compose.yml mounts, but scraping each second, and on loopback."""
    text = text_of("helm/compose/prometheus.yaml").replace("15s", "1s").replace("/etc/prometheus/alerts", str(alerts))
    for name, port in ALL_PORTS.items():
        text = re.sub(rf"\b(?<!-){name}:{port}\b", f"127.0.0.1:{running.ports[name]}", text)
    return text


@contextmanager
def watching(running: Running) -> Iterator[Prometheus]:
    """Prometheus, scraping the stack while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="attune-prometheus-") as folder:
        home = Path(folder)
        config = home / "prometheus.yml"
        config.write_text(configuration(running, ROOT / "helm" / "alerts"))
        port = free_port()
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={home / 'data'}"]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"], stdout=log, stderr=log
            )
        try:
            prometheus = Prometheus(f"http://127.0.0.1:{port}")
            prometheus.wait_until(prometheus.ready)
            yield prometheus
        finally:
            process.terminate()
            process.wait(20)
