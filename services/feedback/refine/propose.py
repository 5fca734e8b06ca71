"""From cells to a proposal."""

from services.feedback.refine.cells import Cells
from services.feedback.refine.spec import Proposal, Spec


def refine(grow: Cells, confirm: Cells, spec: Spec) -> Proposal:
    """Search a rule on one half, confirm it once on the other, and word the verdict."""
    raise NotImplementedError
