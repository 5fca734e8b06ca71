"""The `attune` command. Each command is a few lines here; what it does stands in `stack` and `demo`."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console

from services.stack.data_directory import default_data_directory
from services.stack.ports import DEFAULT_BASE
from services.stack.target import Target, checked, named_target, owner_settings, running_target, with_secret
from services.stack.trouble import Trouble

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    help="Attune: know the customers, try on some, learn from what they do.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
replays = typer.Typer(
    help="Load real data through the services' doors and show what they make of it.", no_args_is_help=True
)
keys = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)
app.add_typer(replays, name="replay")
app.add_typer(keys, name="keys")

console = Console(width=None if sys.stdout.isatty() else 120)
problems = Console(stderr=True)

DataDirectory = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="ATTUNE_DATA_DIR",
        default_factory=default_data_directory,
        show_default="~/.local/share/attune, for root /var/lib/attune",
        help="Where database, secrets and logs are kept.",
    ),
]
OtherStack = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Use the stack that runs on this data directory."),
]
PortBase = Annotated[
    int,
    typer.Option(
        envvar="ATTUNE_PORT_BASE",
        min=1024,
        max=65_000,
        help="Services listen on this + 1 to 3, workers on + 11 to 13, the embedded Postgres on + 32.",
    ),
]
Url = Annotated[
    str | None,
    typer.Option(help="Use the stack on this host, like http://127.0.0.1 (its ports follow --port-base)."),
]
Key = Annotated[
    str | None,
    typer.Option(envvar="ATTUNE_KEY", help="The API key for it. Others can see command lines: better set ATTUNE_KEY."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object with every figure at full precision.")]
DataFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV, plain or gzipped.")]


def for_people(command: Callable[P, R]) -> Callable[P, R]:
    """Show what people can act on as a sentence; anything else keeps its traceback, because it is a defect."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        from sqlalchemy.exc import OperationalError

        from shared.errors import DomainError

        try:
            return command(*args, **kwargs)
        except (Trouble, DomainError) as trouble:
            _complain(str(trouble))
        except OperationalError as error:
            _complain(f"The database cannot be reached: {str(error.orig).strip()}")
        except KeyboardInterrupt:
            _complain("Interrupted.", status=130)
        raise AssertionError("complaining ends the command")

    return run


def _complain(what: str, *, status: int = 1) -> None:
    problems.print(what, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(status)


@app.command()
@for_people
def up(
    data_dir: DataDirectory,
    port_base: PortBase = DEFAULT_BASE,
    host: Annotated[str, typer.Option(envvar="ATTUNE_HOST", help="The address to listen on.")] = "127.0.0.1",
) -> None:
    """Run everything on this machine: Postgres, the three services, their workers. Ctrl-C stops it.

    With ATTUNE_DATABASE_URL that Postgres is used (as its owner) instead of an embedded one.
    """
    from services.stack import foreground
    from services.stack.stack import Options

    _only_warnings()
    given = os.environ.get("ATTUNE_DATABASE_URL", "")
    database_url = checked(given) if given else ""
    foreground.up(Options(data_dir, port_base, host, database_url), os.environ, console)


@app.command()
@for_people
def status(data_dir: DataDirectory) -> None:
    """Show what runs on a data directory and whether it answers; exit status 1 where something does not."""
    from services.stack.status import show_status

    if not show_status(data_dir, console):
        raise typer.Exit(1)


@app.command()
@for_people
def migrate(data_dir: DataDirectory) -> None:
    """Bring the database up to date: ATTUNE_DATABASE_URL, or that of the stack running on the data directory."""
    from services.stack.stack import migrate as migrate_database

    _only_warnings()
    migrate_database(owner_settings(data_dir))
    console.print("The database is up to date.")


@app.command()
@for_people
def demo(
    data_dir: OtherStack = None,
    url: Url = None,
    key: Key = None,
    port_base: PortBase = DEFAULT_BASE,
    customers: Annotated[int, typer.Option(min=5_000, max=1_000_000, help="How large the simulated shop is.")] = 50_000,
    reports: Annotated[Path, typer.Option(help="The folder for the two report pages.")] = Path("attune-demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the temporary stack up until Ctrl-C.")] = False,
) -> None:
    """Tell the whole story on a simulated shop whose true effects are known: know, try, learn, know better."""
    import secrets

    from services.demo.story import tell

    # On a stack of its own the story is the same each time; on one that lasts, each telling is a shop of its own.
    own_stack = url is None and data_dir is None
    name = "demo" if own_stack else f"demo-{secrets.token_hex(3)}"
    with _stack_for(url, key, port_base, data_dir) as target:
        told_well = tell(target, console, name=name, customers=customers, reports=reports)
        if keep:
            _stay(target)
    if not told_well:
        raise typer.Exit(1)


