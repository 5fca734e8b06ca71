"""What docker-compose.yml describes really runs: with these files, these variables, without root, writing nothing."""

import importlib
import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.deployment.compose import health_command
from tests.deployment.running import ALL_PORTS, SECRETS, Running, deployed, stop

pytestmark = pytest.mark.slow


@pytest.fixture
def confined(running: Running) -> Running:
    if not running.confined:
        pytest.skip("confining a process like a container needs root, unshare, setpriv and a checkout outside /tmp")
    return running


@pytest.mark.parametrize("name", ALL_PORTS)
def test_every_process_answers_on_its_port(running, name):
    assert httpx.get(f"{running.url(name)}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{running.url(name)}/readyz").is_success
    assert "attune_" in httpx.get(f"{running.url(name)}/metrics").text


@pytest.mark.parametrize("name", ["audience", "experiments", "feedback"])
def test_every_service_reaches_its_database_and_its_peers(running, name):
    peers = importlib.import_module(f"services.{name}.app").service.peers
    ready = httpx.get(f"{running.url(name)}/readyz").json()
    assert ready == {"status": "ok", "database": "ok", "peers": dict.fromkeys(peers, "ok")}


@pytest.mark.parametrize("name", ["audience", "feedback-worker"])
def test_the_health_check_of_the_image_says_whether_the_process_answers(running, name):
    environment = {"PATH": os.environ["PATH"]} | running.environment(name)
    assert subprocess.run(health_command(), env=environment, capture_output=True).returncode == 0
    for variable in ("ATTUNE_PORT", "ATTUNE_WORKER_PORT"):
        if variable in environment:
            environment[variable] = "1"  # nobody listens there
    assert subprocess.run(health_command(), env=environment, capture_output=True).returncode != 0


def test_the_bootstrap_key_opens_every_service_and_a_wrong_one_none(running):
    for name in ("audience", "experiments", "feedback"):
        for key, status in ((SECRETS["ATTUNE_BOOTSTRAP_KEY"], 200), ("wrong", 401)):
            answer = httpx.get(f"{running.url(name)}/v1/jobs", headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == status


@pytest.mark.parametrize("name", ALL_PORTS)
def test_no_process_has_root_a_capability_to_change_anything_or_a_writable_root(confined, name):
    process = Path(f"/proc/{confined.processes[name].pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == {"10001"}
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapEff"], 16) == 1 << 2  # reading what others own, and nothing else
    mounts = [line.split() for line in (process / "mounts").read_text().splitlines()]
    (options,) = [options for _, place, _, options, *_ in mounts if place == "/"]
    assert "ro" in options.split(",")


def test_nothing_was_written_into_the_image(running):
    written = [path for path in (running.image / "app").rglob("*") if path.name.endswith(".pyc")]
    assert written == []


def test_a_service_and_its_worker_end_cleanly_when_they_are_asked_to(postgres_url):
    with deployed(postgres_url, ["experiments", "experiments-worker"]) as running:
        ended = stop(running.processes)
    # A service passes the signal on to itself when it has drained, so that its parent sees it.
    assert ended == {"experiments": -signal.SIGTERM, "experiments-worker": 0}
