"""Individual effects over HTTP."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query

from services.experiments.actions import uplift as actions
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.contracts.base import Key
from shared.contracts.policies import Policy, Uplift
from shared.db import EngineOf, read_only

router = APIRouter(
    prefix="/v1/experiments/{key}",
    tags=["uplift"],
    route_class=StrictRoute,
    dependencies=[requires("experiments:read")],
)
Reference = Annotated[str, Path(max_length=100, description="the experiment's key or id")]
Metric = Annotated[Key | None, Query(description="default: profit where it is measured, else the primary metric")]
ArmKey = Annotated[Key | None, Query(description="default: the first arm that is not the control")]
Value = Annotated[
    float | None, Query(gt=0, le=1e9, allow_inf_nan=False, description="money for one unit of the metric")
]


@router.get("/uplift")
def get_uplift(key: Reference, engine: EngineOf, metric: Metric = None, arm: ArmKey = None) -> Uplift:
    """How well individual effects can be ranked (Qini, AUUC, RATE on a held-out half), and by which features."""
    return actions.uplift(*actions.asked(partial(read_only, engine), key, metric, arm))


@router.get("/policy")
def get_policy(
    key: Reference, engine: EngineOf, metric: Metric = None, arm: ArmKey = None, value: Value = None
) -> Policy:
    """Profit by share contacted, and whether contacting only the best ranked beats contacting everybody."""
    return actions.policy(*actions.asked(partial(read_only, engine), key, metric, arm, value))
