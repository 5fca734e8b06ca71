"""Experiments as its peers see it."""

from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Request

from shared.clients.peer import Peer
from shared.contracts.experiments import Experiment
from shared.contracts.results import Results


class ExperimentsClient(Peer):
    """Calls to experiments. Each raises the domain error that its refusal stands for, or `PeerUnavailable`."""

    def experiment(self, reference: str) -> Experiment:
        """By key or id."""
        return self._call("GET", f"/v1/experiments/{quote(reference, safe='')}", Experiment)

    def results(self, reference: str) -> Results:
        """Health checks and effects as they stand."""
        return self._call("GET", f"/v1/experiments/{quote(reference, safe='')}/results", Results)


def _experiments(request: Request) -> ExperimentsClient:
    client: ExperimentsClient = request.app.state.peers["experiments"]
    return client


ExperimentsDep = Annotated[ExperimentsClient, Depends(_experiments)]
