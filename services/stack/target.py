"""Which running stack a command talks to, and as whom."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from services.stack.data_directory import DataDirectory, Running
from services.stack.ports import ports_of
from services.stack.postgres import owner_password, owner_url
from services.stack.trouble import Trouble
from shared.settings import SERVICES, Settings


@dataclass(frozen=True)
class Target:
    """Three addresses and a key that may use them."""

    audience: str
    experiments: str
    feedback: str
    key: str


def running_target(directory: Path, environment: Mapping[str, str] = os.environ) -> Target:
    """The stack that runs on a data directory, with its bootstrap key.

    Raises
    ------
    Trouble
        When none runs there, or its key is not readable.
    """
    running = running_stack(directory)
    key = environment.get("ATTUNE_KEY") or bootstrap_key(directory, environment)
    return Target(key=key, **{name: running.addresses[name] for name in SERVICES})


def named_target(url: str, base: int, key: str | None, environment: Mapping[str, str] = os.environ) -> Target:
    """The stack on host `url`; `ATTUNE_AUDIENCE_URL` and its sisters name services that listen elsewhere."""
    if not key:
        raise Trouble("Give the API key of that stack as ATTUNE_KEY (or with --key).")
    ports = ports_of(base)
    host = url.rstrip("/")
    if not host.startswith(("http://", "https://")):
        raise Trouble(f"--url must be like http://127.0.0.1, not {url!r}.")
    addresses = {name: environment.get(f"ATTUNE_{name.upper()}_URL") or f"{host}:{ports[name]}" for name in SERVICES}
    return Target(key=key, **addresses)


def running_stack(directory: Path) -> Running:
    """What the stack running on `directory` says of itself. Raises Trouble when none runs."""
    running = DataDirectory(directory).running()
    if running is None:
        raise Trouble(f"No stack is running on {directory}. Start one with `attune up`, or name its --data-dir.")
    return running


def bootstrap_key(directory: Path, environment: Mapping[str, str]) -> str:
    """The admin key of a data directory's stack."""
    key = environment.get("ATTUNE_BOOTSTRAP_KEY") or _kept(directory, "ATTUNE_BOOTSTRAP_KEY")
    if not key:
        raise Trouble(f"The key of {directory} was given by the environment at its start: give it as ATTUNE_KEY.")
    return key


def owner_settings(directory: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings to reach the database as its owner: `ATTUNE_DATABASE_URL`, else the running embedded Postgres.

    Raises
    ------
    Trouble
        When neither is there, or the address cannot be read.
    """
    secret = environment.get("ATTUNE_SECRET") or _kept(directory, "ATTUNE_SECRET") or ""
    given = environment.get("ATTUNE_DATABASE_URL")
    if given:
        return Settings(database_url=checked(given), secret=secret)
    port = running_stack(directory).database_port
    if port is None:
        raise Trouble("That stack runs on a database of yours: give its address as ATTUNE_DATABASE_URL.")
    return Settings(database_url=owner_url(port, owner_password(secret)), secret=secret)


def with_secret(settings: Settings) -> Settings:
    """The same, if the installation's secret is known: keys cannot be made without it."""
    if not settings.secret:
        raise Trouble("Set ATTUNE_SECRET, or name the --data-dir where `attune up` keeps it.")
    return settings


def checked(database_url: str) -> str:
    """The address as it is, if it names a Postgres database."""
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError) as error:
        raise Trouble(
            "ATTUNE_DATABASE_URL cannot be read; it is like postgresql://owner:password@host/attune."
        ) from error
    if not url.drivername.startswith("postgresql") or not url.database:
        raise Trouble("ATTUNE_DATABASE_URL must name a Postgres database: postgresql://owner:password@host/attune.")
    return database_url


def _kept(directory: Path, name: str) -> str | None:
    try:
        return DataDirectory(directory).secret(name)
    except OSError as error:
        raise Trouble(f"The secrets in {directory} are not readable for you.") from error
