"""docker-compose.yml agrees with the settings, the image and the files it mounts."""

import importlib
import json
import re
import subprocess

import pytest
import yaml

from services.stack.postgres import SETTINGS as EMBEDDED
from shared.settings import PORTS, SERVICES, WORKER_PORTS, Settings
from tests.deployment.compose import ROOT, composed, mounts, text_of, variables

ENVIRONMENT = {name: f"value-of-{name.lower().replace('_', '-')}" for name, kind in variables().items() if kind != ":-"}
COMPOSED = composed(ENVIRONMENT)
SERVED = COMPOSED["services"]
OWN = {name: service for name, service in SERVED.items() if service["image"].startswith("attune:")}
ALL_PORTS = PORTS | {f"{service}-worker": port for service, port in WORKER_PORTS.items()}

CALLS = {"audience": set(), "experiments": {"audience"}, "feedback": {"audience", "experiments"}}


def service_of(name: str) -> str:
    return name.removesuffix("-worker")


def test_everything_is_there_and_all_of_attune_is_one_image():
    assert set(SERVED) == {"postgres", "migrate", *ALL_PORTS, "prometheus", "grafana"}
    assert set(OWN) == {"migrate", *ALL_PORTS}
    assert len({service["image"] for service in OWN.values()}) == 1
    assert [name for name, service in SERVED.items() if "build" in service] == ["migrate"]


def test_every_image_names_a_version():
    for name, service in SERVED.items():
        tag = service["image"].rpartition(":")[2]
        assert re.search(r"\d+\.\d+", tag), f"{name}: {service['image']}"


@pytest.mark.parametrize("name", SERVED)
def test_every_container_is_read_only_without_capabilities_or_new_privileges(name):
    service = SERVED[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert "/tmp" in service["tmpfs"]  # noqa: S108
    assert not service.get("privileged")
    assert service.get("network_mode") is None


def test_postgres_quotes_no_rows_in_its_log():
    program, *options = SERVED["postgres"]["command"]
    assert program == "postgres"
    assert set(options[::2]) == {"-c"}
    given = dict(option.split("=") for option in options[1::2])
    quiet = {name: value for name, value in EMBEDDED.items() if name.startswith("log_")}
    assert given.items() >= quiet.items()


def test_only_loopback_ports_are_published():
    for name, service in SERVED.items():
        for published in service.get("ports", []):
            host, outside, inside = published.split(":")
            assert host == "127.0.0.1", name
            assert outside == inside


def test_services_are_published_on_their_ports_and_workers_not_at_all():
    for name in ALL_PORTS:
        expected = [f"127.0.0.1:{ALL_PORTS[name]}:{ALL_PORTS[name]}"] if name in PORTS else []
        assert SERVED[name].get("ports", []) == expected


@pytest.mark.parametrize("name", OWN)
def test_commands_are_modules_that_serve_work_or_migrate(name):
    python, flag, module, command = OWN[name]["command"]
    assert (python, flag) == ("python", "-m")
    expected = ("services.cli", "migrate")
    if name != "migrate":
        expected = (f"services.{service_of(name)}", "worker" if name.endswith("-worker") else "serve")
    assert (module, command) == expected
    assert importlib.util.find_spec(module) is not None
    if module != "services.cli":
        assert importlib.util.find_spec(f"{module}.__main__") is not None


@pytest.mark.parametrize("name", OWN)
def test_every_variable_is_one_the_settings_know(name):
    known = {f"ATTUNE_{field.upper()}" for field in Settings.model_fields}
    assert set(OWN[name]["environment"]) <= known


@pytest.mark.parametrize("name", ALL_PORTS)
def test_each_process_knows_its_own_database_its_port_and_the_peers_it_calls(name, monkeypatch):
    environment = OWN[name]["environment"]
    service = service_of(name)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    role = settings.database_of(service)
    assert role.startswith(f"postgresql://attune_{service}:")
    assert role.endswith("@postgres:5432/attune")
    assert [v for v in environment if v.endswith("DATABASE_URL")] == [f"ATTUNE_{service.upper()}_DATABASE_URL"]
    port = settings.worker_port_of(service) if name.endswith("-worker") else settings.port_of(service)
    assert port == ALL_PORTS[name]
    urls = {v[7:-4].lower(): url for v, url in environment.items() if v.endswith("_URL") and "DATABASE" not in v}
    assert urls == {peer: f"http://{peer}:{PORTS[peer]}" for peer in CALLS[service]}
    assert set(importlib.import_module(f"services.{service}.app").service.peers) <= set(urls)


def test_only_the_migration_knows_the_owner_of_the_tables():
    owners = [name for name, service in OWN.items() if "ATTUNE_DATABASE_URL" in service["environment"]]
    assert owners == ["migrate"]
    postgres = SERVED["postgres"]["environment"]
    url = OWN["migrate"]["environment"]["ATTUNE_DATABASE_URL"]
    user, password, database = (postgres[f"POSTGRES_{part}"] for part in ("USER", "PASSWORD", "DB"))
    assert url == f"postgresql://{user}:{password}@postgres:5432/{database}"


def test_the_migration_makes_the_roles_that_the_services_log_in_with():
    for service in SERVICES:
        variable = f"ATTUNE_{service.upper()}_DATABASE_URL"
        assert OWN["migrate"]["environment"][variable] == OWN[service]["environment"][variable]


def test_the_bootstrap_key_goes_to_the_services_only():
    holders = [name for name, service in OWN.items() if "ATTUNE_BOOTSTRAP_KEY" in service["environment"]]
    assert holders == list(SERVICES)


def test_no_secret_is_written_down_and_each_is_required():
    kinds = variables()
    optional = {name for name, kind in kinds.items() if kind == ":-"}
    assert optional == {"ATTUNE_VERSION", "ATTUNE_CURRENCY", "ATTUNE_LOG_LEVEL", "ATTUNE_GLOBAL_CONTROL_SHARE"}
    assert {kind for name, kind in kinds.items() if name not in optional} == {":?"}
    for name in ENVIRONMENT:
        with pytest.raises(KeyError, match=name):
            composed({key: value for key, value in ENVIRONMENT.items() if key != name})
    for service in SERVED.values():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"SECRET|PASSWORD|KEY$|DATABASE_URL", variable):
                assert "value-of-" in value, variable


