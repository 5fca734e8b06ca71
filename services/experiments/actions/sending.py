"""The sending list: who is to be contacted with what, permission checked now."""

from collections.abc import Iterator

from services.experiments.actions.assignments import Begin, pages
from services.experiments.lifecycle import WrongState
from services.experiments.queries import experiments
from shared.bodies import chunked
from shared.clients.audience import AudienceClient
from shared.contracts.assignments import SendingRow, StoredAssignment
from shared.contracts.experiments import Experiment, State
from shared.contracts.permissions import SendCheckRequest
from shared.errors import Conflict

PAGE = 1000  # as many as one send-check takes


class NoScope(Conflict):
    """Without list and campaign nobody can say which permission is needed."""

    code = "no-permission-scope"


def sending_list(begin: Begin, audience: AudienceClient, reference: str) -> Iterator[SendingRow]:
    """Those of contacted arms who may be contacted as of now; nobody held out.

    The first page is checked before the first row is given, so that a missing audience is an error and no empty list.
    No connection to Postgres is held while audience is asked. Raises `WrongState`, `NoScope`, `PeerUnavailable`.
    """
    with begin() as db:
        experiment = experiments.experiment(db, reference)
    if experiment.state is not State.RUNNING:
        raise WrongState(f"Only a running experiment sends; {experiment.key} is {experiment.state}.")
    scope = _scope(audience, experiment)
    checked = (
        row
        for page in chunked(pages(begin, experiment.id, contact=True), PAGE)
        for row in _permitted(audience, experiment, scope, page)
    )
    return _primed(checked)


def _scope(audience: AudienceClient, experiment: Experiment) -> dict[str, object]:
    if experiment.target_list_id is not None:
        return {"target_list_id": experiment.target_list_id}
    if experiment.campaign is None:
        raise NoScope(f"{experiment.key} names neither a target list nor a campaign.")
    campaign = audience.campaign(experiment.campaign)
    return {"brand": campaign.brand, "channel": campaign.channel, "purpose": campaign.purpose}


def _permitted(
    audience: AudienceClient, experiment: Experiment, scope: dict[str, object], page: list[StoredAssignment]
) -> list[SendingRow]:
    question = SendCheckRequest.model_validate({"customer_ids": [row.customer_id for row in page], **scope})
    sendable = {check.customer_id for check in audience.send_checks(question).checks if check.sendable}
    payloads = {arm.key: arm.payload for arm in experiment.arms}
    return [
        SendingRow(
            customer_id=row.customer_id,
            arm=row.arm,
            payload=payloads[row.arm],
            t0=row.t0,
            experiment=experiment.key,
            campaign=experiment.campaign,
            target_list=experiment.target_list_id,
        )
        for row in page
        if row.customer_id in sendable
    ]


def _primed(rows: Iterator[SendingRow]) -> Iterator[SendingRow]:
    first = next(rows, None)

    def following() -> Iterator[SendingRow]:
        if first is not None:
            yield first
            yield from rows

    return following()
