"""Metrics over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Request

from services.experiments.actions import metrics as actions
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.contracts.base import Key
from shared.contracts.metrics import Metric, NewMetric
from shared.db import ReadTx, Tx
from shared.idempotency import Once
from shared.pages import Page, Paged

router = APIRouter(
    prefix="/v1/metrics", tags=["metrics"], route_class=StrictRoute, dependencies=[requires("experiments:read")]
)
WRITES = [requires("experiments:write")]
EXAMPLE = {
    "key": "revenue-14d",
    "kind": "revenue",
    "events": [{"event": "order"}, {"event": "refund", "sign": -1}],
    "where": {"category": {"is": "eq", "value": "jackets"}},
    "window_days": 14,
    "currency": "EUR",
}
MetricBody = Annotated[NewMetric, Body(openapi_examples={"revenue": {"value": EXAMPLE}})]
MetricKey = Annotated[Key, Path(description="the metric's key, or the id of one of its versions")]


@router.post("", status_code=201, dependencies=WRITES)
def create_metric(new: MetricBody, db: Tx, once: Once, request: Request) -> Metric:
    """Create a metric. Repeating the call with the same content changes nothing; other content is refused."""
    currency = request.app.state.settings.currency
    return once(db, new, effect=lambda: actions.create(db, new, currency), answer=Metric)


@router.get("")
def list_metrics(db: ReadTx, page: Paged) -> Page[Metric]:
    """The newest version of each metric, by key."""
    after = page.after[0] if page.after else ""
    return page.answer(actions.listed(db, after, page.limit + 1), lambda metric: [metric.key])


@router.get("/{key}")
def get_metric(key: MetricKey, db: ReadTx) -> Metric:
    """The newest version of a metric; by an id that very version."""
    return actions.metric(db, key)


@router.put("/{key}", dependencies=WRITES)
def change_metric(key: MetricKey, new: MetricBody, db: Tx, request: Request) -> Metric:
    """Change a metric: a new version. Experiments that have started keep theirs."""
    return actions.change(db, key, new, request.app.state.settings.currency)


@router.get("/{key}/versions")
def list_metric_versions(key: MetricKey, db: ReadTx) -> list[Metric]:
    """All versions of a metric, the newest first."""
    return actions.versions(db, key)
