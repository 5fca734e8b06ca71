"""Whether an experiment can be judged by what it measures. Pure."""

from collections.abc import Mapping, Sequence

from services.experiments.figures import compared
from shared.contracts.experiments import LEAST_ALPHA, Arm, ExperimentMetrics, MetricRole
from shared.contracts.metrics import Metric
from shared.errors import FieldError

OPENED = "opened"  # machines open mails, too: privacy proxies and scanners, in one arm as in the other


def places(metrics: ExperimentMetrics) -> list[tuple[str, str, MetricRole]]:
    """The metrics as they are named, where in the design, and what for."""
    found = [(metrics.primary, "/metrics/primary", MetricRole.PRIMARY)]
    found += [(key, f"/metrics/secondary/{n}", MetricRole.SECONDARY) for n, key in enumerate(metrics.secondary)]
    return found + [
        (each.metric, f"/metrics/guardrails/{n}", MetricRole.GUARDRAIL) for n, each in enumerate(metrics.guardrails)
    ]


def faults(arms: Sequence[Arm], metrics: ExperimentMetrics, known: Mapping[str, Metric]) -> list[FieldError]:
    """Why no decision could rest on the metrics; pointers into the design. `known`: the metrics by how they are named.

    Secondary metrics decide nothing, so they may be such that nothing is compared.
    """
    found = []
    for name, place, role in places(metrics):
        metric = known.get(name)
        if metric is None:
            found.append(FieldError(place, f"there is no metric {name}"))
        elif role is MetricRole.PRIMARY and any(counted.event == OPENED for counted in metric.counted()):
            found.append(FieldError(place, "opens decide nothing: machines open messages, too"))
        elif role is not MetricRole.SECONDARY and not compared(arms, metric):
            told = "only contacted customers can show it, and fewer than two arms are contacted: nothing is compared"
            found.append(FieldError(place, told))
    return found


def hindrances(arms: Sequence[Arm], metrics: ExperimentMetrics, known: Mapping[str, Metric], alpha: float) -> list[str]:
    """Why a draft cannot start, in words: what a rule refuses that is younger than the draft, or a changed metric."""
    found = [f"{fault.pointer}: {fault.detail}" for fault in faults(arms, metrics, known)]
    return found + ([f"/alpha: must be at least {LEAST_ALPHA:g}"] if alpha < LEAST_ALPHA else [])
