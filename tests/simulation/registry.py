"""What a study is, and how its figures are judged and written down."""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple

from scipy.stats import binomtest


class Result(NamedTuple):
    """One case of a study: in `hits` of `runs` something happened that may happen in a share `stated` of them.

    `beside` are further columns of the table, by title.
    """

    case: str
    runs: int
    hits: int
    stated: float
    beside: dict[str, str]

    @property
    def rate(self) -> float:
        return self.hits / self.runs

    @property
    def bounds(self) -> tuple[float, float]:
        """Where the true rate lies, with 95 % confidence (Clopper & Pearson)."""
        low, high = binomtest(self.hits, self.runs).proportion_ci(0.95, "exact")
        return low, high

    @property
    def within(self) -> bool:
        """Whether the rate is at most the stated level, as far as so many runs can tell."""
        return self.rate <= self.stated + 1.96 * sqrt(self.stated * (1 - self.stated) / self.runs)


class Study(NamedTuple):
    """A question put to simulated campaigns. `run(runs, seed)` answers it by case; `runs` is the long run's number."""

    key: str
    title: str
    words: str
    runs: int
    run: Callable[[int, int], Sequence[Result]]


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    titles = list(results[0].beside) if results else []
    lines = [
        "| " + " | ".join(["case", "runs", "rate", "95 % bounds", "stated", "within", *titles]) + " |",
        "| " + " | ".join(["---", *["---:"] * 4, "---", *["---:"] * len(titles)]) + " |",
    ]
    for found in results:
        low, high = found.bounds
        cells = [
            found.case,
            f"{found.runs:,}",
            f"{found.rate:.1%}",
            f"{low:.1%} to {high:.1%}",
            f"{found.stated:.1%}",
            "yes" if found.within else "**no**",
            *found.beside.values(),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def section(study: Study, results: Sequence[Result]) -> str:
    """The study's part of the page, between markers that let the next run replace it."""
    return "\n".join(
        [_start(study), f"## {study.title}", "", study.words, "", table(results), _end(study)],
    )


def replaced(page: str, study: Study, text: str) -> str:
    """The page with the study's part replaced, or added at its end."""
    start, end = page.find(_start(study)), page.find(_end(study))
    if start < 0 or end < start:
        return f"{page.rstrip()}\n\n{text}\n"
    return page[:start] + text + page[end + len(_end(study)) :]


def _start(study: Study) -> str:
    return f"<!-- simulation: {study.key} -->"


def _end(study: Study) -> str:
    return f"<!-- end of simulation: {study.key} -->"
