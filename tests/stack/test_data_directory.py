"""What an installation keeps on disk."""

import io
import socket
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from services.stack.data_directory import SECRETS, DataDirectory, Running
from services.stack.status import show_status
from services.stack.trouble import Trouble

RUNNING = Running(
    process=4711, addresses={"audience": "http://127.0.0.1:8001"}, workers={}, database_port=None, ready=True
)


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path / "data")
    made.prepare()
    return made


def test_secrets_are_made_once_and_readable_by_their_owner_only(directory: DataDirectory) -> None:
    first = directory.secrets({})
    assert len(set(first.values())) == len(SECRETS)
    assert all(len(secret) >= 43 for secret in first.values())
    assert directory.secrets({}) == first
    modes = {stat.S_IMODE((directory.path / file).stat().st_mode) for file in SECRETS.values()}
    assert modes == {0o600}


def test_a_secret_from_the_environment_is_used_and_never_kept(directory: DataDirectory) -> None:
    given = {"ATTUNE_BOOTSTRAP_KEY": "mine"}
    assert directory.secrets(given)["ATTUNE_BOOTSTRAP_KEY"] == "mine"
    assert not (directory.path / "bootstrap-key").exists()
    assert directory.secrets({})["ATTUNE_BOOTSTRAP_KEY"] != "mine"


def test_others_may_pass_through_the_directory_but_not_list_it(directory: DataDirectory) -> None:
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o711
    assert stat.S_IMODE(directory.logs.stat().st_mode) == 0o700


def test_a_second_stack_on_the_same_directory_is_refused_and_told_where_the_first_answers(
    directory: DataDirectory,
) -> None:
    with directory.locked():
        directory.say_running(RUNNING)
        with (
            pytest.raises(Trouble, match=r"already running .*process 4711: http://127\.0\.0\.1:8001.*--data-dir"),
            DataDirectory(directory.path).locked(),
        ):
            raise AssertionError("two stacks on one directory")


def test_what_runs_is_known_while_it_runs_and_not_after(directory: DataDirectory) -> None:
    assert directory.running() is None
    with directory.locked():
        directory.say_running(RUNNING)
        assert DataDirectory(directory.path).running() == RUNNING
    assert directory.running() is None


def test_a_stack_that_was_killed_is_not_taken_for_running(directory: DataDirectory) -> None:
    directory.say_running(RUNNING)  # its file is left, its lock went with it
    assert directory.running() is None
    with directory.locked():
        assert directory.running() is None or directory.running() == RUNNING


def test_a_place_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Trouble, match="cannot be used"):
        DataDirectory(tmp_path / "file" / "data").prepare()


def test_parts_that_hang_cost_the_status_one_time_out_and_not_one_each(directory: DataDirectory) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as hanging:
        address = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        names = ("audience", "experiments", "feedback")
        running = RUNNING.model_copy(
            update={"addresses": dict.fromkeys(names, address), "workers": dict.fromkeys(names, address)}
        )
        shown = io.StringIO()
        with directory.locked():
            directory.say_running(running)
            began = time.monotonic()
            assert not show_status(directory.path, Console(file=shown, width=200))
    assert time.monotonic() - began < 5
    assert shown.getvalue().count("does not answer") == 6
