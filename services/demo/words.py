"""How figures are shown to people: tables, percentages, plain words."""

import math
from collections.abc import Sequence
from decimal import Decimal

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
SIGNS = {"EUR": "€"}  # of currencies whose sign stands behind the amount; others are named by their code
NO_CUSTOMER = ("Input should be a valid string", "Field required")  # said of a customer's id: null, or not there
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


def share(number: float | None) -> str:
    """A share as per cent; a dash where there is none.

    >>> share(0.1234), share(None)
    ('12.34 %', '–')
    """
    return "–" if number is None else f"{100 * number:.2f} %"


def money(number: float | Decimal | None, currency: str) -> str:
    """An amount with two decimals and its currency; a dash where there is none.

    >>> money(-1234.5, "EUR"), money(Decimal("0.7698"), "USD"), money(-0.001, "EUR"), money(None, "EUR")
    ('-1,234.50 €', '0.77 USD', '0.00 €', '–')
    """
    if number is None:
        return "–"
    return f"{number:z,.2f} {SIGNS.get(currency, currency)}"


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


def looks_table(looks: Sequence[Look], metric: str, currency: str) -> Table:
    """How the effect on a metric of money stood at each look, and how much of the allowed error was spent by then."""
    made = table(f"Looks at {metric}: peeking is paid for", "look", "arm", ">effect", ">from", ">to", ">α spent")
    for each in looks:
        day = "" if each.day is None else f", day {each.day}"
        for effect in each.effects:
            if effect.metric == metric:
                numbers = [money(number, currency) for number in (effect.estimate, effect.low, effect.high)]
                made.add_row(f"{each.number}{day}", effect.arm, *numbers, share(effect.spent))
    return made


def looks_explained(looks: Sequence[Look], metric: str) -> str:
    """What the looks at profit look like and are not: costs come first; a look without an interval."""
    said = "Costs are paid at once and revenue comes later, so an early look shows too little profit."
    for each in looks:
        reasons = {effect.reason for effect in each.effects if effect.metric == metric and effect.low is None}
        if reasons:
            why_none = "; ".join(sorted(filter(None, reasons)))
            said += f" Look {each.number} has no interval and spends nothing of the allowed error (α): {why_none}."
    return said


def preview_table(preview: Preview) -> Table:
    """How many a rule means, by itself and clause by clause."""
    made = table("Preview: nothing is stored yet", "clause", ">customers")
    for clause in preview.clauses:
        made.add_row(clause.sentence if clause.path else "all of it together", f"{clause.count:,}")
    return made


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
        made.add_row(reason.pointer, why(reason.pointer, reason.detail), f"{reason.count:,}")
    return made


def why(pointer: str, detail: str) -> str:
    """Why a row was refused. That a customer's id is no text means, in files of rows, that there is none.

    >>> why("/customer_id", "Input should be a valid string"), why("/attributes/age", "must be a number")
    ('no customer', 'must be a number')
    """
    return "no customer" if pointer == "/customer_id" and detail in NO_CUSTOMER else detail


def refinement_panel(refinement: Refinement) -> Panel:
    """What the search for a better segment came to."""
    title = {"proposed": "A better segment, confirmed", "nothing": "Nothing confirmed"}.get(
        refinement.state, refinement.state
    )
    return Panel(refinement.verdict, title=title, title_align="left")
