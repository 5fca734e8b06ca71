"""A replay of a real randomised mailing (Hillstrom's MineThatData challenge, 2008) through the services' doors.

64,000 customers were split elsewhere into two mailings and none, a third each; visits, conversions and spend of the two
weeks after are in the file. Arms travel as external assignments at one instant, responses as events an hour later.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console

from services.demo import replayed, words
from services.demo.client import Attune
from services.demo.files import csv_rows, ndjson
from services.stack.target import Target
from shared.contracts.assignments import AssignmentsRun
from shared.contracts.audience import AttributeDetail, NewAttribute, QualityReport
from shared.contracts.experiments import Experiment
from shared.contracts.feedback import IngestReport, Refinement
from shared.contracts.metrics import Metric
from shared.contracts.results import Effect, MetricResult, Results
from shared.contracts.segments import NewSegment, Segment

KEY = "hillstrom"
CURRENCY = "USD"
MAILED_AT = datetime(2008, 3, 1, 12, tzinfo=UTC)
RESPONDED_AT = MAILED_AT + timedelta(hours=1)
ARMS = {"No E-Mail": "no-mail", "Mens E-Mail": "mens-mail", "Womens E-Mail": "womens-mail"}
ATTRIBUTES = {
    "recency": "number", "history_segment": "text", "history": "number", "mens": "boolean", "womens": "boolean",
    "zip_code": "text", "newbie": "boolean", "channel": "text",
}  # fmt: skip
VISITS, CONVERSIONS, SPEND = "hillstrom-visits", "hillstrom-conversions", "hillstrom-spend"
METRICS: tuple[dict[str, Any], ...] = (
    {"key": VISITS, "kind": "proportion", "event": "view", "window_days": 14},
    {"key": CONVERSIONS, "kind": "proportion", "event": "order", "window_days": 14},
    {"key": SPEND, "kind": "revenue", "event": "order", "window_days": 14, "currency": CURRENCY},
)
Rows = list[dict[str, str]]


class EffectFigures(BaseModel):
    """A mailing against none on one metric; `low` and `high` at 95 %, valid at the planned end: the fixed horizon's."""

    metric: str
    arm: str
    against: str
    customers: int
    customers_against: int
    mean: float | None
    mean_against: float | None
    effect: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    p_value: float | None


class Figures(BaseModel):
    """The experiment's key, where its report page is, and all that the services answered."""

    experiment: str
    report: str
    customers: QualityReport
    assignments: AssignmentsRun
    responses: IngestReport
    effects: list[EffectFigures]
    results: Results
    refinement: Refinement


def replay(target: Target, file: Path, say: Callable[[str], None]) -> Figures:
    """Load the file, read out the experiment, ask for a refinement. Doing it twice changes nothing.

    Raises
    ------
    Trouble
        When the file is another one, or a service refuses what it is sent.
    """
    attune = Attune(target)
    rows = list(csv_rows(file, [*ATTRIBUTES, "segment", "visit", "conversion", "spend"]))
    say(f"{len(rows):,} customers: loading what was known of them before the mailing")
    customers = _load_customers(attune, rows)
    say("loading who got which mailing")
    assignments = _assign(attune, rows)
    say("loading what they did")
    responses = attune.feedback.upload(IngestReport, "/v1/events", ndjson(_responses(rows)))
    say("reading out")
    replayed.look(attune, KEY)
    results = replayed.audited_results(attune, KEY)
    say("searching for a better segment, and confirming it on a held-out half")
    if attune.audience.find(Segment, f"/v1/segments/{_SEGMENT.key}") is None:
        attune.audience.post(Segment, "/v1/segments", _SEGMENT)
    refinement = replayed.refine(attune, KEY, _SEGMENT.key, VISITS)
    return Figures(
        experiment=KEY,
        report=f"{target.experiments}/v1/experiments/{KEY}/report",
        customers=customers,
        assignments=assignments,
        responses=responses,
        effects=[_figures(metric, effect) for metric in results.metrics for effect in metric.effects],
        results=results,
        refinement=refinement,
    )


_SEGMENT = NewSegment.model_validate(
    {
        "key": "hillstrom-customers",
        "name": "Everybody in the mailing",
        "definition": {"attribute": "history_segment", "is": "exists"},
    }
)


