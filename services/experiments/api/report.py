"""The report over HTTP, for people with a browser."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from services.experiments.actions import reporting
from shared.auth import requires
from shared.bodies import StrictRoute
from shared.clients.audience import AudienceDep
from shared.db import EngineOf, read_only

router = APIRouter(
    prefix="/v1/experiments/{key}",
    tags=["results"],
    route_class=StrictRoute,
    dependencies=[requires("experiments:read", basic="password")],
)
Reference = Annotated[str, Path(max_length=100, description="the experiment's key or id")]
POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}


@router.get("/report", response_class=HTMLResponse)
def get_report(key: Reference, engine: EngineOf, audience: AudienceDep) -> HTMLResponse:
    """The results as a page: plots and plain words, readable without scripts, on a phone and on paper."""
    return HTMLResponse(reporting.page(partial(read_only, engine), audience, key), headers=POLICY)
