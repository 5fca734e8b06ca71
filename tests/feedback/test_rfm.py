"""RFM: the specification, the statement that follows it, and the way into the portraits."""

import csv
import gzip
import io
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from services.feedback.app import service
from services.feedback.learn import rfm
from services.feedback.queries import rfm as rfm_queries
from services.stack.postgres import free_port
from shared.service import make_context
from shared.settings import Settings
from shared.worker import drain
from tests.conftest import real_data

NDJSON = {"Content-Type": "application/x-ndjson"}
Work = Callable[[str], None]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_scores_follow_the_values_and_equal_values_score_equally(values: list[int]) -> None:
    scores = rfm.quintile(values)
    assert set(scores) <= {1, 2, 3, 4, 5}
    order = np.argsort(values, kind="stable")
    assert (np.diff(scores[order]) >= 0).all()
    assert all(len(set(scores[np.asarray(values) == value])) == 1 for value in values)


def test_distinct_values_fall_into_fifths() -> None:
    assert np.bincount(rfm.quintile(np.random.default_rng(1).permutation(1000)))[1:].tolist() == [200] * 5


def test_those_who_share_the_best_day_are_not_scored_as_if_others_were_better() -> None:
    days = [5] * 375 + list(range(6, 117))
    scores = rfm.score(days, [1] * 486, [1.0] * 486)
    assert set(scores.recency[:375]) == {4}
    assert set(scores.frequency) == {3}
    assert scores.recency[-1] == 1
    assert "at_risk" not in scores.segment[:375]


def train(feedback: httpx.Client, **asked: Any) -> str:
    answer = feedback.post("/v1/models/rfm", json=asked)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
    newest = feedback.get("/v1/models", params={"model": "rfm", "limit": 1}).json()["items"][0]
    assert newest["job"] == answer.json()["id"]
    return str(newest["id"])


def scores(engine: sa.Engine, run: str) -> dict[str, dict[str, Any]]:
    query = sa.text("select customer_id, traits from published.feedback_scores where run_id = :run")
    with engine.connect() as db:
        return {row.customer_id: row.traits for row in db.execute(query, {"run": run})}


