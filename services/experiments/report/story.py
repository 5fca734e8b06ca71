"""The words of the page: what to do, what is wrong, what was done how."""

from collections.abc import Sequence
from typing import NamedTuple

from services.experiments.report import formats
from shared.contracts.experiments import Experiment, Split
from shared.contracts.results import CheckStatus, Decision, DecisionVerdict, Design, HealthCheck, Results

STATUS = {CheckStatus.OK: "fine", CheckStatus.WARNING: "warning", CheckStatus.FAILED: "failed"}
DESIGNS = {
    Design.ONE_BLAST: (
        "One message to a frozen list. A look on day d compares what everybody did by day d; the bounds are those of a "
        "group-sequential test with the looks' correlation estimated from the data, so looking often is paid for."
    ),
    Design.STAGGERED: (
        "Messages in waves. Looks compare customers whose window has closed; the bounds are group-sequential, with "
        "information in proportion to 1 / squared standard error."
    ),
    Design.OPEN_ENROLMENT: (
        "Customers come in as time goes by. The interval is a confidence sequence: it holds at every moment at once."
    ),
}


class DecisionView(NamedTuple):
    """The headline, its tone (better, worse or open), and why."""

    headline: str
    tone: str
    reasons: tuple[str, ...]


class CheckView(NamedTuple):
    """One health check."""

    name: str
    status: str
    figure: str
    detail: str
    advice: str


def decision_view(decision: Decision) -> DecisionView:
    """What to do in a few words."""
    if not decision.healthy:
        above = "What failed, and what to do about it, stands above."
        return DecisionView("Do not rely on these figures yet", "worse", (above,))
    headline, tone = {
        DecisionVerdict.SHIP: (f"Use “{decision.arm}”", "better"),
        DecisionVerdict.STOP: ("Stop here", "worse"),
        DecisionVerdict.KEEP_RUNNING: ("Keep running", "open"),
    }[decision.verdict]
    return DecisionView(headline, tone, tuple(decision.reasons))


def check_view(check: HealthCheck) -> CheckView:
    """One check as text."""
    return CheckView(
        formats.words(check.check), STATUS[check.status], formats.figure(check.figure), check.detail, check.advice
    )


def failed_first(checks: Sequence[HealthCheck]) -> list[HealthCheck]:
    """What failed, then warnings, then the rest, otherwise in the order given."""
    order = [CheckStatus.FAILED, CheckStatus.WARNING, CheckStatus.OK]
    return sorted(checks, key=lambda check: order.index(check.status))


def notes(experiment: Experiment, results: Results) -> list[tuple[str, str]]:
    """How it was done, so that a reader can judge and repeat it."""
    exact = experiment.split is Split.EXACT
    found = [
        ("Design", DESIGNS[results.design]),
        ("Method", f"{formats.words(results.method).capitalize()} at α = {results.alpha:g}, two-sided."),
        (
            "Who counts",
            "Everyone assigned, by the arm they were assigned to; customers without a response count as zero.",
        ),
        (
            "Split",
            "Exact counts within each stratum, in the order of a hash." if exact else "By a hash of the customer.",
        ),
        ("Counted", _counted(experiment, results)),
    ]
    if results.look:
        look = results.look
        found.append(
            (
                "Latest look",
                f"Number {look.number}, as of {formats.moment(look.as_of)}{', the last one' if look.final else ''}; "
                f"digest of its moments {look.digest[:12]}.",
            )
        )
    if experiment.planned_size:
        found.append(("Planned size", f"{experiment.planned_size:,} customers in all arms."))
    if experiment.design_digest:
        found.append(("Design digest", experiment.design_digest[:12]))
    return found


def _counted(experiment: Experiment, results: Results) -> str:
    """`until` is about when things occurred: later ones are counted too, but more of them may still arrive."""
    waiting, until = results.counted.pending_batches, results.counted.until
    rest = "nothing is waiting" if not waiting else f"{waiting:,} arrived batches still wait to be counted"
    again = {
        None: "",
        True: " A full recount gives the same figures.",
        False: " A full recount gives OTHER figures than those accumulated.",
    }[results.counted.agrees]
    if experiment.started_at is not None and until <= experiment.started_at <= results.as_of:
        late = "what occurs is complete when what usually comes late is in"
        return f"Nothing is complete yet: {late}; {rest}.{again}"
    return f"Complete for everything that occurred until {formats.moment(until)}; {rest}.{again}"
