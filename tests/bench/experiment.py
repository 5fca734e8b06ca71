"""The experiment that the benchmarks run: three arms, three metrics, one list or none."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from services.experiments.actions import experiments, metrics
from shared.contracts.experiments import Experiment, NewExperiment
from shared.contracts.metrics import NewMetric
from shared.db import Db

WINDOW = timedelta(days=14)
MARGIN = 0.4
CURRENCY = "EUR"
COST = "0.05"  # of contacting one customer of the arm `mail`
METRICS = ("orders", "revenue", "profit")
KINDS = {"orders": "proportion", "revenue": "revenue", "profit": "profit"}
ARMS = (
    {"key": "control", "weight": 0.2, "control": True},
    {"key": "mail", "weight": 0.4, "cost_per_contact": COST},
    {"key": "letter", "weight": 0.4},
)


def started(db: Db, key: str, list_id: UUID | None, **design: Any) -> Experiment:
    """Define the metrics where they are missing, draft the experiment and start it."""
    for metric, kind in KINDS.items():
        margin = MARGIN if kind == "profit" else None
        new = NewMetric(key=metric, kind=kind, event="order", window_days=WINDOW.days, margin=margin)
        metrics.create(db, new, CURRENCY)
    primary, *secondary = METRICS
    given = {
        "key": key,
        "hypothesis": "Contact makes more customers order.",
        "target_list_id": list_id,
        "arms": ARMS,
        "metrics": {"primary": primary, "secondary": secondary},
        **design,
    }
    experiments.create(db, NewExperiment.model_validate(given))
    return experiments.start(db, key)
