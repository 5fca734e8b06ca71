"""What the chart says about ports, variables, calls and metrics is what the code says."""

import importlib
import json

import pytest
import yaml

from shared.settings import PORTS, SERVICES, WORKER_PORTS, Settings
from tests.helm.chart import CHART, INSTALLATIONS, Container, Document, containers, of_kind, render

pytestmark = pytest.mark.needs("helm_python")

ALL_PORTS = PORTS | {f"{service}-worker": port for service, port in WORKER_PORTS.items()}
OPERATOR = {"monitoring": {"serviceMonitor": {"enabled": True}, "alerts": {"enabled": True}}}


def matches(selector: Document, labels: Document) -> bool:
    return all(labels.get(name) == value for name, value in selector.items())


def by_component(values: Document) -> dict[str, Container]:
    return {container.component: container for container in containers(render(values))}


@pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_every_selector_finds_exactly_the_pods_it_means(values):
    documents = render(values)
    deployments = of_kind(documents, "Deployment")
    assert set(deployments) == set(ALL_PORTS)
    pods = {name: deployment["spec"]["template"]["metadata"]["labels"] for name, deployment in deployments.items()}
    pods |= {name: job["spec"]["template"]["metadata"]["labels"] for name, job in of_kind(documents, "Job").items()}

    def found(selector: Document) -> set[str]:
        return {name for name, labels in pods.items() if matches(selector, labels)}

    for name, deployment in deployments.items():
        spec = deployment["spec"]
        assert found(spec["selector"]["matchLabels"]) == {name}
        for spread in spec["template"]["spec"]["topologySpreadConstraints"]:
            assert found(spread["labelSelector"]["matchLabels"]) == {name}
    for name, service in of_kind(documents, "Service").items():
        assert found(service["spec"]["selector"]) == {name}
    for name, budget in of_kind(documents, "PodDisruptionBudget").items():
        assert found(budget["spec"]["selector"]["matchLabels"]) == {name}
    for name, policy in of_kind(documents, "NetworkPolicy").items():
        assert found(policy["spec"]["podSelector"]["matchLabels"]) == {name}


def test_ports_are_those_of_the_settings():
    found = by_component({})
    services = of_kind(render({}), "Service")
    for component, port in ALL_PORTS.items():
        spec = found[component].spec
        assert spec["ports"] == [{"name": "http", "containerPort": port}]
        variable = "ATTUNE_WORKER_PORT" if component.endswith("-worker") else "ATTUNE_PORT"
        assert found[component].variables[variable]["value"] == str(port)
        assert services[component]["spec"]["ports"] == [{"name": "http", "port": port, "targetPort": "http"}]


