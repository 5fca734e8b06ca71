"""The composition root of audience."""

from functools import partial

from services.audience.actions import attributes, consents, imports
from services.audience.api import attributes as attributes_api
from services.audience.api import campaigns, customers, lists, segments, traits
from services.audience.api import consents as consents_api
from shared.db import read_only, transaction
from shared.jobs import JobContext, Jobs
from shared.service import Service
from shared.telemetry import ARRIVAL_LAG, ARRIVAL_PENDING

jobs = Jobs("audience")


@jobs.every("* * * * * */5")
def take_withdrawals(context: JobContext) -> None:
    """Make the withdrawals that feedback heard part of audience's own record."""
    with transaction(context.engine) as db:
        consents.take_withdrawals(db)


@jobs.measured
def measure_withdrawals(context: JobContext) -> None:
    """How far audience's record is behind."""
    with read_only(context.engine) as db:
        batches, age = consents.waiting(db)
    ARRIVAL_PENDING.labels("audience", consents.WITHDRAWALS).set(batches)
    ARRIVAL_LAG.labels("audience", consents.WITHDRAWALS).set(age)


@jobs.every("17 3 * * * 0")
def refresh_supplements(context: JobContext) -> None:
    """Once a night: what gaps are filled with follows what is known."""
    begin = partial(transaction, context.engine)
    attributes.fill_gaps(begin)
    with begin() as db:
        imports.abandon(db)


@jobs.handles(attributes.SUPPLEMENT_JOB)
def supplement(context: JobContext, _arguments: dict[str, object]) -> dict[str, object]:
    """Fill everybody's gaps after the catalogue said how. Cancelled, it leaves the others to the coming night."""
    return {"customers": attributes.fill_gaps(partial(transaction, context.engine), context.progress)}


service = Service(
    name="audience",
    title="Attune audience",
    description="Know: who is there, who may be contacted, who is meant.",
    version="0.1.0",
    routers=(
        consents_api.router,  # before the customers, whose ids take all that is left of a path
        customers.router,
        attributes_api.router,
        traits.router,
        segments.router,
        campaigns.router,
        lists.router,
    ),
    jobs=jobs,
    peers={},
)
