"""The reference pages say what the code does: their examples are accepted, their tables equal the registries."""

import csv
import json
import os
import re
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from pydantic import BaseModel

from services.audience.segments.catalogue import Catalogue
from services.audience.segments.check import problems
from services.feedback.learn import rfm
from shared.auth import SCOPES
from shared.contracts import assignments, experiments, metrics, policies, results, targeting
from shared.contracts.audience import AttributeType
from shared.contracts.clauses import CLAUSES, PLANNED, AttributeClause, Measure
from shared.contracts.comparisons import Operator
from shared.contracts.feedback import Event, IngestReport, Refinement, Reject
from shared.contracts.kinds import WELL_KNOWN, KindRule
from shared.contracts.permissions import RefusedBecause
from shared.settings import Settings
from tests.conftest import KEY

DOCS = Path(__file__).resolve().parents[2] / "docs"
SEGMENTS, STATISTICS, EVENTS, LISTS, EXPERIMENTS, KEYS = (
    (DOCS / f"{name}.md").read_text() for name in ("segments", "statistics", "events", "lists", "experiments", "keys")
)
ATTRIBUTES = {"age": "number", "city": "text", "newsletter": "boolean", "born": "date", "first_seen": "instant"}
SAMPLES: dict[str, Any] = {
    "number": 1,
    "text": "a",
    "boolean": True,
    "date": "2024-02-29",
    "instant": "2024-02-29T09:30:00Z",
}
EXPLAINED = (
    results.Counted,
    results.Lateness,
    results.ArmSize,
    results.HealthCheck,
    results.ArmMoments,
    results.Effect,
    results.Relative,
    results.FixedHorizon,
    results.Sequential,
    results.Randomisation,
    results.LookEffect,
    results.Look,
    results.ArmMoney,
    results.Decision,
    policies.Uplift,
    policies.RankingQuality,
    policies.Policy,
    policies.PolicyPoint,
    policies.PolicyValue,
    Refinement,
)
NAMES_OF_THINGS = {"created_at", "decided_at", "experiment", "id", "job", "metric", "segment_id"}


def _blocks(page: str) -> list[Any]:
    """Every block of JSON on a page."""
    return [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)]


