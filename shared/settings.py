"""Settings, read from the environment (`ATTUNE_…`). One class for all processes; each uses what it needs."""

from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url

from shared.contracts.base import Currency
from shared.hashing import derived_secret

SERVICES = ("audience", "experiments", "feedback")
PORTS = {"audience": 8001, "experiments": 8002, "feedback": 8003}
WORKER_PORTS = {"audience": 8011, "experiments": 8012, "feedback": 8013}


class Misconfigured(ValueError):
    """The environment does not do. The words name settings, never what they hold, so that they can be logged."""


class Settings(BaseSettings):
    """What an installation decides.

    A service's own database address (`ATTUNE_AUDIENCE_DATABASE_URL` …) may be left out where
    `ATTUNE_DATABASE_URL` and `ATTUNE_SECRET` are known: it is derived from them.
    """

    model_config = SettingsConfigDict(env_prefix="ATTUNE_", extra="ignore")

    database_url: str = Field("", description="Postgres as the owner of all tables; migrations and `attune up` need it")
    audience_database_url: str = Field("", description="Postgres as the role of audience")
    experiments_database_url: str = Field("", description="Postgres as the role of experiments")
    feedback_database_url: str = Field("", description="Postgres as the role of feedback")
    secret: str = Field(
        "", description="The key of all keyed hashes; losing it makes API keys and address hashes useless"
    )
    service_key: str = Field("", description="The API key with which services call each other")
    bootstrap_key: str = Field("", description="An admin API key valid from the first start")
    audience_url: str = "http://127.0.0.1:8001"
    experiments_url: str = "http://127.0.0.1:8002"
    feedback_url: str = "http://127.0.0.1:8003"
    host: str = "127.0.0.1"
    port: int | None = Field(None, description="Where a service listens; by default 8001, 8002 or 8003")
    worker_port: int | None = Field(
        None, description="Where a worker answers /healthz and /metrics; by default 8011 to 8013"
    )
    currency: Currency = Field("EUR", description="The reporting currency")
    global_control_share: float = Field(0.0, ge=0, lt=1, description="Share of all customers who never get marketing")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    database_pool: int = Field(10, ge=1, le=200, description="Connections that one process may hold")
    worker_concurrency: int = Field(2, ge=1, le=32)

    def database_of(self, service: str) -> str:
        """The address under which `service` logs in as its own role."""
        given: str = getattr(self, f"{service}_database_url")
        if given:
            return given
        if not (self.database_url and self.secret):
            own = f"ATTUNE_{service.upper()}_DATABASE_URL"
            raise Misconfigured(f"Set {own}, or both ATTUNE_DATABASE_URL and ATTUNE_SECRET to derive it.")
        url = make_url(self.database_url).set(
            username=f"attune_{service}", password=derived_secret(self.secret, f"database role {service}")
        )
        return url.render_as_string(hide_password=False)

    def url_of(self, service: str) -> str:
        """Where `service` answers HTTP."""
        address: str = getattr(self, f"{service}_url")
        return address

    def port_of(self, service: str) -> int:
        return self.port or PORTS[service]

    def worker_port_of(self, service: str) -> int:
        return self.worker_port or WORKER_PORTS[service]


def from_environment() -> Settings:
    """Raises `Misconfigured`."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = [f"ATTUNE_{str(one['loc'][0]).upper()}: {one['msg']}" for one in error.errors(include_input=False)]
        raise Misconfigured("; ".join(wrong)) from None


def sqlalchemy_url(url: str) -> URL:
    """Any Postgres address, for SQLAlchemy with psycopg 3."""
    return make_url(url).set(drivername="postgresql+psycopg")


def libpq_url(url: str) -> str:
    """Any Postgres address, for psycopg itself."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
