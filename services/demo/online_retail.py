"""A replay of a year of a real shop's invoices (UCI Online Retail; Chen, 2015) through the bulk door.

Each line is an event: `order_line`, or `cancellation` where the invoice number starts with C. Dirt is left in: what the
door refuses, and why, is part of the answer. Invoice times have no zone and are taken as UTC.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, TypeAdapter
from rich.console import Console
from rich.table import Table

from services.demo import words
from services.demo.client import Attune
from services.demo.files import csv_rows, ndjson
from services.stack.target import Target
from shared.contracts.audience import Portrait
from shared.contracts.feedback import IngestReport, ModelRun, RecordedEvent, TrainRfm
from shared.contracts.segments import Preview

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
YEAR_ENDS = datetime(2011, 12, 10, tzinfo=UTC)  # the day after the last invoice
CURRENCY = "GBP"
SHOWN = 5  # portraits
EXAMPLES = 20  # refusals


class Figures(BaseModel):
    """What the file holds (`lines`, `identical_lines`) and what the services answered.

    `sales_lines`, `customers` and `revenue` are those of lines with a customer, a quantity and a price, as the RFM
    model counted them; the first `EXAMPLES` refusals stay in the report.
    """

    lines: int
    identical_lines: int
    sales_lines: int
    customers: int
    revenue: Decimal
    currency: str
    cancellations: int
    report: IngestReport
    model: ModelRun
    known_buyers: int
    known_cancellers: int
    portraits_with_traits: int
    portraits: list[Portrait]


class Read:
    """Counts while a file streams by: lines, and lines that repeat an earlier one in every column."""

    def __init__(self) -> None:
        self.lines = 0
        self._seen: set[int] = set()

    @property
    def identical_lines(self) -> int:
        return self.lines - len(self._seen)

    def through(self, rows: Iterator[dict[str, str]]) -> Iterator[dict[str, str]]:
        for row in rows:
            self.lines += 1
            self._seen.add(hash(tuple(row.values())))
            yield row


def replay(target: Target, file: Path, say: Callable[[str], None]) -> Figures:
    """Load the file, build RFM traits, read what the portraits hold. Doing it twice changes nothing.

    Raises
    ------
    Trouble
        When the file is another one, or a service refuses what it is sent.
    """
    attune, read = Attune(target), Read()
    lines = read.through(csv_rows(file, COLUMNS))
    say("streaming the invoice lines through the bulk door")
    report = attune.feedback.upload(
        IngestReport, "/v1/events", ndjson(event(number, line) for number, line in enumerate(lines, 1))
    )
    say("scoring recency, frequency and value of each customer")
    wanted = TrainRfm(kind="order_line", as_of=YEAR_ENDS, currency=CURRENCY)
    model = train(attune, wanted)
    return Figures(
        lines=read.lines,
        identical_lines=read.identical_lines,
        sales_lines=TypeAdapter(int).validate_python(model.window["events"]),
        customers=model.customers,
        revenue=Decimal(str(model.metrics["monetary"])),
        currency=CURRENCY,
        cancellations=sum(1 for _ in attune.feedback.items(RecordedEvent, "/v1/events", kind="cancellation")),
        report=report.model_copy(update={"rejected": report.rejected[:EXAMPLES]}),
        model=model,
        known_buyers=_count(attune, {"event": "order_line"}),
        known_cancellers=_count(attune, {"event": "cancellation"}),
        portraits_with_traits=_count(attune, {"trait": "rfm_monetary", "is": "exists"}),
        portraits=[
            attune.audience.get(Portrait, f"/v1/customers/{customer}")
            for customer in _preview(attune, {"trait": "rfm_segment", "is": "exists"}).sample[:SHOWN]
        ],
    )


def event(number: int, line: Mapping[str, str]) -> dict[str, object]:
    """The event of invoice line `number` (the file's first line of data is 1).

    The customer id is the whole number that the file writes as `17850.0`; a missing one stays missing. A cancellation's
    quantity is negative in the file; its value says how much was cancelled, the kind says that it was.
    """
    cancelled = line["InvoiceNo"].startswith("C")
    quantity, price = int(line["Quantity"]), Decimal(line["UnitPrice"])
    return {
        "event_id": f"{line['InvoiceNo']}:{number}",
        "customer_id": line["CustomerID"].removesuffix(".0") or None,
        "kind": "cancellation" if cancelled else "order_line",
        "occurred_at": line["InvoiceDate"].replace(" ", "T") + "Z",
        "value": str(-quantity * price if cancelled else quantity * price),
        "currency": CURRENCY,
        "properties": {
            "order_id": line["InvoiceNo"],
            "product": line["StockCode"],
            "description": line["Description"],
            "quantity": abs(quantity),
            "unit_price": float(price),
            "country": line["Country"],
        },
    }


def train(attune: Attune, wanted: TrainRfm) -> ModelRun:
    """Train, wait until the traits are delivered to the portraits, and return the run."""
    done = attune.feedback.job("/v1/models/rfm", wanted)
    return attune.feedback.get(ModelRun, f"/v1/models/{done['run']}")


def _count(attune: Attune, definition: Mapping[str, object]) -> int:
    return _preview(attune, definition).count


def _preview(attune: Attune, definition: Mapping[str, object]) -> Preview:
    return attune.audience.post(Preview, "/v1/segments:preview", {"definition": definition})


def show(figures: Figures, console: Console) -> None:
    """The same for people."""
    console.print(
        f"{figures.lines:,} lines, {figures.identical_lines:,} of them identical to an earlier one.", highlight=False
    )
    console.print(words.verdicts_table("Screening at the door", {"invoice lines": figures.report}))
    console.print(words.reasons_table(figures.report))
    table = words.table("What is known now", "", ">")
    known = {
        "sales lines with customer, quantity and price": figures.sales_lines,
        "cancelled lines": figures.cancellations,
        "customers who bought": figures.known_buyers,
        "customers who bought, and cancelled something": figures.known_cancellers,
        "portraits with RFM traits": figures.portraits_with_traits,
    }
    for name, count in known.items():
        table.add_row(name, f"{count:,}")
    table.add_row("revenue of the sales lines", words.money(figures.revenue, figures.currency))
    console.print(table)
    console.print(_segments_table(figures.model))
    console.print(_portraits_table(figures.portraits))


def _segments_table(model: ModelRun) -> Table:
    table = words.table("Customers by recency and frequency", "segment", ">customers")
    for segment, customers in TypeAdapter(dict[str, int]).validate_python(model.metrics["segments"]).items():
        table.add_row(segment.replace("_", " "), f"{customers:,}")
    return table


def _portraits_table(portraits: list[Portrait]) -> Table:
    names = sorted({name for portrait in portraits for name in portrait.traits})
    table = words.table(
        "Some portraits", "customer", *(f">{name.removeprefix('rfm_').replace('_', ' ')}" for name in names)
    )
    for portrait in portraits:
        values = (_shown(name, portrait.traits[name].value) if name in portrait.traits else "" for name in names)
        table.add_row(portrait.customer_id, *values)
    return table


def _shown(trait: str, value: object) -> str:
    if trait == "rfm_monetary" and isinstance(value, int | float):
        return words.money(value, CURRENCY)
    return str(value)
