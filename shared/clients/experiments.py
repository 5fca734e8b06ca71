"""Experiments as its peers see it."""

from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Request
from pydantic import RootModel

from shared.clients.peer import Peer
from shared.contracts.experiments import Experiment
from shared.contracts.metrics import Metric
from shared.contracts.results import Results
from shared.errors import NotFound


class _Versions(RootModel[list[Metric]]):
    """The versions of a metric, the newest first."""


class ExperimentsClient(Peer):
    """Calls to experiments. Each raises the domain error that its refusal stands for, or `PeerUnavailable`."""

    def experiment(self, reference: str) -> Experiment:
        """By key or id."""
        return self._call("GET", f"/v1/experiments/{quote(reference, safe='')}", Experiment)

    def results(self, reference: str) -> Results:
        """Health checks and effects as they stand."""
        return self._call("GET", f"/v1/experiments/{quote(reference, safe='')}/results", Results)

    def metric(self, key: str, version: int) -> Metric:
        """A version of a metric. Raises `NotFound`."""
        versions = self._call("GET", f"/v1/metrics/{quote(key, safe='')}/versions", _Versions).root
        found = next((metric for metric in versions if metric.version == version), None)
        if found is None:
            raise NotFound(f"There is no version {version} of the metric {key}.")
        return found


def _experiments(request: Request) -> ExperimentsClient:
    client: ExperimentsClient = request.app.state.peers["experiments"]
    return client


ExperimentsDep = Annotated[ExperimentsClient, Depends(_experiments)]
