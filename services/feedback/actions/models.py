"""Training a model, publishing what it found, and telling audience."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.feedback.learn import rfm
from services.feedback.queries import models as queries
from services.feedback.queries import rfm as rfm_queries
from services.feedback.queries.rfm import Purchases
from shared.clients.audience import AudienceClient
from shared.contracts.audience import TraitsPull
from shared.contracts.feedback import TrainRfm
from shared.db import Db, Engine, be_patient, new_id, transaction
from shared.errors import FieldError, Invalid
from shared.jobs import Job, Progress, enqueue
from shared.telemetry import log

RFM = "rfm"
JOB = "train-rfm"
CLOCKS_DIFFER = timedelta(minutes=5)  # how far `as_of` may lie ahead of our clock


def train_rfm(db: Db, new: TrainRfm) -> Job:
    """Enqueue a run. Its `as_of` is now unless said, so that a run repeated after a crash finds the same.

    Raises `Invalid` for an `as_of` in the future: its traits would stand above all that later runs find.
    """
    run_id, now = new_id(), datetime.now(UTC)
    if new.as_of is not None and new.as_of > now + CLOCKS_DIFFER:
        raise Invalid("A model cannot know the future.", [FieldError("/as_of", "lies in the future")])
    parameters = new.model_copy(update={"as_of": new.as_of or now}).model_dump(mode="json", exclude_none=True)
    job = enqueue(db, JOB, {"run": str(run_id)})
    queries.insert(db, run_id, RFM, parameters, job.id, now)
    return job


def end(db: Db, run_id: UUID, state: str) -> None:
    """Note that a run failed or was cancelled before it was published."""
    queries.end(db, run_id, state)


def score_and_publish(engine: Engine, run_id: UUID, reporting_currency: str, progress: Progress) -> None:
    """Score all customers and publish the run, in one transaction, of which a cancelled run leaves nothing.

    A published run stays as it is.
    """
    with transaction(engine) as db:
        be_patient(db)
        run = queries.run(db, run_id, lock=True)
        if run.state != "training":
            return
        asked = TrainRfm.model_validate(run.parameters)
        purchases, left_out = _purchases(db, asked, reporting_currency)
        queries.clear(db, run_id)
        progress(0.1)
        rfm_queries.score(db, run_id, purchases, [name for row in rfm.SEGMENTS for name in row])
        progress(0.6)
        objecting = rfm_queries.objecting(db, purchases)
        metrics = rfm_queries.figures(db, run_id) | {"left_out": left_out, "objecting": objecting}
        made = run.model_copy(
            update={
                "parameters": run.parameters | {"currency": purchases.currency},
                "window": rfm_queries.window(db, purchases),
                "metrics": metrics,
                "customers": metrics["customers"],
            }
        )
        progress(0.8)
        queries.publish(db, made, datetime.now(UTC))
    log.info("model run published", model=RFM, run=str(run_id), customers=made.customers)


def _purchases(db: Db, asked: TrainRfm, reporting_currency: str) -> tuple[Purchases, int]:
    """Which events count, and how many do not because they are in another currency."""
    as_of = asked.as_of or datetime.now(UTC)
    found = rfm_queries.currencies(db, asked.kind, as_of)
    only = next(iter(found)) if len(found) == 1 else reporting_currency
    currency = asked.currency or only
    left_out = sum(count for name, count in found.items() if name != currency)
    return Purchases(asked.kind, asked.purchase, as_of, currency), left_out


def deliver(engine: Engine, audience: AudienceClient, run_id: UUID) -> dict[str, Any]:
    """Have audience take the run over, if it scored anybody.

    Raises `PeerUnavailable` while audience is away; the run waits published.
    """
    with transaction(engine) as db:
        scored = queries.run(db, run_id).customers
    pulled = audience.pull_traits(TraitsPull(source=RFM, run=run_id)) if scored else None
    with transaction(engine) as db:
        run = queries.run(db, run_id, lock=True)
        if run.state == "published":
            queries.delivered(db, run, datetime.now(UTC))
    return {
        "run": str(run_id),
        "customers": run.customers,
        "delivered": pulled.model_dump(mode="json") if pulled else None,
    }


def run_training(
    engine: Engine, audience: AudienceClient, run_id: UUID, reporting_currency: str, progress: Progress
) -> dict[str, Any]:
    """The job: score, publish, deliver. Running it again takes up where it was broken off.

    Cancelled after it was published, the run stays so: audience may have heard of it, and can still be told to pull it.
    """
    score_and_publish(engine, run_id, reporting_currency, progress)
    progress(0.9)
    return deliver(engine, audience, run_id)