def post_lines(feedback: httpx.Client, rows: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> dict[str, Any]:
    answer = feedback.post("/v1/events", content="\n".join(json.dumps(row) for row in rows), headers=NDJSON)
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    return report


def test_the_statement_scores_as_the_specification_says(
    clean: None, feedback: httpx.Client, audience: httpx.Client, work: Work, owner_engine: sa.Engine
) -> None:
    draw = np.random.default_rng(7)
    customers, days, cents = (draw.integers(0, top, 3000) for top in (400, 300, 9000))
    rows = [
        {
            "event_id": f"e{n}",
            "customer_id": f"c{customers[n]}",
            "kind": "order",
            "occurred_at": f"2023-{1 + days[n] // 28:02}-{1 + days[n] % 28:02}T00:00:00Z",
            "value": f"{cents[n] / 100:.2f}",
        }
        for n in range(3000)
    ]
    post_lines(feedback, rows)
    run = train(feedback, as_of="2024-01-01T00:00:00Z")
    work("feedback")
    found = scores(owner_engine, run)
    bought = {name: [row for row in rows if row["customer_id"] == name] for name in found}
    assert len(found) == len(set(customers))
    expected = rfm.score(
        [found[name]["rfm_recency_days"] for name in found],
        [len(bought[name]) for name in found],
        [float(sum(Decimal(row["value"]) for row in bought[name])) for name in found],
    )
    columns = ("rfm_recency_score", "rfm_frequency_score", "rfm_monetary_score", "rfm_segment")
    got = [tuple(traits[column] for column in columns) for traits in found.values()]
    assert got == list(zip(*(part if isinstance(part, list) else part.tolist() for part in expected), strict=True))


def test_a_run_that_scores_nobody_does_not_take_the_place_of_one_that_did(
    clean: None,
    feedback: httpx.Client,
    audience: httpx.Client,
    work: Work,
    owner_engine: sa.Engine,
    event: Callable[..., dict[str, Any]],
) -> None:
    post_lines(feedback, [event(0, occurred_at="2024-01-31T00:00:00Z")])
    full = train(feedback, as_of="2024-02-10T00:00:00Z")
    work("feedback")
    empty = train(feedback, as_of="2023-01-01T00:00:00Z")
    work("feedback")
    runs = {one["id"]: one for one in feedback.get("/v1/models", params={"model": "rfm"}).json()["items"]}
    assert (runs[empty]["state"], runs[empty]["customers"], runs[empty]["active"]) == ("delivered", 0, False)
    assert (runs[full]["active"], len(scores(owner_engine, full))) == (True, 1)


def test_what_happened_after_the_stated_instant_does_not_count(
    clean: None,
    feedback: httpx.Client,
    audience: httpx.Client,
    work: Work,
    owner_engine: sa.Engine,
    event: Callable[..., dict[str, Any]],
) -> None:
    before, after = event(0, occurred_at="2024-01-31T00:00:00Z"), event(0, occurred_at="2024-03-01T00:00:00Z")
    post_lines(feedback, [before, after | {"event_id": "later"}])
    run = train(feedback, as_of="2024-02-10T12:00:00Z")
    work("feedback")
    (traits,) = scores(owner_engine, run).values()
    assert (traits["rfm_recency_days"], traits["rfm_frequency"], traits["rfm_monetary"]) == (10, 1, 12.5)


def test_a_run_waits_published_while_audience_is_away_and_is_delivered_when_it_is_back(
    clean: None,
    feedback: httpx.Client,
    audience: httpx.Client,
    work: Work,
    settings: Settings,
    event: Callable[..., dict[str, Any]],
) -> None:
    feedback.post("/v1/events", json=[event(0), event(1, currency="USD")])
    run = train(feedback)
    nobody = f"http://127.0.0.1:{free_port()}"
    context = make_context(service, settings.model_copy(update={"audience_url": nobody}), "worker")
    drain(service.jobs, context, settings.database_of("feedback"))
    context.engine.dispose()
    waiting = feedback.get(f"/v1/models/{run}").json()
    assert (waiting["state"], waiting["active"], waiting["customers"]) == ("published", True, 1)
    assert waiting["metrics"]["left_out"] == 1
    assert feedback.get(f"/v1/jobs/{waiting['job']}").json()["state"] == "queued"
    end = time.monotonic() + 30
    while feedback.get(f"/v1/models/{run}").json()["state"] != "delivered":
        assert time.monotonic() < end, "the job was not tried again"
        time.sleep(0.2)
        work("feedback")
    assert audience.get(f"/v1/customers/{event(0)['customer_id']}").json()["traits"]["rfm_frequency"]["value"] == 1


def test_a_newer_run_takes_the_place_of_the_active_one(
    clean: None, feedback: httpx.Client, audience: httpx.Client, work: Work, event: Callable[..., dict[str, Any]]
) -> None:
    feedback.post("/v1/events", json=[event(0), event(1, currency="USD")])
    runs = []
    for currency in ("EUR", "USD"):
        runs.append(train(feedback, currency=currency))
        work("feedback")
    found = [feedback.get(f"/v1/models/{run}").json() for run in runs]
    assert [(run["active"], run["metrics"]["customers"]) for run in found] == [(False, 1), (True, 1)]


def sales_lines() -> Iterator[dict[str, Any]]:
    with gzip.open(real_data("online_retail.csv.gz"), "rt", encoding="utf-8", newline="") as file:
        text = io.StringIO(file.read())
    for number, row in enumerate(csv.DictReader(text), 1):
        price, quantity = Decimal(row["UnitPrice"]), int(row["Quantity"])
        yield {
            "event_id": f"{row['InvoiceNo']}:{number}",
            "customer_id": row["CustomerID"].removesuffix(".0"),
            "kind": "cancellation" if row["InvoiceNo"].startswith("C") else "order_line",
            "occurred_at": row["InvoiceDate"].replace(" ", "T") + "Z",
            "value": str(price * quantity),
            "currency": "GBP",
            "properties": {
                "order_id": row["InvoiceNo"],
                "product": row["StockCode"],
                "quantity": quantity,
                "unit_price": float(price),
            },
        }


@pytest.mark.slow
def test_a_year_of_a_real_shop_gives_its_published_figures(
    clean: None, feedback: httpx.Client, audience: httpx.Client, work: Work, owner_engine: sa.Engine
) -> None:
    report = post_lines(feedback, sales_lines())
    reasons = {(reason["pointer"], reason["detail"]): reason["count"] for reason in report["reasons"]}
    assert reasons[("/customer_id", "String should have at least 1 character")] == 135_080
    assert report["accepted"] + report["refused"] == 541_909
    run = train(feedback, kind="order_line", as_of="2011-12-10T00:00:00Z")
    work("feedback")
    metrics = feedback.get(f"/v1/models/{run}").json()["metrics"]
    assert (metrics["customers"], metrics["monetary"]) == (4338, "8911407.904")
    assert metrics["purchases"] == 18_532
    window = feedback.get(f"/v1/models/{run}").json()["window"]
    assert window["events"] == 397_884


def test_who_objects_to_profiling_is_in_no_run_and_counted(
    clean: None, feedback: httpx.Client, audience: httpx.Client, work: Work, owner_engine: sa.Engine
) -> None:
    rows = [
        {"event_id": "e", "customer_id": name, "kind": "order", "occurred_at": "2023-01-01T00:00:00Z", "value": "10"}
        for name in ("yes", "no", "unknown-to-audience")
    ]
    post_lines(feedback, rows)
    customers = [{"customer_id": "yes"}, {"customer_id": "no", "profiling": False}]
    content = "\n".join(json.dumps(row) for row in customers)
    assert audience.post("/v1/customers", content=content, headers=NDJSON).json()["accepted"] == 2
    run = train(feedback, as_of="2024-01-01T00:00:00Z")
    work("feedback")
    assert set(scores(owner_engine, run)) == {"yes", "unknown-to-audience"}
    found = feedback.get(f"/v1/models/{run}").json()
    assert (found["customers"], found["metrics"]["objecting"], found["window"]["events"]) == (2, 1, 2)


def test_a_run_knows_no_future_and_its_scores_speak_of_its_own_instant(
    clean: None, feedback: httpx.Client, work: Work, owner_engine: sa.Engine
) -> None:
    for as_of in ("2199-01-01T00:00:00Z", (datetime.now(UTC) + timedelta(minutes=10)).isoformat()):
        refused = feedback.post("/v1/models/rfm", json={"as_of": as_of})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/as_of")
    row = {"customer_id": "c", "kind": "order", "occurred_at": "2023-01-01T00:00:00Z", "value": "10"}
    post_lines(feedback, [row])
    run = train(feedback, as_of=(datetime.now(UTC) + timedelta(minutes=1)).isoformat())
    work("feedback")
    spoken_of = feedback.get(f"/v1/models/{run}").json()["parameters"]["as_of"]
    query = sa.text("select computed_at from published.feedback_scores where run_id = :run")
    with owner_engine.connect() as db:
        assert db.execute(query, {"run": run}).scalar_one() == datetime.fromisoformat(spoken_of)


@pytest.mark.parametrize("step", ["currencies", "score", "figures"])
def test_a_run_that_is_cancelled_while_it_is_made_leaves_nothing_behind(
    clean: None,
    feedback: httpx.Client,
    work: Work,
    owner_engine: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    row = {"customer_id": "c", "kind": "order", "occurred_at": "2023-01-01T00:00:00Z", "value": "10"}
    post_lines(feedback, [row])
    run = train(feedback)
    job = feedback.get(f"/v1/models/{run}").json()["job"]
    whole = getattr(rfm_queries, step)

    def cancelled_meanwhile(*given: Any) -> Any:
        assert feedback.post(f"/v1/jobs/{job}/cancel").json()["state"] == "running"
        return whole(*given)

    monkeypatch.setattr(rfm_queries, step, cancelled_meanwhile)
    work("feedback")
    assert feedback.get(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    assert feedback.get(f"/v1/models/{run}").json()["state"] == "cancelled"
    assert scores(owner_engine, run) == {}


def test_a_run_whose_job_is_cancelled_or_breaks_shows_it(
    clean: None, feedback: httpx.Client, work: Work, owner_engine: sa.Engine
) -> None:
    run = train(feedback)
    job = feedback.get(f"/v1/models/{run}").json()["job"]
    assert feedback.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert feedback.get(f"/v1/models/{run}").json()["state"] == "cancelled"
    broken = train(feedback)
    with owner_engine.begin() as db:
        nonsense = "update feedback.model_run set parameters = jsonb_build_object('kind', 'refund') where id = :run"
        db.execute(sa.text(nonsense), {"run": broken})
    work("feedback")
    assert feedback.get(f"/v1/models/{broken}").json()["state"] == "failed"
    work("feedback")
    assert feedback.get(f"/v1/models/{run}").json()["state"] == "cancelled"
