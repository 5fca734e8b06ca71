"""Logs as JSON events in the past tense, and the metrics that every service has."""

import logging
import sys
import threading
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any, TextIO, cast

import structlog
from prometheus_client import Counter, Gauge, Histogram

from shared.settings import Misconfigured, Settings

log = structlog.get_logger()

REQUESTS = Counter("attune_http_requests_total", "Requests answered", ["service", "method", "route", "status"])
DURATION = Histogram(
    "attune_http_request_duration_seconds",
    "Time from a request's arrival to the end of its answer",
    ["service", "method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
)
QUEUE_DEPTH = Gauge("attune_queue_depth", "Jobs of a service, by state", ["service", "state"])
ARRIVAL_LAG = Gauge(
    "attune_arrival_lag_seconds", "Age of the oldest arrival that a consumer has not taken in", ["service", "consumer"]
)
ARRIVAL_PENDING = Gauge(
    "attune_arrival_pending_batches", "Arrivals that a consumer has not taken in", ["service", "consumer"]
)


class _StandardError:
    """Standard error as it is at the time of writing."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure_logging(settings: Settings, service: str) -> None:
    """One JSON object a line on standard error; the loggers of libraries speak the same way."""
    level = getattr(logging, settings.log_level.upper())
    shared: list[Callable[..., object]] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(service),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],  # type: ignore[list-item]
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _StandardError())),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,  # type: ignore[arg-type]
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _placed,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING) if level > logging.DEBUG else level)


def seen_of(error: BaseException) -> dict[str, str]:
    """What is logged of an error: its kind and place. Never its message or a traceback, which may quote a row."""
    return {"error": type(error).__name__, "where": _where(error)}


def log_what_ends_the_process() -> None:
    """From now on what nobody caught is logged like everything else, in one line. A process then ends with 1."""

    def in_main(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, Misconfigured):
            log.critical("process not started", reason=str(error))
        elif isinstance(error, Exception):
            log.critical("process ended", **seen_of(error))
        else:
            sys.__excepthook__(kind, error, trace)

    def in_thread(thrown: threading.ExceptHookArgs) -> None:
        if isinstance(thrown.exc_value, Exception):
            log.critical("thread ended", **seen_of(thrown.exc_value))
        else:
            threading.__excepthook__(thrown)  # which knows that `SystemExit` ends a thread as it should

    sys.excepthook, threading.excepthook = in_main, in_thread


def _placed(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The same for errors that libraries log."""
    found = event.pop("exc_info", None)
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event.update(seen_of(error))
    return event


def _where(error: BaseException) -> str:
    """The lines of our own code on the way to the error, innermost last."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if name.split(".")[0] in ("services", "shared"):
            lines.append(f"{name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(lines[-8:])


def _named(service: str) -> Callable[[object, str, dict[str, object]], dict[str, object]]:
    def add(_logger: object, _method: str, event: dict[str, object]) -> dict[str, object]:
        event.setdefault("service", service)
        return event

    return add
