"""The `attune` command without a stack: what it says when something is not there."""

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from services.stack.ports import free_base, is_free, ports_of

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = {"ATTUNE_DATABASE_URL": "postgresql://a:b@127.0.0.1:1/x"}
BARE = {"PATH": "/usr/bin:/bin", "COLUMNS": "200"}


def attune(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        env=BARE | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def refused(*arguments: str, **environment: str) -> str:
    """What the command says on its way out with status 1; people are never shown a traceback."""
    done = attune(*arguments, **environment)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["status"], {}, "No stack is running on"),
        (["migrate"], {}, "No stack is running on"),
        (["migrate"], {"ATTUNE_DATABASE_URL": "mysql://a:b@host/x"}, "must name a Postgres database"),
        (["migrate"], {"ATTUNE_DATABASE_URL": "no address"}, "ATTUNE_DATABASE_URL cannot be read"),
        (["migrate"], NOWHERE, "Set ATTUNE_AUDIENCE_DATABASE_URL, or both"),
        (["migrate"], {**NOWHERE, "ATTUNE_SECRET": "s"}, "The database cannot be reached"),
        (["keys", "list"], NOWHERE, "The database cannot be reached"),
        (["keys", "create", "crm", "--scope", "audience:read"], NOWHERE, "Set ATTUNE_SECRET"),
        (["demo", "--url", "http://127.0.0.1"], {}, "Give the API key"),
        (["demo", "--url", "127.0.0.1"], {"ATTUNE_KEY": "k"}, "--url must be like http://127.0.0.1"),
        (["demo", "--url", "http://127.0.0.1", "--port-base", "1024"], {"ATTUNE_KEY": "k"}, "does not answer"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(
    arguments: list[str], environment: Mapping[str, str], says: str, tmp_path: Path
) -> None:
    assert says in refused(*arguments, ATTUNE_DATA_DIR=str(tmp_path), **environment)


def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    base = free_base()
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports_of(base)["experiments"]))
        other.listen()
        said = refused("up", "--data-dir", str(tmp_path), "--port-base", str(base))
    assert f"Port {base + 2} is taken" in said
    assert "--port-base" in said
    assert not (tmp_path / "postgres").exists()


def test_ports_are_counted_from_their_base() -> None:
    assert ports_of(8000) == {
        "audience": 8001, "experiments": 8002, "feedback": 8003,
        "audience worker": 8011, "experiments worker": 8012, "feedback worker": 8013, "Postgres": 8032,
    }  # fmt: skip


def test_a_free_base_has_no_taken_port() -> None:
    base = free_base()
    assert all(is_free(port) for port in ports_of(base).values())


@pytest.mark.parametrize("replay", ["hillstrom", "online-retail"])
def test_a_replay_of_another_file_names_the_missing_columns(replay: str, tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("a,b\n1,2\n")
    said = refused("replay", replay, str(file), "--url", "http://127.0.0.1", "--port-base", "1024", ATTUNE_KEY="k")
    assert "is not the file meant here: it has no column" in said


@pytest.mark.parametrize("command", [[], ["up"], ["demo"], ["replay", "hillstrom"], ["keys", "create"], ["status"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    done = attune(*command, "--help")
    assert done.returncode == 0
    assert "Usage: attune" in done.stdout
