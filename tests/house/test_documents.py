"""What the documents say is there."""

import csv
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import yaml

from services.audience.catalogue import COLUMNS
from services.audience.screening import Screen, Screened, from_csv
from shared.contracts.audience import AttributeType, CustomerRow, NewAttribute
from shared.queue import CONNECTIONS
from shared.settings import SERVICES, Settings

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_is_explained() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    names = {f"ATTUNE_{name.upper()}" for name in Settings.model_fields}
    rows = set(re.findall(r"^\| `(ATTUNE_[A-Z_]+)`", page, flags=re.MULTILINE))
    assert rows == names


def test_the_page_on_customers_names_every_field_and_type_and_its_examples_are_taken() -> None:
    page = (ROOT / "docs" / "customers.md").read_text()
    assert set(re.findall(r"^\| `([a-z_]+)` \|", page.split("## Columns")[0], flags=re.MULTILINE)) == set(
        CustomerRow.model_fields
    )
    columns = re.findall(r"^\| (`.*?) \|", page.split("## Columns")[1].split("```csv")[0], flags=re.MULTILINE)
    assert {name for cell in columns for name in re.findall(r"`(\w+)`", cell)} == COLUMNS
    assert set(re.findall(r"`(\w+)`", page.split("Types:")[1].split(";")[0])) == set(AttributeType)
    catalogue = {"age": NewAttribute(type=AttributeType.NUMBER), "city": NewAttribute(type=AttributeType.TEXT)}
    screen = Screen(catalogue, "secret", str.upper, datetime.now(UTC))
    (example,) = re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL)
    (table,) = re.findall(r"```csv\n(.*?)```", page, flags=re.DOTALL)
    rows = [from_csv(row, catalogue) for row in csv.DictReader(table.splitlines())]
    for row in [json.loads(example), *rows]:
        taken = screen.row(row)
        assert isinstance(taken, Screened), taken
        assert taken.attributes == {"age": 34, "city": "Lyon"}
        assert [one.state for one in taken.consents] == ["granted"]


def test_the_page_on_customers_names_every_call_that_makes_one_known_and_promises_no_erasure() -> None:
    agreed = (ROOT / "tests" / "house" / "snapshots" / "audience.txt").read_text()
    calls = re.findall(r"^((?:POST|PUT|PATCH|DELETE) /v1/customers(?:/{customer_id})?) ", agreed, flags=re.MULTILINE)
    page = (ROOT / "docs" / "customers.md").read_text()
    assert calls
    assert not [call for call in calls if f"| `{call}` |" not in page]
    assert not [page.name for page in ROOT.glob("docs/*.md") if "erase" in page.read_text()]


def test_the_page_on_deployment_counts_every_connection_that_an_upgrade_may_take() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text()
    chart = yaml.safe_load((ROOT / "helm" / "values.yaml").read_text())
    pool, queue = chart["settings"]["databasePool"], CONNECTIONS + 1
    services, workers = (sum(chart[name][part]["replicas"] for name in SERVICES) for part in ("service", "worker"))
    most = 2 * (services * pool + workers * (pool + queue))
    assert f"2 × ({services} × {pool} + {workers} × {pool + queue}) = {most}" in page
    told = {int(number) for number in re.findall(r"max_connections = (\d+)", page)}
    assert len(told) == 1
    reserved, migration = 3, 1
    assert most + reserved + migration <= told.pop()
    default = Settings.model_fields["database_pool"].default
    alone = f"{len(SERVICES)} × {default} + {len(SERVICES)} × {default + queue}"
    assert f"{alone} = {len(SERVICES) * (2 * default + queue)}" in page


def test_every_link_within_the_project_leads_somewhere() -> None:
    dead = {
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
        for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", page.read_text())
        if not (page.parent / target).exists()
    }
    assert not dead


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    assert named <= targets
