"""KNOW: the shop tells Attune what it knows, dirt included, and says whom a campaign means."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from services.demo import shop as simulation
from services.demo.arrivals import CURRENCY, customer_rows, response_rows
from services.demo.client import Attune
from services.demo.files import ndjson
from services.demo.online_retail import train
from services.demo.shop import CITIES, INTERESTS, LOYALTIES, Shop
from shared.contracts.audience import AttributeDetail, QualityReport
from shared.contracts.feedback import IngestReport, ModelRun, TrainRfm
from shared.contracts.segments import NewSegment, Preview, PreviewRequest, Segment

CATALOGUE: dict[str, dict[str, object]] = {
    "shop": {"type": "text", "description": "which shop's customer this is"},
    "age": {
        "type": "number", "unit": "years", "allowed": {"minimum": 18, "maximum": 110},
        "supplement": {"method": "median"},
    },
    "interest": {"type": "text", "allowed": list(INTERESTS), "description": "what the customer mostly looks at"},
    "loyalty": {"type": "text", "allowed": list(LOYALTIES), "description": "tier of the loyalty programme"},
    "city": {"type": "text", "allowed": list(CITIES)},
    "member_since": {"type": "date"},
}  # fmt: skip


def describe_catalogue(attune: Attune) -> None:
    """Say what may be known of a customer, and of which type it is."""
    for name, definition in CATALOGUE.items():
        attune.audience.put(AttributeDetail, f"/v1/attributes/{name}", definition)


def import_customers(attune: Attune, shop: Shop, told_at: datetime) -> QualityReport:
    """Stream the customer file in and get its quality report."""
    rows = ndjson(customer_rows(shop, told_at))
    return attune.audience.upload(QualityReport, "/v1/imports", rows, kind="customers", format="ndjson")


def import_history(attune: Attune, shop: Shop, until: datetime, seed: int) -> IngestReport:
    """Stream in the orders of the year before."""
    orders = simulation.history(shop, seed)
    return attune.feedback.upload(IngestReport, "/v1/events", ndjson(response_rows(shop, orders, "past", until)))


def score_customers(attune: Attune, as_of: datetime) -> ModelRun:
    """Recency, frequency and value of every customer, delivered to the portraits."""
    return train(attune, TrainRfm(kind="order", as_of=as_of, currency=CURRENCY))


def definition(shop: Shop) -> dict[str, object]:
    """Who is meant at first: a marketer's guess, in the rule language."""
    return {
        "all": [
            {"attribute": "shop", "is": "eq", "value": shop.name},
            {"attribute": "interest", "is": "in", "value": ["outdoor", "home", "sports"]},
            {"attribute": "age", "is": "between", "value": [25, 80]},
            {"event": "order", "measure": "count", "is": "gte", "value": 1, "within_days": 365},
        ]
    }


def preview(attune: Attune, meant: Mapping[str, object], as_of: datetime) -> Preview:
    """How many a rule means, as a whole and clause by clause, before anything is stored."""
    request = PreviewRequest.model_validate({"definition": meant, "as_of": as_of})
    return attune.audience.post(Preview, "/v1/segments:preview", request)


def save_segment(attune: Attune, key: str, name: str, meant: Mapping[str, object]) -> Segment:
    """Store the rule."""
    new = NewSegment.model_validate({"key": key, "name": name, "definition": meant})
    return attune.audience.post(Segment, "/v1/segments", new)


def a_year_before(instant: datetime) -> datetime:
    """When customers are taken to have said what they allow."""
    return instant - timedelta(days=365)
