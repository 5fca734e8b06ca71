"""The one entry: data in, readout out."""

from services.experiments.uplift.data import UpliftData, UpliftReadout


def evaluate(people: UpliftData) -> UpliftReadout:
    """Score, rank and value policies for every treatment arm."""
    raise NotImplementedError