def _load_customers(attune: Attune, rows: Rows) -> QualityReport:
    for name, kind in ATTRIBUTES.items():
        new = NewAttribute.model_validate({"type": kind})
        attune.audience.put(AttributeDetail, f"/v1/attributes/{name}", new)
    lines = ({"customer_id": _customer(row), "attributes": _attributes(each)} for row, each in enumerate(rows, 1))
    return attune.audience.upload(QualityReport, "/v1/imports", ndjson(lines), kind="customers", format="ndjson")


def _customer(row: int) -> str:
    """The file has no customer id: the row number names the customer."""
    return f"hillstrom-{row}"


def _attributes(row: Mapping[str, str]) -> dict[str, object]:
    read: dict[str, Callable[[str], object]] = {"number": float, "text": str, "boolean": lambda value: value == "1"}
    return {name: read[kind](row[name]) for name, kind in ATTRIBUTES.items()}


def _assign(attune: Attune, rows: Rows) -> AssignmentsRun:
    for metric in METRICS:
        attune.experiments.post(Metric, "/v1/metrics", metric)
    design = {
        "key": KEY,
        "name": "Hillstrom: two mailings against none",
        "hypothesis": "A mail brings visits and spend that would not come without it.",
        "arms": [{"key": arm, "weight": 1 / 3, "control": arm == "no-mail"} for arm in ARMS.values()],
        "metrics": {"primary": VISITS, "secondary": [CONVERSIONS, SPEND]},
        "method": "group_sequential",
    }
    attune.experiments.post(Experiment, "/v1/experiments", design)
    attune.experiments.post(Experiment, f"/v1/experiments/{KEY}/start")
    at = MAILED_AT.isoformat()
    lines = (
        {"customer_id": _customer(row), "arm": ARMS[each["segment"]], "assigned_at": at}
        for row, each in enumerate(rows, 1)
    )
    path = f"/v1/experiments/{KEY}/assignments"
    return attune.experiments.upload(AssignmentsRun, path, ndjson(lines), source="external")


def _responses(rows: Rows) -> Iterator[dict[str, object]]:
    """A visit is a `view`, a conversion an `order` of what was spent."""
    at = RESPONDED_AT.isoformat()
    for row, each in enumerate(rows, 1):
        event: dict[str, object] = {"customer_id": _customer(row), "occurred_at": at, "experiment": KEY}
        if each["visit"] == "1":
            yield event | {"event_id": f"visit-{row}", "kind": "view"}
        if each["conversion"] == "1":
            yield event | {"event_id": f"order-{row}", "kind": "order", "value": each["spend"], "currency": CURRENCY}


def _figures(metric: MetricResult, effect: Effect) -> EffectFigures:
    moments = {arm.arm: arm for arm in metric.arms}
    treated, control = moments[effect.arm], moments[effect.against]
    return EffectFigures(
        metric=metric.metric,
        arm=effect.arm,
        against=effect.against,
        customers=treated.n,
        customers_against=control.n,
        mean=treated.mean,
        mean_against=control.mean,
        effect=effect.absolute.estimate,
        standard_error=effect.standard_error,
        low=effect.fixed.low,
        high=effect.fixed.high,
        p_value=effect.fixed.p_value,
    )


def show(figures: Figures, console: Console) -> None:
    """The same for people."""
    assigned = ", ".join(f"{arm} {count:,}" for arm, count in figures.assignments.arms.items())
    console.print(f"{figures.customers.accepted:,} customers, arms as given: {assigned}.", highlight=False)
    console.print(f"{figures.responses.accepted + figures.responses.duplicates:,} responses.\n", highlight=False)
    console.print(words.health_table(figures.results))
    headings = ("metric", "mailing", ">with", ">without", ">difference", ">from", ">to", ">p")
    table = words.table("What the mailings changed (95 % intervals of the fixed horizon)", *headings)
    for each in figures.effects:
        numbers = (each.mean, each.mean_against, each.effect, each.low, each.high)
        cells = [words.money(number, CURRENCY) if each.metric == SPEND else words.share(number) for number in numbers]
        table.add_row(each.metric.removeprefix(f"{KEY}-"), each.arm, *cells, words.p_value(each.p_value))
    console.print(table)
    console.print(
        "These hold for one reading at the end. The report's main figures hold however often one looks, and are wider "
        "for it.",
        highlight=False,
    )
    console.print(f"Experiment {figures.experiment}. Its report, as long as the stack is up:", highlight=False)
    console.print(f"  {figures.report}\n", highlight=False, soft_wrap=True)
    console.print(words.refinement_panel(figures.refinement))
