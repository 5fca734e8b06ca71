"""Plots as inline SVG. Positions across are per cent, so that a plot fits any width and its letters keep their size."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from services.experiments.report.scales import Scale

EMPTY = Markup("")


class Strip(NamedTuple):
    """One effect on a scale: a dot, the interval that survives peeking, and the one for the planned end only."""

    name: str
    tone: str
    estimate: float | None
    low: float | None
    high: float | None
    fixed_low: float | None
    fixed_high: float | None
    described: str


class Moment(NamedTuple):
    """One look: where it stands in time (0–100), and what it showed."""

    at: float
    label: str
    estimate: float | None
    low: float | None
    high: float | None


class Share(NamedTuple):
    """Profit when this share is contacted."""

    share: float
    estimate: float
    low: float
    high: float


def strip(found: Strip, on: Scale) -> Markup:
    """One row of a forest plot: 34 pixels high."""
    parts = [_line(tick, tick, 0, 34, on, "grid") for tick in on.ticks]
    parts.append(_line(0, 0, 0, 34, on, "zero"))
    if found.fixed_low is not None and found.fixed_high is not None:
        parts.append(_line(found.fixed_low, found.fixed_high, 26, 26, on, "fixed"))
    if found.low is not None and found.high is not None:
        parts.append(_line(found.low, found.high, 14, 14, on, f"interval {found.tone}"))
        parts += [_line(end, end, 9, 19, on, f"cap {found.tone}") for end in (found.low, found.high)]
    if found.estimate is not None:
        parts.append(
            Markup('<circle cx="{}%" cy="14" r="5" class="dot {}"/>').format(on.at(found.estimate), found.tone)
        )
    return _svg(found.name, found.described, 34, Markup("").join(parts), "strip")


def axis(on: Scale, labels: Sequence[str]) -> Markup:
    """The ticks' labels below a forest plot; decoration only, every figure stands in the table."""
    shown = [
        Markup('<text x="{}%" y="13" class="tick {}">{}</text>').format(on.at(tick), _anchor(on.at(tick)), label)
        for tick, label in zip(on.ticks, labels, strict=True)
    ]
    return Markup('<svg class="axis" width="100%" height="18" aria-hidden="true" focusable="false">{}</svg>').format(
        Markup("").join(shown)
    )


def series(name: str, described: str, tone: str, moments: Sequence[Moment], on: Scale, labels: Sequence[str]) -> Markup:
    """An effect over the looks: dots with their intervals, joined in the order they were taken."""
    height = 190
    parts = [*_rules(on, labels, height - 30)]
    known = [moment for moment in moments if moment.estimate is not None]
    for before, after in pairwise(known):
        parts.append(
            Markup('<line x1="{}%" y1="{}" x2="{}%" y2="{}" class="path {}"/>').format(
                _inset(before.at), _up(before.estimate, on), _inset(after.at), _up(after.estimate, on), tone
            )
        )
    for moment in moments:
        x = _inset(moment.at)
        if moment.low is not None and moment.high is not None:
            parts.append(
                Markup('<line x1="{0}%" y1="{1}" x2="{0}%" y2="{2}" class="interval {3}"/>').format(
                    x, _up(moment.low, on), _up(moment.high, on), tone
                )
            )
        if moment.estimate is not None:
            y = _up(moment.estimate, on)
            parts.append(Markup('<circle cx="{}%" cy="{}" r="4.5" class="dot {}"/>').format(x, y, tone))
    for moment in (moments[0], moments[-1]) if len(moments) > 1 else moments[:1]:
        x = _inset(moment.at)
        text = Markup('<text x="{}%" y="{}" class="tick {}">{}</text>')
        parts.append(text.format(x, height - 6, _anchor(moment.at if len(moments) > 1 else 50), moment.label))
    return _svg(name, described, height, Markup("").join(parts), "series")


