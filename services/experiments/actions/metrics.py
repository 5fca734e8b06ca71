"""Metrics: stored once, changed only by a new version."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from services.experiments import conditions, declared
from services.experiments.queries import metrics as queries
from shared.contracts.base import as_id
from shared.contracts.metrics import MONEY, Metric, NewMetric
from shared.db import Db, new_id
from shared.errors import Conflict, FieldError, Invalid, NotFound


class MetricExists(Conflict):
    """The key is taken."""

    code = "metric-exists"


def create(db: Db, new: NewMetric, currency: str) -> Metric:
    """Store a metric. Repeating it with the same content changes nothing. Raises `MetricExists`, `Invalid`."""
    queries.claim(db, new.key)
    known = queries.newest(db, [new.key]).get(new.key)
    if known is None:
        return _store(db, new, currency)
    if not _same(known, new, currency):
        raise MetricExists(f"The metric {new.key} exists with another definition; PUT makes a new version of it.")
    return known


def change(db: Db, reference: str, new: NewMetric, currency: str) -> Metric:
    """A new version, unless nothing changed. What runs keeps its version. Raises `NotFound`, `Invalid`."""
    known = queries.named(db, [reference]).get(reference)
    if known is None:
        raise _unknown(reference)
    if new.key != known.key:
        raise Invalid("A metric's key never changes.", [FieldError("/key", f"must be {known.key}")])
    queries.claim(db, known.key)
    known = metric(db, known.key)
    return known if _same(known, new, currency) else _store(db, new, currency)


def metric(db: Db, reference: str) -> Metric:
    """The newest version by key, or the one version that has this id. Raises `NotFound`."""
    number = as_id(reference)
    found = queries.of_id(db, number) if number else None
    found = found or queries.newest(db, [reference]).get(reference)
    if found is None:
        raise _unknown(reference)
    return found


def versions(db: Db, reference: str) -> list[Metric]:
    """All versions of the metric that has the key, or the version of this id; newest first. Raises `NotFound`."""
    known = queries.named(db, [reference]).get(reference)
    if known is None:
        raise _unknown(reference)
    return queries.versions(db, known.key)


def _unknown(reference: str) -> NotFound:
    return NotFound(f"There is no metric {reference}.")


listed: Callable[[Db, str, int], list[Metric]] = queries.listed


def _filled(new: NewMetric, currency: str) -> NewMetric:
    if new.kind in MONEY and new.currency is None:
        return new.model_copy(update={"currency": currency})
    return new


def _same(known: Metric, new: NewMetric, currency: str) -> bool:
    stored = known.model_dump(mode="json", by_alias=True, exclude={"id", "version", "created_at"})
    return stored == _filled(new, currency).model_dump(mode="json", by_alias=True)


def _store(db: Db, new: NewMetric, currency: str) -> Metric:
    if wrong := declared.addresses(new):
        raise Invalid("A metric must not hold an address.", wrong)
    if wrong := declared.faults(new, queries.kinds(db)):
        raise Invalid("The metric counts what cannot arrive.", wrong)
    new = _filled(new, currency)
    row: dict[str, object] = {
        "id": new_id(),
        "key": new.key,
        "kind": new.kind.value,
        "window_days": new.window_days,
        "currency": new.currency,
        "margin": None if new.margin is None else Decimal(repr(new.margin)),
        "value_property": new.value,
        "definition": new.model_dump_json(by_alias=True),
    }
    events: list[dict[str, object]] = [
        {"position": position, "kind": each.event, "sign": each.sign, "condition": conditions.path(each.where)}
        for position, each in enumerate(new.counted())
    ]
    queries.insert(db, row, events, datetime.now(UTC))
    return metric(db, new.key)
