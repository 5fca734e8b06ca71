"""The image: hash-pinned, without root, without secrets, with everything it runs and nothing else."""

import importlib.util
import json
import re
import subprocess

import pytest

from shared.settings import PORTS, WORKER_PORTS, Settings
from tests.deployment.compose import (
    ROOT,
    copied_from_source,
    health_command,
    image_environment,
    image_files,
    instructions,
    let_in,
    of_last_stage,
    text_of,
)


def test_every_requirement_is_pinned_with_its_hashes():
    text = text_of("requirements/run.txt").replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(pins) > 30
    for pin in pins:
        assert re.match(r"^[A-Za-z0-9._-]+(\[[a-z0-9,_-]+\])?==\S+\s.*--hash=sha256:[0-9a-f]{64}", pin), pin
    (install,) = [i.rest for i in instructions() if i.name == "RUN" and "pip install" in i.rest]
    assert "--require-hashes" in install
    assert "--only-binary :all:" in install
    assert ("requirements/run.txt", "/build/") in copied_from_source()


def test_the_image_runs_as_a_numbered_user_that_is_not_root():
    (user,) = of_last_stage("USER")
    number, _, group = user.partition(":")
    assert int(number) > 0
    assert int(group) > 0


def test_the_last_stage_installs_nothing():
    names = {instruction.name for instruction in instructions() if instruction.stage == instructions()[-1].stage}
    assert "ADD" not in names
    assert all(rest.startswith("--from=build") for rest in of_last_stage("COPY"))
    assert not [rest for rest in of_last_stage("RUN") if "pip" in rest or "apt" in rest]


def test_the_image_holds_no_setting_but_where_to_listen():
    own = {name: value for name, value in image_environment().items() if name.startswith("ATTUNE_")}
    assert own == {"ATTUNE_HOST": "0.0.0.0"}  # noqa: S104 (inside a container, that is what is meant)
    assert not [i for i in instructions() if i.name == "ARG" and not i.rest.startswith("PYTHON_IMAGE=")]


def test_the_image_listens_on_all_ports_of_the_settings():
    (exposed,) = of_last_stage("EXPOSE")
    assert {int(port) for port in exposed.split()} == {*PORTS.values(), *WORKER_PORTS.values()}


def test_every_command_named_in_the_dockerfile_is_a_module_of_the_image():
    (default,) = of_last_stage("CMD")
    named = set(re.findall(r"python -m ([a-z.]+)", text_of("Dockerfile"))) | {json.loads(default)[2]}
    assert {"services.cli", "services.audience"} <= named
    for module in named - {"venv", "compileall"}:
        assert importlib.util.find_spec(module) is not None, module


def test_all_source_under_version_control_gets_into_the_image_and_nothing_else():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "services", "shared", "requirements/run.txt"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git working tree")
    expected = {line for line in listed.stdout.splitlines() if (ROOT / line).is_file()}
    found = {str(path.relative_to(ROOT)) for path, _ in image_files()}
    assert found == expected
    assert any(name.endswith(".sql") for name in found)


@pytest.mark.parametrize(
    "path",
    [".env", ".git/config", ".venv/bin/python", "tests/conftest.py", "helm/values.yaml", "docker-compose.yml",
     ".attune/secret", "services/__pycache__/cli.cpython-311.pyc", "shared/stats/__pycache__/x.pyc", "data.csv.gz"],
)  # fmt: skip
def test_secrets_and_leftovers_stay_outside(path):
    assert not let_in(path)


def test_the_health_check_asks_the_port_that_the_settings_name():
    script = health_command()[-1]
    names = set(re.findall(r"ATTUNE_[A-Z_]+", script))
    assert names == {"ATTUNE_PORT", "ATTUNE_WORKER_PORT"}
    assert {name.removeprefix("ATTUNE_").lower() for name in names} <= set(Settings.model_fields)