def profit(
    name: str, described: str, points: Sequence[Share], best: float | None, on: Scale, labels: Sequence[str]
) -> Markup:
    """Profit by share contacted: the curve, its interval as a band, and the best share."""
    height = 250
    inner = height - 30
    line = " ".join(f"{_wide(point.share)},{_deep(point.estimate, on)}" for point in points)
    upper = [f"{_wide(point.share)},{_deep(point.high, on)}" for point in points]
    lower = [f"{_wide(point.share)},{_deep(point.low, on)}" for point in reversed(points)]
    shapes = Markup(
        '<svg y="0" width="100%" height="{}" viewBox="0 0 1000 1000" preserveAspectRatio="none">'
        '<polygon points="{}" class="band"/><polyline points="{}" class="curve"/></svg>'
    ).format(inner, " ".join([*upper, *lower]), line)
    parts = [*_rules(on, labels, inner), shapes]
    if best is not None:
        top = next((point.estimate for point in points if abs(point.share - best) < 1e-9), None)
        x = _inset(100 * best)
        parts.append(Markup('<line x1="{0}%" y1="0" x2="{0}%" y2="{1}" class="best"/>').format(x, inner))
        if top is not None:
            parts.append(Markup('<circle cx="{}%" cy="{}" r="5" class="dot better"/>').format(x, _up(top, on, inner)))
    for share in (0, 25, 50, 75, 100):
        label = Markup('<text x="{}%" y="{}" class="tick {}">{} %</text>')
        parts.append(label.format(_inset(share), height - 6, _anchor(share), share))
    return _svg(name, described, height, Markup("").join(parts), "profit")


def bar(share: float, tone: str) -> Markup:
    """A bar of this share of the width, 0 to 1; decoration beside a figure."""
    return Markup(
        '<svg class="bar" width="100%" height="10" aria-hidden="true" focusable="false">'
        '<rect width="100%" height="10" rx="2" class="trough"/>'
        '<rect width="{}%" height="10" rx="2" class="fill {}"/></svg>'
    ).format(round(100 * min(1.0, max(0.0, share)), 2), tone)


def _svg(name: str, described: str, height: int, content: Markup, kind: str) -> Markup:
    return Markup(
        '<svg class="plot {}" width="100%" height="{}" role="img" focusable="false">'
        "<title>{}</title><desc>{}</desc>{}</svg>"
    ).format(kind, height, name, described, content)


def _rules(on: Scale, labels: Sequence[str], inner: int) -> list[Markup]:
    """Lines across with their labels above them at the left, so that no plot needs a margin."""
    parts = []
    for tick, label in zip(on.ticks, labels, strict=True):
        y = _up(tick, on, inner)
        kind = "zero" if tick == 0 else "grid"
        parts.append(Markup('<line x1="0" y1="{0}" x2="100%" y2="{0}" class="{1}"/>').format(y, kind))
        if y > 14:
            parts.append(Markup('<text x="0" y="{}" class="tick start">{}</text>').format(round(y - 4, 1), label))
    return parts


def _line(x1: float, x2: float, y1: float, y2: float, on: Scale, kind: str) -> Markup:
    return Markup('<line x1="{}%" y1="{}" x2="{}%" y2="{}" class="{}"/>').format(on.at(x1), y1, on.at(x2), y2, kind)


def _anchor(at: float) -> str:
    return "start" if at < 12 else "end" if at > 88 else "middle"


def _inset(at: float) -> float:
    """Room for the labels at the left and for a dot at the right."""
    return round(14 + at * 0.84, 3)


def _wide(share: float) -> float:
    return round(10 * _inset(100 * share), 2)


def _deep(value: float, on: Scale) -> float:
    return round(1000 - 10 * on.at(value), 2)


def _up(value: float | None, on: Scale, inner: int = 160) -> float:
    """Pixels from above."""
    return round(inner * (1 - on.at(value or 0.0) / 100), 1)
