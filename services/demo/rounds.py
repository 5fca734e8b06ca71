"""One round of a campaign: a frozen list, an experiment on it, what customers then do, and the readout."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from services.demo import replayed, shop
from services.demo.arrivals import CURRENCY, Sending, response_rows, sent_rows, waves
from services.demo.client import Attune
from services.demo.files import ndjson
from services.demo.shop import Integers, Shop
from services.demo.verdict import Comparison, compare
from services.stack.trouble import Trouble
from shared.contracts.assignments import SendingRow, StoredAssignment
from shared.contracts.experiments import Experiment
from shared.contracts.feedback import IngestReport
from shared.contracts.metrics import Metric
from shared.contracts.results import Decision, Look, Results
from shared.contracts.targeting import Campaign, NewCampaign, NewTargetList, TargetList

WINDOW = {"window_days": shop.WINDOW_DAYS}
METRICS: tuple[dict[str, Any], ...] = (
    {"key": "shop-visits", "name": "came to the shop", "kind": "proportion", "event": "view", **WINDOW},
    {"key": "shop-buyers", "name": "bought", "kind": "proportion", "event": "order", **WINDOW},
    {"key": "shop-revenue", "name": "revenue", "kind": "revenue", "event": "order", "currency": CURRENCY, **WINDOW},
    {
        "key": "shop-profit", "name": "profit in EUR", "kind": "profit", "event": "order",
        "currency": CURRENCY, "margin": shop.MARGIN, **WINDOW,
    },
)  # fmt: skip
FIGURES = {"shop-visits": "visits", "shop-buyers": "buyers", "shop-revenue": "revenue", "shop-profit": "profit"}
PRIMARY = "shop-profit"
EARLY = timedelta(days=7)  # after t0 somebody cannot wait and looks


@dataclass(frozen=True)
class Plan:
    """What one round is to be. `weights` by arm; t0 lies in the past, so that the windows have closed."""

    key: str
    name: str
    hypothesis: str
    segment: str
    weights: dict[str, float]
    t0: datetime
    holdout_share: float
    seed: int


class Assigned(NamedTuple):
    """Who got which arm: rows of the shop and positions in `shop.ARMS`."""

    rows: Integers
    arms: Integers


class Readout(NamedTuple):
    """The look at the end, the results, what to do, and the estimates beside the truth."""

    final: Look
    results: Results
    decision: Decision
    comparisons: list[Comparison]


@dataclass(frozen=True)
class Round:
    """What became of a plan."""

    plan: Plan
    target_list: TargetList
    assigned: Assigned
    early: Look
    readout: Readout

    @property
    def results(self) -> Results:
        return self.readout.results

    @property
    def contacts(self) -> int:
        return sum(arm.contacts for arm in self.results.arms)

    @property
    def profit_per_contact(self) -> float:
        """Estimated, in euros: what all contacted arms brought beyond the control, after costs, by contact."""
        profits = [money.incremental_profit.estimate for money in self.results.money]
        if not profits or any(profit is None for profit in profits):
            raise Trouble(f"The profit of {self.plan.name} could not be estimated.")
        return sum(profit for profit in profits if profit is not None) / self.contacts

    def true_profit_per_contact(self, of: Shop) -> float:
        """The same, as the simulation knows it."""
        contacts = {arm.arm: arm.contacts for arm in self.results.arms if arm.contact}
        total = sum(shop.truth(of, self.assigned.rows, arm).profit * count for arm, count in contacts.items())
        return total / self.contacts

    def best_arm(self) -> str:
        """The arm whose customers brought most profit each."""
        size = {arm.arm: arm.assigned for arm in self.results.arms}
        worth = {money.arm: money.incremental_profit.estimate or 0.0 for money in self.results.money}
        return max(worth, key=lambda arm: worth[arm] / size[arm])


def define_metrics(attune: Attune) -> None:
    """What is counted, the same in every round."""
    for metric in METRICS:
        attune.experiments.post(Metric, "/v1/metrics", metric)


def freeze_list(attune: Attune, plan: Plan) -> TargetList:
    """Announce the campaign and freeze its target list, as of an hour before it is sent."""
    campaign = NewCampaign.model_validate(
        {"key": plan.key, "name": plan.name, "channel": "post", "purpose": "marketing", "send_at": plan.t0}
    )
    attune.audience.post(Campaign, "/v1/campaigns", campaign)
    wanted = NewTargetList.model_validate(
        {
            "name": plan.key,
            "campaign": plan.key,
            "segment_id": plan.segment,
            "holdout_share": plan.holdout_share,
            "max_contacts": {"count": 2, "days": 30},
            "as_of": plan.t0 - timedelta(hours=1),
        }
    )
    return attune.audience.post(TargetList, "/v1/target-lists", wanted)


def start_experiment(attune: Attune, plan: Plan, target_list: TargetList) -> Experiment:
    """Design the experiment, freeze the design, give every customer of the list an arm."""
    arms = [
        {
            "key": arm,
            "weight": weight,
            "control": arm == "control",
            "payload": None if arm == "control" else {"template": arm},
            "cost_per_contact": f"{shop.COST_PER_CONTACT[arm]:.2f}",
        }
        for arm, weight in plan.weights.items()
    ]
    design = {
        "key": plan.key,
        "name": plan.name,
        "hypothesis": plan.hypothesis,
        "campaign": plan.key,
        "target_list_id": str(target_list.id),
        "split": "exact",
        "seed": plan.key,
        "arms": arms,
        "metrics": {"primary": PRIMARY, "secondary": [key for key in FIGURES if key != PRIMARY]},
    }
    attune.experiments.post(Experiment, "/v1/experiments", design)
    running = attune.experiments.post(Experiment, f"/v1/experiments/{plan.key}/start")
    attune.experiments.job(f"/v1/experiments/{plan.key}/assignments", {"t0": plan.t0.isoformat()})
    return running


def assigned_customers(attune: Attune, plan: Plan, of: Shop) -> Assigned:
    """Who got which arm, read as a campaign tool reads it."""
    stored = _lines(attune, StoredAssignment, f"/v1/experiments/{plan.key}/assignments")
    rows = of.rows_of(np.array([each.customer_id for each in stored]))
    arms = np.array([shop.ARMS.index(each.arm) for each in stored], dtype=np.int64)
    return Assigned(rows, arms)


def send(attune: Attune, plan: Plan, target_list: TargetList) -> tuple[int, IngestReport]:
    """Fetch the sending list, contact those on it and report so. Raises Trouble if a control customer is on it."""
    to_send = _lines(attune, SendingRow, f"/v1/experiments/{plan.key}/assignments", contact="true")
    if any(each.arm == "control" for each in to_send):
        raise Trouble("The sending list holds customers of the control, who must not be contacted.")
    sending = Sending(plan.key, str(target_list.id), plan.key, plan.t0)
    rows = sent_rows(sending, [each.customer_id for each in to_send], [each.arm for each in to_send])
    return len(to_send), attune.feedback.upload(IngestReport, "/v1/events", ndjson(rows))


def take_responses(attune: Attune, plan: Plan, of: Shop, assigned: Assigned) -> tuple[dict[str, IngestReport], Look]:
    """Customers respond. After the first responses somebody looks, as of a week; the late and the repeated follow."""
    responses = shop.respond(of, assigned.rows, assigned.arms, plan.seed)
    (soon, first), *others = waves(response_rows(of, responses, plan.key, plan.t0), plan.seed).items()
    reports = {soon: attune.feedback.upload(IngestReport, "/v1/events", ndjson(first))}
    early = replayed.look(attune, plan.key, plan.t0 + EARLY)
    for name, rows in others:
        reports[name] = attune.feedback.upload(IngestReport, "/v1/events", ndjson(rows))
    return reports, early


def read_out(attune: Attune, plan: Plan, of: Shop, assigned: Assigned) -> Readout:
    """Look at the end; results, what to do, and each estimate beside the truth."""
    final = replayed.look(attune, plan.key)
    results = replayed.audited_results(attune, plan.key)
    decision = attune.experiments.get(Decision, f"/v1/experiments/{plan.key}/decision")
    truths = {arm: shop.truth(of, assigned.rows, arm) for arm in plan.weights if arm != "control"}
    return Readout(final, results, decision, compare(plan.name, results, FIGURES, truths))


def _lines(attune: Attune, item: type[Any], path: str, **parameters: str | int) -> list[Any]:
    adapter = TypeAdapter(item)
    return [adapter.validate_json(line) for line in attune.experiments.stream(path, **parameters)]