def test_the_example_names_every_required_variable_and_holds_no_value():
    lines = [line for line in text_of(".env.example").splitlines() if line and not line.startswith("#")]
    assert {line.removesuffix("=") for line in lines} == set(ENVIRONMENT)
    assert all(line.endswith("=") for line in lines)


@pytest.mark.needs("openssl")
def test_the_command_in_the_example_makes_a_secret_for_each_variable(tmp_path):
    (command,) = re.findall(r"^# +(sed .*)$", text_of(".env.example"), flags=re.MULTILINE)
    (tmp_path / ".env.example").write_text(text_of(".env.example"))
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    made = dict(line.split("=") for line in (tmp_path / ".env").read_text().splitlines())
    assert set(made) == set(ENVIRONMENT)
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in made.values())
    assert len(set(made.values())) == len(made)


def test_a_made_env_file_is_never_committed():
    asked = subprocess.run(["git", "check-ignore", "--quiet", ".env"], cwd=ROOT)
    if asked.returncode == 128:
        pytest.skip("not a git working tree")
    assert asked.returncode == 0


@pytest.mark.parametrize("name", sorted(set(SERVED) - {"migrate"}))
def test_everything_that_stays_up_has_a_health_check(name):
    check = SERVED[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)
    if name in ALL_PORTS:
        path = "/healthz" if name.endswith("-worker") else "/readyz"
        assert f"'http://127.0.0.1:{ALL_PORTS[name]}{path}'" in check["test"][-1]


def test_nothing_starts_before_what_it_needs():
    needs = {name: service.get("depends_on", {}) for name, service in SERVED.items()}
    assert needs["migrate"] == {"postgres": {"condition": "service_healthy"}}
    for name in ALL_PORTS:
        assert needs[name]["migrate"] == {"condition": "service_completed_successfully"}
        if name.endswith("-worker"):
            assert needs[name][service_of(name)] == {"condition": "service_healthy"}
    for wanted in needs.values():
        for other, how in wanted.items():
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVED[other]


def test_every_mounted_file_exists_and_cannot_be_changed_from_inside():
    volumes, files = set(), set()
    for service in SERVED.values():
        for source, _, mode in mounts(service):
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert mode == "ro", source
                files.add(source)
            else:
                volumes.add(source)
    assert volumes == set(COMPOSED["volumes"])
    assert {"./helm/dashboards", "./helm/alerts/attune.yaml"} <= files


def test_prometheus_reads_every_process_and_the_alerts():
    config = yaml.safe_load(text_of("helm/compose/prometheus.yaml"))
    (job,) = config["scrape_configs"]
    targets = [target for group in job["static_configs"] for target in group["targets"]]
    assert sorted(targets) == sorted(f"{name}:{port}" for name, port in ALL_PORTS.items())
    assert job["job_name"] == "attune"
    inside = {target: source for source, target, _ in mounts(SERVED["prometheus"])}
    assert config["rule_files"] == ["/etc/prometheus/alerts/*.yaml"]
    assert inside["/etc/prometheus/alerts/attune.yaml"] == "./helm/alerts/attune.yaml"
    (file,) = [part for part in SERVED["prometheus"]["command"] if part.startswith("--config.file=")]
    assert inside[file.partition("=")[2]] == "./helm/compose/prometheus.yaml"


def test_grafana_finds_its_data_source_and_the_dashboard():
    inside = {target: source for source, target, _ in mounts(SERVED["grafana"])}
    provisioning = "/etc/grafana/provisioning"
    (source,) = yaml.safe_load(text_of(inside[f"{provisioning}/datasources/attune.yaml"]))["datasources"]
    host, port = re.fullmatch(r"http://([a-z]+):(\d+)", source["url"]).groups()
    assert any(published.endswith(f":{port}") for published in SERVED[host]["ports"])
    (provider,) = yaml.safe_load(text_of(inside[f"{provisioning}/dashboards/attune.yaml"]))["providers"]
    folder = ROOT / inside[provider["options"]["path"]]
    (dashboard,) = [json.loads(path.read_text()) for path in folder.iterdir()]
    (chosen,) = [v for v in dashboard["templating"]["list"] if v["type"] == "datasource"]
    assert chosen["query"] == source["type"] == "prometheus"
