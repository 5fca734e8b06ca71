"""The effect on the primary metric as it was at each look."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from services.experiments.report import formats, plots
from services.experiments.report.effects import VERDICTS
from services.experiments.report.scales import scale
from shared.contracts.results import MetricResult, SeriesPoint


class LookRow(NamedTuple):
    """One look at one arm."""

    look: str
    at: str
    estimate: str
    interval: str
    p_value: str


class SeriesView(NamedTuple):
    """One arm's looks, as a plot and as rows."""

    arm: str
    plot: Markup
    rows: tuple[LookRow, ...]


def series_view(metric: MetricResult, points: Sequence[SeriesPoint]) -> list[SeriesView]:
    """One plot per arm that was looked at, all on one scale."""
    unit = formats.unit_of(metric)
    of_metric = [point for point in points if point.metric == metric.metric]
    on = scale([end for point in of_metric for end in (point.estimate, point.low, point.high)], ticks=4)
    labels = [formats.tick(tick, unit) for tick in on.ticks]
    tones = {effect.arm: VERDICTS[effect.verdict][1] for effect in metric.effects}
    found = []
    for arm in dict.fromkeys(point.arm for point in of_metric):
        own = sorted((point for point in of_metric if point.arm == arm), key=lambda point: (point.as_of, point.look))
        last = own[-1]
        described = (
            f"{len(own)} look{'s' if len(own) != 1 else ''}; at the last one {formats.signed(last.estimate, unit)}, "
            f"interval {formats.between(last.low, last.high, unit)}."
        )
        plot = plots.series(f"Effect of {arm} over time", described, tones.get(arm, "open"), _moments(own), on, labels)
        rows = tuple(
            LookRow(
                str(point.look),
                formats.moment(point.as_of),
                formats.signed(point.estimate, unit),
                formats.between(point.low, point.high, unit),
                formats.p_value(point.p_value),
            )
            for point in own
        )
        found.append(SeriesView(arm, plot, rows))
    return found


def _moments(points: Sequence[SeriesPoint]) -> list[plots.Moment]:
    start, end = points[0].as_of, points[-1].as_of
    length = (end - start).total_seconds()
    return [
        plots.Moment(
            at=100 * (point.as_of - start).total_seconds() / length if length else 50.0,
            label=formats.day(point.as_of),
            estimate=point.estimate,
            low=point.low,
            high=point.high,
        )
        for point in points
    ]
