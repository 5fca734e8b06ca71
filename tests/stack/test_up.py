"""`attune up`, for real: a stack that is used, hurt, stopped and started again."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil
import pytest

from services.stack.data_directory import DataDirectory
from services.stack.ports import free_base
from services.stack.target import Target, running_target

ROOT = Path(__file__).resolve().parents[2]
ANSWERS_WITHIN = 60.0  # seconds, on a machine that is busy with other tests


class Up:
    """An `attune up` that runs, and what it printed."""

    def __init__(self, directory: Path, base: int) -> None:
        self.directory = DataDirectory(directory)
        self.base = base
        self._output = directory.parent / "up.log"
        self._log = self._output.open("wb")
        self.process = self._popen()

    def _popen(self) -> "subprocess.Popen[bytes]":
        command = ["up", "--data-dir", str(self.directory.path), "--port-base", str(self.base)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ATTUNE_")}
        return subprocess.Popen(
            [sys.executable, "-m", "services.cli", *command],
            cwd=ROOT,
            env=environment | {"COLUMNS": "200", "ATTUNE_STOP_WITH_PARENT": "yes"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    @property
    def said(self) -> str:
        return self._output.read_text(encoding="utf-8")

    def wait_for(self, words: str, times: int = 1) -> None:
        end = time.monotonic() + ANSWERS_WITHIN
        while self.said.count(words) < times:
            assert time.monotonic() < end, f"did not say {words!r}:\n{self.said}"
            assert self.process.poll() is None, self.said
            time.sleep(0.05)

    def part(self, words: str) -> psutil.Process:
        """The child process whose command has these words."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(child for child in children if words in " ".join(child.cmdline()))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def again(self) -> None:
        self.process = self._popen()

    def target(self) -> Target:
        return running_target(self.directory.path, {})

    def attune(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Another command on the same data directory."""
        return subprocess.run(
            [sys.executable, "-m", "services.cli", *arguments, "--data-dir", str(self.directory.path)],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "COLUMNS": "250"},
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    # No folder of pytest's: Postgres, as its own user, must reach its own, and another run closes those for others.
    with TemporaryDirectory(prefix="attune-test-up-") as folder:
        Path(folder).chmod(0o711)
        made = Up(Path(folder) / "data", free_base())
        try:
            made.wait_for("workers are running")
            yield made
        finally:
            if made.process.poll() is None:
                made.stop()


@pytest.fixture
def audience(up: Up) -> Iterator[httpx.Client]:
    target = up.target()
    with httpx.Client(base_url=target.audience, headers=_key(target.key), timeout=30) as client:
        yield client


def _key(key: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {key}"}


def _answers_again(url: str, key: str) -> None:
    end = time.monotonic() + ANSWERS_WITHIN
    while True:
        try:
            if httpx.get(url, headers=_key(key), timeout=5).is_success:
                return
        except httpx.TransportError:
            pass  # nobody listens yet
        assert time.monotonic() < end, f"{url} does not answer"
        time.sleep(0.1)


def test_it_prints_addresses_docs_and_the_key_that_opens_them(up: Up, audience: httpx.Client) -> None:
    for offset in (1, 2, 3):
        address = f"http://127.0.0.1:{up.base + offset}"
        assert f"{address}/docs" in up.said
        assert httpx.get(f"{address}/docs").is_success
    printed = re.search(r"API key\s+(\S+)", up.said)
    assert printed is not None
    assert httpx.get(f"{audience.base_url}/v1/segments", headers=_key(printed[1])).is_success
    assert httpx.get(f"{audience.base_url}/v1/segments", headers=_key("another")).status_code == 401


def test_no_secret_shows_in_the_list_of_processes_or_in_a_log(up: Up) -> None:
    secrets = up.directory.secrets({}).values()
    parent = psutil.Process(up.process.pid)
    commands = " ".join(" ".join(each.cmdline()) for each in (parent, *parent.children(recursive=True)))
    logs = "".join(log.read_text(encoding="utf-8", errors="replace") for log in up.directory.logs.iterdir())
    assert "services.audience" in commands
    assert logs
    for secret in secrets:
        assert secret not in commands
        assert secret not in logs


def test_a_service_knows_the_database_only_by_its_own_login(up: Up) -> None:
    environment = up.part("services.feedback serve").environ()
    logins = {name: value for name, value in environment.items() if name.endswith("DATABASE_URL")}
    assert list(logins) == ["ATTUNE_FEEDBACK_DATABASE_URL"]
    assert "//attune_feedback:" in logins["ATTUNE_FEEDBACK_DATABASE_URL"]


def test_status_shows_every_part(up: Up) -> None:
    done = up.attune("status")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("answers") == 6


def test_keys_are_made_used_listed_and_revoked(up: Up, audience: httpx.Client) -> None:
    made = up.attune("keys", "create", "campaign tool", "--scope", "audience:read")
    assert made.returncode == 0, made.stderr
    key = made.stdout.split()[-1]
    identifier = key.split(".")[1]
    assert audience.get("/v1/segments", headers=_key(key)).is_success
    assert audience.put("/v1/attributes/age", json={"type": "number"}, headers=_key(key)).status_code == 403
    listed = up.attune("keys", "list").stdout
    assert identifier in listed
    assert "campaign tool" in listed
    assert key.split(".")[2] not in listed
    revoked = up.attune("keys", "revoke", identifier)
    assert (revoked.returncode, "in 5 seconds at the latest" in revoked.stdout) == (0, True)
    end = time.monotonic() + 10
    while audience.get("/v1/segments", headers=_key(key)).status_code != 401:
        assert time.monotonic() < end, "a revoked key still opens"
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["keys", "create", "crm", "--scope", "everything"], "A key needs scopes out of"),
        (["keys", "create", "", "--scope", "audience:read"], "A key needs a name"),
        (["keys", "create", "  ", "--scope", "audience:read"], "A key needs a name"),
        (["keys", "create", "x" * 201, "--scope", "audience:read"], "A key needs a name"),
        (["keys", "create", "crm", "--scope", "audience:read", "--expires", "2020-01-01"], "would be refused"),
        (["keys", "revoke", "0" * 32], "There is no API key"),
        (["keys", "revoke", "nonsense"], "There is no API key"),
    ],
)
def test_what_no_key_can_be_is_said(up: Up, arguments: list[str], says: str) -> None:
    done = up.attune(*arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_migrating_again_changes_nothing(up: Up) -> None:
    done = up.attune("migrate")
    assert (done.returncode, done.stdout.strip()) == (0, "The database is up to date.")


def test_a_second_start_on_the_same_directory_is_told_who_runs(up: Up) -> None:
    done = up.attune("up", "--port-base", str(free_base()))
    assert done.returncode == 1
    assert f"already running on {up.directory.path} (process {up.process.pid}:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_service_comes_back(up: Up) -> None:
    killed = up.part("services.experiments serve")
    killed.kill()
    up.wait_for("experiments was killed by signal 9; starting it again")
    up.wait_for("experiments was started again")
    up.wait_for("experiments answers again after")
    target = up.target()
    _answers_again(f"{target.experiments}/readyz", target.key)
    assert up.part("services.experiments serve").pid != killed.pid


def test_a_killed_worker_comes_back(up: Up) -> None:
    up.part("services.audience worker").kill()
    up.wait_for("audience worker was started again")
    _answers_again(f"http://127.0.0.1:{up.base + 11}/healthz", up.target().key)


def test_a_killed_postgres_comes_back_and_what_was_acknowledged_is_there(up: Up, audience: httpx.Client) -> None:
    assert audience.put("/v1/attributes/kept_over_a_crash", json={"type": "number"}).is_success
    up.part("postgres -D").kill()
    up.wait_for("Postgres was killed by signal 9; starting it again")
    up.wait_for("Postgres was started again")
    target = up.target()
    for address in (target.audience, target.experiments, target.feedback):
        _answers_again(f"{address}/readyz", target.key)
    _answers_again(f"{target.audience}/v1/attributes/kept_over_a_crash", target.key)


def test_it_stops_cleanly_and_a_second_start_has_the_same_data_and_key(up: Up, audience: httpx.Client) -> None:
    assert audience.put("/v1/attributes/kept_over_a_stop", json={"type": "number"}).is_success
    key = up.target().key
    parts = psutil.Process(up.process.pid).children(recursive=True)
    assert up.stop() == 0
    assert not [part for part in parts if part.is_running() and part.status() != psutil.STATUS_ZOMBIE]
    assert up.said.rstrip().endswith("stopped")
    assert "was killed\n" not in up.said
    assert up.attune("status").returncode == 1
    up.again()
    up.wait_for("workers are running", times=2)
    assert up.target().key == key
    assert audience.get("/v1/attributes/kept_over_a_stop").is_success