def test_liveness_asks_the_process_and_readiness_asks_what_it_needs():
    for component, container in by_component({}).items():
        if component != "migration":
            paths = {probe: container.spec[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
            assert paths == {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}
            assert container.spec["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}


@pytest.mark.parametrize("values", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_every_variable_is_one_the_settings_know(values):
    known = {f"ATTUNE_{name.upper()}" for name in Settings.model_fields}
    for container in containers(render(values)):
        assert set(container.variables) <= known, container.component


def test_the_settings_accept_every_value_that_the_chart_sets(monkeypatch):
    for container in by_component(INSTALLATIONS["chosen in every place"]).values():
        with monkeypatch.context() as environment:
            for name, variable in container.variables.items():
                environment.setenv(name, variable.get("value", "postgresql://someone@somewhere/attune"))
            settings = Settings()
        assert (settings.currency, settings.log_level) == ("USD", "debug")
        assert (settings.global_control_share, settings.database_pool, settings.worker_concurrency) == (0.05, 20, 4)


def test_each_command_serves_or_works_for_its_own_service():
    for component, container in by_component({}).items():
        service, _, role = component.partition("-")
        expected = ["services.cli", "migrate"] if service == "migration" else [f"services.{service}", role or "serve"]
        assert container.spec["command"] == ["python", "-m", *expected]
        assert importlib.util.find_spec(expected[0]) is not None


CALLS = {"audience": set(), "experiments": {"audience"}, "feedback": {"audience", "experiments"}}


@pytest.mark.parametrize("service", SERVICES)
def test_each_process_knows_the_addresses_of_those_it_may_call_and_they_lead_there(service):
    services, found = of_kind(render({}), "Service"), by_component({})
    expected = {
        f"ATTUNE_{peer.upper()}_URL": f"http://{services[peer]['metadata']['name']}:{PORTS[peer]}"
        for peer in CALLS[service]
    }
    for component in (service, f"{service}-worker"):
        variables = found[component].variables
        addresses = {name for name in variables if name.endswith("_URL") and not name.endswith("_DATABASE_URL")}
        assert {name: variables[name]["value"] for name in addresses} == expected
    assert set(importlib.import_module(f"services.{service}.app").service.peers) <= CALLS[service]


def peers_of(rules: list[Document], side: str) -> list[Document]:
    return [peer for rule in rules for peer in rule.get(side, [])]


def components(peers: list[Document]) -> set[str]:
    selectors = [peer["podSelector"].get("matchLabels", {}) for peer in peers if "podSelector" in peer]
    return {labels["app.kubernetes.io/component"] for labels in selectors if labels}


def test_network_policies_let_calls_go_one_way_round_only():
    policies = of_kind(render({"networkPolicy": {"callers": []}}), "NetworkPolicy")
    assert set(policies) == set(ALL_PORTS)
    for component, policy in policies.items():
        service = component.removesuffix("-worker")
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert components(peers_of(policy["spec"]["egress"], "to")) == CALLS[service]
        callers = {caller for caller, called in CALLS.items() if component in called}
        expected = callers | {f"{caller}-worker" for caller in callers}
        assert components(peers_of(policy["spec"]["ingress"], "from")) == expected


def test_whoever_is_let_out_to_a_service_is_let_in_there():
    policies = of_kind(render({}), "NetworkPolicy")
    labels = {
        name: d["spec"]["template"]["metadata"]["labels"] for name, d in of_kind(render({}), "Deployment").items()
    }
    for caller, policy in policies.items():
        for rule in policy["spec"]["egress"]:
            for called in components(rule.get("to", [])):
                assert rule["ports"] == [{"port": PORTS[called], "protocol": "TCP"}]
                (let_in,) = policies[called]["spec"]["ingress"]
                assert let_in["ports"] == rule["ports"]
                selectors = [peer["podSelector"].get("matchLabels") for peer in let_in["from"] if "podSelector" in peer]
                assert any(selector and matches(selector, labels[caller]) for selector in selectors)


def test_prometheus_is_let_in_to_every_process_and_callers_to_the_services_only():
    chosen = INSTALLATIONS["chosen in every place"]
    for component, policy in of_kind(render(chosen), "NetworkPolicy").items():
        let_in = peers_of(policy["spec"]["ingress"], "from")
        assert all(peer in let_in for peer in chosen["networkPolicy"]["scrapers"])
        assert (chosen["networkPolicy"]["callers"][0] in let_in) == (component in PORTS)


def test_an_empty_list_of_callers_lets_nobody_in_and_never_everybody():
    policies = of_kind(render(INSTALLATIONS["nobody may call"]), "NetworkPolicy")
    assert policies["feedback"]["spec"]["ingress"] == []  # nobody calls feedback
    assert policies["audience-worker"]["spec"]["ingress"] == []
    for policy in policies.values():
        assert all(rule.get("from") for rule in policy["spec"]["ingress"])


def test_the_database_is_reached_where_the_values_say():
    values = INSTALLATIONS["chosen in every place"]["networkPolicy"]["database"]
    for policy in of_kind(render({"networkPolicy": {"database": values}}), "NetworkPolicy").values():
        assert {"ports": [{"port": 6432, "protocol": "TCP"}], "to": values["to"]} in policy["spec"]["egress"]


def test_the_dashboard_in_the_cluster_is_the_file():
    (found,) = (document for document in render({}) if document["kind"] == "ConfigMap")
    files = {path.name: path.read_text() for path in (CHART / "dashboards").glob("*.json")}
    assert found["data"] == files
    assert json.loads(files["attune.json"])["uid"] == "attune"
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_alerts_in_the_cluster_are_the_file():
    rule = of_kind(render(INSTALLATIONS["everything shown"]), "PrometheusRule")["monitoring"]
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert rule["spec"] == yaml.safe_load((CHART / "alerts" / "attune.yaml").read_text())
    assert rule["metadata"]["labels"]["release"] == "prometheus"


def test_the_service_monitor_reads_every_process_under_the_job_that_dashboard_and_alerts_name():
    documents = render(OPERATOR)
    monitor = of_kind(documents, "ServiceMonitor")["monitoring"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    selector = monitor["spec"]["selector"]["matchLabels"]
    services = [document for document in documents if document["kind"] == "Service"]
    assert len(services) == len(ALL_PORTS)
    (endpoint,) = monitor["spec"]["endpoints"]
    for service in services:
        labels = service["metadata"]["labels"]
        assert matches(selector, labels)
        assert labels[monitor["spec"]["jobLabel"]] == "attune"
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    # Without it Prometheus would rename the label by which dashboard and alerts tell the services apart.
    assert endpoint["honorLabels"] is True
    assert endpoint["path"] == "/metrics"