@replays.command()
@for_people
def hillstrom(
    file: DataFile,
    as_json: AsJson = False,
    data_dir: OtherStack = None,
    url: Url = None,
    key: Key = None,
    port_base: PortBase = DEFAULT_BASE,
) -> None:
    """A real randomised e-mail campaign: 64,000 customers, two mailings against none."""
    from services.demo import hillstrom as replay

    with _stack_for(url, key, port_base, data_dir) as target:
        _tell(replay.replay(target, file, _progress(as_json)), replay.show, as_json)


@replays.command("online-retail")
@for_people
def online_retail(
    file: DataFile,
    as_json: AsJson = False,
    data_dir: OtherStack = None,
    url: Url = None,
    key: Key = None,
    port_base: PortBase = DEFAULT_BASE,
) -> None:
    """A year of a real shop's invoices: half a million lines, dirty as real data is."""
    from services.demo import online_retail as replay

    with _stack_for(url, key, port_base, data_dir) as target:
        _tell(replay.replay(target, file, _progress(as_json)), replay.show, as_json)


@keys.command("create")
@for_people
def create_key(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    scope: Annotated[list[str], typer.Option(help="What it may do, like audience:read; may be repeated.")],
    data_dir: DataDirectory,
    expires: Annotated[datetime | None, typer.Option(help="When it ends (local time).")] = None,
) -> None:
    """Make an API key. It is shown this once."""
    from shared import auth
    from shared.db import transaction

    settings = with_secret(owner_settings(data_dir))
    with _owner_engine(settings) as engine, transaction(engine) as db:
        identifier, key = auth.create_key(db, settings.secret, name, scope, expires.astimezone() if expires else None)
    console.print(f"Key {identifier} for {name}, shown this once:", markup=False, highlight=False)
    console.print(key, highlight=False, soft_wrap=True)


@keys.command("list")
@for_people
def list_keys(data_dir: DataDirectory) -> None:
    """List all API keys, never their secrets."""
    from services.stack.status import show_keys
    from shared import auth
    from shared.db import read_only

    with _owner_engine(owner_settings(data_dir)) as engine, read_only(engine) as db:
        show_keys(auth.list_keys(db), console)


@keys.command("revoke")
@for_people
def revoke_key(identifier: Annotated[str, typer.Argument(help="The key's id.")], data_dir: DataDirectory) -> None:
    """Revoke an API key; services, which remember keys for five seconds, refuse it then at the latest."""
    from shared import auth
    from shared.db import transaction

    with _owner_engine(owner_settings(data_dir)) as engine, transaction(engine) as db:
        auth.revoke_key(db, identifier)
    said = (
        f"Key {identifier} is revoked; services that remember it refuse it in {auth.FRESH_FOR:g} seconds at the latest."
    )
    console.print(said, highlight=False, soft_wrap=True)


@contextmanager
def _owner_engine(settings: Any) -> Iterator[Any]:
    from shared.db import connect

    engine = connect(settings.database_url, name="attune-command", pool_size=1)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _stack_for(url: str | None, key: str | None, port_base: int, data_dir: Path | None) -> Iterator[Target]:
    """The stack that was named, or a temporary one of the command's own."""
    from services.stack.temporary import temporary_stack

    if url is not None:
        yield named_target(url, port_base, key)
    elif data_dir is not None:
        yield running_target(data_dir)
    else:
        with temporary_stack() as target:
            yield target


def _progress(as_json: bool) -> Callable[[str], None]:
    """Where to say what is going on: beside the answer, never in it."""
    return lambda what: (problems if as_json else console).print(what, style="dim", markup=False, highlight=False)


def _tell(figures: Any, show: Callable[[Any, Console], None], as_json: bool) -> None:
    if as_json:
        typer.echo(figures.model_dump_json(indent=2))
    else:
        show(figures, console)


def _stay(target: Target) -> None:
    import signal

    console.print(f"\nThe stack stays up: {target.audience}  {target.experiments}  {target.feedback}", highlight=False)
    console.print(f"API key {target.key}. Stop with Ctrl-C.", highlight=False, soft_wrap=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


def _only_warnings() -> None:
    """Commands talk to people; what the migrations log is for machines."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


if __name__ == "__main__":
    app(prog_name="attune")