def _commands(page: str) -> list[list[str]]:
    """Every command on a page, split into words."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(block.replace("\\\n", "")) for block in blocks]


def _tables(page: str, first_column: str) -> list[list[str]]:
    """The rows of the tables whose first column has this head."""
    lines, found, inside = page.splitlines(), [], False
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith(f"| {first_column} |"):
            inside = True
        elif inside and not line.startswith("|"):
            inside = False
        elif inside and not set(line) <= set("|- "):
            found.append(cells)
    assert found, f"there is no table of {first_column}"
    return found


def _named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture(scope="module")
def shop(audience: httpx.Client) -> httpx.Client:
    """Audience with what the examples of the page name."""
    for name, kind in ATTRIBUTES.items():
        if audience.get(f"/v1/attributes/{name}").status_code == 404:
            assert audience.put(f"/v1/attributes/{name}", json={"type": kind}).status_code == 200
    computed_at = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    trait = {"traits": {"rfm_monetary": 80}, "computed_at": computed_at, "model": "rfm"}
    assert audience.post("/v1/traits", json=[{"customer_id": "reference-1", **trait}]).status_code == 200
    cutoff = {"trait": "rfm_monetary", "name": "top20", "top_share": 0.2}
    assert audience.post("/v1/cutoffs", json=cutoff).status_code == 201
    for key in ("regulars", "recent-complainers"):
        answer = audience.post("/v1/segments", json={"key": key, "definition": {"event": "complained"}})
        assert answer.status_code in (201, 409), answer.text
    return audience


@pytest.mark.parametrize("example", _blocks(SEGMENTS), ids=lambda example: json.dumps(example)[:60])
def test_every_example_of_a_segment_is_accepted_as_it_stands(shop: httpx.Client, example: Any) -> None:
    answer = shop.post("/v1/segments:preview", json={"definition": example.get("definition", example)})
    assert answer.status_code == 200, answer.text


def test_the_example_bodies_make_a_segment_and_its_next_version(shop: httpx.Client) -> None:
    new, revision = (example for example in _blocks(SEGMENTS) if "definition" in example)
    made = shop.post("/v1/segments", json=new)
    assert made.status_code == 201, made.text
    revised = shop.put(f"/v1/segments/{new['key']}", json=revision)
    assert (revised.status_code, revised.json()["version"]) == (200, 2)


@pytest.mark.parametrize("row", _tables(SEGMENTS, "definition"), ids=lambda row: row[0][:60])
def test_every_error_of_a_segment_is_answered_as_the_page_says(shop: httpx.Client, row: list[str]) -> None:
    definition, place, detail = row
    answer = shop.post("/v1/segments", json={"key": "refused", "definition": json.loads(definition.strip("`"))})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": place.strip("`"), "detail": detail}]


def test_the_page_names_every_clause_every_measure_and_what_is_reserved() -> None:
    clauses = {key for row in _tables(SEGMENTS, "clause") for key in CLAUSES if row[0].startswith(f'`{{"{key}"')}
    assert clauses == set(CLAUSES)
    measures = {name for row in _tables(SEGMENTS, "`measure`") for name in _named(row[0])}
    assert measures == set(Measure)
    assert all(f"`{name}`" in SEGMENTS for name in PLANNED)


def test_the_table_of_operators_says_which_types_each_compares() -> None:
    told = {
        (operator, kind): row[2 + place] == "yes"
        for row in _tables(SEGMENTS, "operator")
        for operator in _named(row[0])
        for place, kind in enumerate(AttributeType)
    }
    assert {operator for operator, _ in told} == set(Operator)
    assert told == {(operator, kind): _compares(operator, kind) for operator in Operator for kind in AttributeType}


def _compares(operator: Operator, kind: AttributeType) -> bool:
    """Whether some value makes the comparison one that is accepted."""
    sample = SAMPLES[kind]
    for value in (None, sample, [sample, sample], "a", 7, [7, 3]):
        try:
            clause = AttributeClause.model_validate({"attribute": "it", "is": operator, "value": value})
        except ValueError:
            continue
        if not problems(clause, Catalogue(attributes={"it": kind})):
            return True
    return False


def test_the_table_of_kinds_equals_the_registry() -> None:
    told = {}
    for kind, source, needs, holds, follows, _ in _tables(EVENTS, "kind"):
        told[kind.strip("`")] = source, set(_named(needs)), set(_named(holds)), follows
    assert told == {name: _summary(rule) for name, rule in WELL_KNOWN.items()}


def _summary(rule: KindRule) -> tuple[str, set[str], set[str], str]:
    required = {name for name, one in rule.properties.items() if one.required}
    others = set(rule.properties) - required - {"category"}
    follows = "" if rule.follows == "nothing" else rule.follows
    return rule.source, set(rule.required) | {f"properties.{name}" for name in required}, others, follows


def test_the_page_of_events_names_every_field() -> None:
    told = {name for row in _tables(EVENTS, "field") for name in _named(row[0])}
    assert told == set(Event.model_fields)
    for model in (IngestReport, Reject):
        assert not {name for name in model.model_fields if f"`{name}`" not in EVENTS}, model.__name__


@pytest.mark.parametrize("model", EXPLAINED, ids=lambda model: model.__name__)
def test_every_figure_of_the_answers_is_explained(model: type[BaseModel]) -> None:
    untold = {name for name in model.model_fields if f"`{name}`" not in STATISTICS}
    assert untold <= NAMES_OF_THINGS


@pytest.mark.parametrize("command", [*_commands(SEGMENTS), *_commands(EVENTS)], ids=lambda command: command[1])
def test_every_call_with_curl_is_understood(command: list[str], shop: httpx.Client, feedback: httpx.Client) -> None:
    service, path = command[1].removeprefix("$").split("/", 1)
    client = {"AUDIENCE": shop, "FEEDBACK": feedback}[service]
    answer = client.post(f"/{path}", json=json.loads(command[command.index("--data") + 1]))
    if path == "v1/rejects:retry":  # the reject of the example does not exist here
        assert [one["pointer"] for one in answer.json()["errors"]] == ["/rejects/0/id"]
    else:
        assert answer.status_code == 200, answer.text


def test_the_grid_of_rfm_segments_is_the_one_in_use() -> None:
    rows = _tables(STATISTICS, "recency score")
    assert [int(row[0]) for row in rows] == [5, 4, 3, 2, 1]
    assert tuple(tuple(name.strip("`") for name in row[1:]) for row in reversed(rows)) == rfm.SEGMENTS


@pytest.mark.parametrize(
    ("page", "of", "model"),
    [
        (LISTS, "a campaign", targeting.NewCampaign),
        (LISTS, "a list", targeting.NewTargetList),
        (EXPERIMENTS, "a metric", metrics.NewMetric),
        (EXPERIMENTS, "a counted event", metrics.CountedEvent),
        (EXPERIMENTS, "an experiment", experiments.NewExperiment),
        (EXPERIMENTS, "an arm", experiments.Arm),
        (EXPERIMENTS, "`metrics`", experiments.ExperimentMetrics),
        (EXPERIMENTS, "an assignment", assignments.AssignList),
        (EXPERIMENTS, "a row", assignments.ExternalAssignment),
        (EXPERIMENTS, "a question", assignments.AssignRequest),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_the_pages_of_a_campaign_explain_every_field(page: str, of: str, model: type[BaseModel]) -> None:
    rows = _tables(page, f"field of {of}")
    assert {name for row in rows for name in _named(row[0])} == set(model.model_fields)
    needed = {name for row in rows if "Needed" in row[1] for name in _named(row[0])}
    needed |= {_named(row[0])[0] for row in rows if "(needed)" in row[1]}
    assert needed == {name for name, field in model.model_fields.items() if field.is_required()}


@pytest.mark.parametrize(
    ("page", "column", "names"),
    [
        (LISTS, "step", get_args(targeting.FunnelName)),
        (LISTS, "reason", get_args(RefusedBecause)),
        (EXPERIMENTS, "state", tuple(experiments.State)),
        (EXPERIMENTS, "`reason`", tuple(_named(str(assignments.Assigned.__doc__)))[1:]),
        (KEYS, "scope", SCOPES),
    ],
    ids=["funnel", "send-checks", "life", "assign", "keys"],
)
def test_the_pages_of_a_campaign_name_every_word_of_the_answers(page: str, column: str, names: tuple[str, ...]) -> None:
    assert {name for row in _tables(page, column) for name in _named(row[0])} == set(names)


def test_every_command_of_the_pages_of_a_campaign_runs_as_it_stands(
    shop: httpx.Client, experiments: httpx.Client, feedback: httpx.Client, settings: Settings, tmp_path: Path
) -> None:
    permission = {"channel": "email", "purpose": "marketing", "state": "granted", "source": "form"}
    rows = [
        {
            "customer_id": f"c{number}",
            "attributes": {"city": "Lyon", "age": 20 + number},
            "identities": {"email": f"c{number}@example.org"},
            "consents": [permission],
        }
        for number in range(1, 31)
    ]
    assert shop.post("/v1/customers", json=rows).json()["accepted"] == 30
    young = {"all": [{"attribute": "city", "is": "eq", "value": "Lyon"}, {"attribute": "age", "is": "lt", "value": 50}]}
    if shop.post("/v1/segments", json={"key": "young-lyon", "definition": young}).status_code == 409:
        assert shop.put("/v1/segments/young-lyon", json={"definition": young}).status_code == 200
    script = "\n".join(re.findall(r"```bash\n(.*?)```", LISTS + EXPERIMENTS, flags=re.DOTALL))
    urls = {name.upper(): settings.url_of(name) for name in ("audience", "experiments", "feedback")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path, env={**os.environ, **urls, "KEY": KEY}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    rehearsed = next(answer for answer in said if answer.get("id", "") is None)
    members = list(csv.DictReader((tmp_path / "members.csv").open()))
    assert rehearsed["count"] == len(members) > 20
    sent = list(csv.DictReader((tmp_path / "to-send.csv").open()))
    assert ({row["arm"] for row in sent}, len(sent)) == ({"mail"}, len(members) // 2)
    reasons = {given["experiment"]: given["reason"] for given in said[-1]["assignments"]}
    assert reasons["banner"] == "assigned"
    assert reasons["summer-mail"] in ("stored", "held_out")
