"""All studies. A further one is a module with a `STUDY` or `STUDIES`, named here."""

from tests.simulation import guardrails, peeking, refinement
from tests.simulation.registry import Study

STUDIES: tuple[Study, ...] = (*peeking.STUDIES, *guardrails.STUDIES, *refinement.STUDIES)
