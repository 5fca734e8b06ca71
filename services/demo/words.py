"""How figures are shown to people: tables, percentages, plain words."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.panel import Panel
from rich.table import Table

from shared.contracts.feedback import IngestReport, Refinement
from shared.contracts.results import CheckStatus, Look, Results
from shared.contracts.segments import Preview
from shared.contracts.targeting import TargetList

MARKS = {
    CheckStatus.OK: "[green]ok[/green]",
    CheckStatus.WARNING: "[yellow]warning[/yellow]",
    CheckStatus.FAILED: "[red]failed[/red]",
}
STEPS = {
    "matched": "meant by the segment",
    "reachable": "we have a way to reach them",
    "permitted": "they allow it",
    "not suppressed": "not on a do-not-contact list",
    "not fatigued": "not contacted too often already",
    "not in global control": "not kept aside for comparing all campaigns",
    "ranked and limited": "ranked, and limited where asked",
    "holdout drawn": "left after the holdout was drawn",
    "selected": "on the list",
}


def table(title: str, *headings: str) -> Table:
    """A table with a left title; headings that start with `>` are columns of numbers."""
    made = Table(title=title, title_justify="left", title_style="bold")
    for heading in headings:
        numbers = heading.startswith(">")
        made.add_column(heading.removeprefix(">"), justify="right" if numbers else "left", no_wrap=numbers)
    return made


def amount(number: float | None, *, percent: bool) -> str:
    """A share as per cent, an amount of money with two or three digits; a dash where there is none.

    >>> amount(0.1234, percent=True), amount(-1.5, percent=False), amount(None, percent=True)
    ('12.34 %', '-1.500', '–')
    """
    if number is None:
        return "–"
    return f"{100 * number:.2f} %" if percent else f"{number:,.3f}"


def p_value(number: float | None) -> str:
    """A p-value as people read it.

    >>> p_value(0.0312), p_value(1e-9), p_value(None)
    ('0.031', '< 0.001', '–')
    """
    if number is None or not math.isfinite(number):
        return "–"
    return "< 0.001" if number < 0.001 else f"{number:.3f}"


def health_table(results: Results) -> Table:
    """Whether the experiment can be believed at all: stands above every effect."""
    made = table("Is the experiment healthy?", "check", "", "finding")
    for check in results.health:
        finding = check.detail if check.status is CheckStatus.OK else f"{check.detail} {check.advice}"
        made.add_row(check.check.replace("_", " "), MARKS[check.status], finding)
    return made


def looks_table(looks: Sequence[Look], metric: str) -> Table:
    """How the effect on one metric stood at each look, and how much of the allowed error was spent by then."""
    made = table(f"Looks at {metric}: peeking is paid for", "look", "arm", ">effect", ">from", ">to", ">α spent")
    for each in looks:
        day = "" if each.day is None else f", day {each.day}"
        for effect in each.effects:
            if effect.metric == metric:
                numbers = [amount(number, percent=False) for number in (effect.estimate, effect.low, effect.high)]
                spent = "–" if effect.spent is None else f"{effect.spent:.4f}"
                made.add_row(f"{each.number}{day}", effect.arm, *numbers, spent)
    return made


def preview_table(definition: Mapping[str, Any], preview: Preview) -> Table:
    """How many a rule means, by itself and clause by clause."""
    made = table("Preview: nothing is stored yet", "clause", ">customers")
    for clause in preview.clauses:
        said = json.dumps(_at(definition, clause.path)) if clause.path else "all of it together"
        made.add_row(said, f"{clause.count:,}")
    return made


def _at(definition: Any, pointer: str) -> Any:
    """What a JSON pointer points at."""
    for part in pointer.split("/")[1:]:
        definition = definition[int(part)] if isinstance(definition, list) else definition[part]
    return definition


def funnel_table(built: TargetList) -> Table:
    """From the segment to the list."""
    made = table(f"Target list “{built.name}”: who is left after each step", "step", ">customers", ">taken away")
    for step in built.funnel:
        made.add_row(STEPS[step.step], f"{step.count:,}", f"{step.removed:,}" if step.removed else "")
    return made


def verdicts_table(title: str, reports: dict[str, IngestReport]) -> Table:
    """What the events' door answered, upload by upload."""
    made = table(title, "upload", ">taken", ">there already", ">conflicting", ">refused")
    for name, report in reports.items():
        counts = (report.accepted, report.duplicates, report.conflicts, report.refused)
        made.add_row(name, *(f"{count:,}" for count in counts))
    return made


def reasons_table(report: IngestReport) -> Table:
    """Why events were refused."""
    made = table("Refused, and why", "field", "reason", ">lines")
    for reason in report.reasons:
        made.add_row(reason.pointer, reason.detail, f"{reason.count:,}")
    return made


def refinement_panel(refinement: Refinement) -> Panel:
    """What the search for a better segment came to."""
    title = {"proposed": "A better segment, confirmed", "nothing": "Nothing confirmed"}.get(
        refinement.state, refinement.state
    )
    return Panel(refinement.verdict, title=title, title_align="left")
