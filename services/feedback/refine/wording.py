"""What is said: the rule in words and in the segment language, and the verdict as sentences for a marketer."""

from collections.abc import Sequence

from services.feedback.refine.cells import Coding
from services.feedback.refine.search import Leaf
from services.feedback.refine.spec import Gain, Group, Spec
from services.feedback.refine.splits import Definition, Split, clause, words


def clauses(leaves: Sequence[Leaf], codings: Sequence[Coding], missing: Sequence[bool]) -> list[Definition]:
    """The kept customers as clauses that must all hold, said the shorter way: who is kept, or who is not dropped."""
    keep = [leaf for leaf in leaves if leaf.contact]
    drop = [leaf for leaf in leaves if not leaf.contact]
    if len(drop) == 1 and (len(keep) > 1 or len(drop[0].path) < len(keep[0].path)):
        (out,) = drop
        if len(out.path) == 1:
            return [_clause(out.path[0], codings, missing, opposite=True)]
        return [{"not": _all(out, codings, missing)}]
    if len(keep) == 1:
        return [_clause(step, codings, missing) for step in keep[0].path]
    return [{"any": [_all(leaf, codings, missing) for leaf in keep]}]


def _all(leaf: Leaf, codings: Sequence[Coding], missing: Sequence[bool]) -> Definition:
    steps = [_clause(step, codings, missing) for step in leaf.path]
    return steps[0] if len(steps) == 1 else {"all": steps}


def _clause(
    step: tuple[Split, bool], codings: Sequence[Coding], missing: Sequence[bool], *, opposite: bool = False
) -> Definition:
    split, yes = step
    return clause(split, yes != opposite, codings[split.trait], missing=missing[split.trait])


def rule(leaves: Sequence[Leaf], codings: Sequence[Coding], missing: Sequence[bool]) -> str:
    """Who is in the leaves marked for contact, in words, said the shorter way."""
    chosen = [leaf for leaf in leaves if leaf.contact]
    others = [leaf for leaf in leaves if not leaf.contact]
    if len(others) == 1 and len(chosen) > 1:
        return f"everyone except those where {_words(others, codings, missing)}"
    return f"those where {_words(chosen, codings, missing)}"


def _words(leaves: Sequence[Leaf], codings: Sequence[Coding], missing: Sequence[bool]) -> str:
    said = [
        " and ".join(words(split, yes, codings[split.trait], missing=missing[split.trait]) for split, yes in leaf.path)
        for leaf in leaves
    ]
    return "; or ".join(said)


def against(spec: Spec, arms: Sequence[int]) -> str:
    """A policy that treats everyone alike, in words."""
    if len(arms) == 1 and spec.arms[arms[0]].control:
        return "contacting nobody"
    return f"contacting everyone with {' or '.join(spec.arms[arm].key for arm in arms)}"


def amount(value: float, spec: Spec) -> str:
    """A figure per customer: money with cents, anything else with three significant digits."""
    return f"{value:,.2f}" if spec.money else f"{value:.3g}"


def unhealthy(spec: Spec) -> str:
    return (
        "Nothing is proposed: the experiment's health checks failed, so no rule learnt from it could be trusted. "
        + " ".join(spec.problems)
    )


def too_few_responders(spec: Spec, fewest: int) -> str:
    return (
        f"Nothing is proposed: it is too early to learn from {spec.metric}. Each half of the customers needs at least "
        f"{fewest} who responded without contact and as many with it."
    )


def no_rule(spec: Spec, tried: int, detectable: float) -> str:
    return (
        f"Nothing is proposed: none of the {tried:,} rules compared did better on {spec.metric} than treating everyone "
        "alike. The segment can stay as it is; that is the usual outcome, and a good one to know. "
        + unseen(spec, detectable)
    )


def unseen(spec: Spec, detectable: float) -> str:
    """How large an effect would have to be to be found, so that nobody takes "not found" for "not there"."""
    return (
        f"With as many customers as these, an effect of contact of {amount(detectable, spec)} {spec.metric} per "
        "customer among a fifth of them is confirmed four times in five; a smaller one mostly stays unseen."
    )


def not_better(spec: Spec, gains: Sequence[Gain], groups: Sequence[Group], tried: int, detectable: float) -> str:
    """The rule, and that the customers it was not searched on do not bear it out."""
    keep, _ = groups
    return (
        f"Nothing is proposed: the best of {tried:,} rules (contact only {keep.rule}) was not shown to be "
        f"better on {spec.metric} by the customers it was not searched on: {_seen(spec, gains)}. Looking good where "
        "one searched is what chance alone brings about; the segment can stay as it is. " + unseen(spec, detectable)
    )


def better(spec: Spec, gains: Sequence[Gain], groups: Sequence[Group], tried: int, fewest: int | None) -> str:
    """The rule, what it earns, and how sure that is; `fewest` responders are asked for where a group has fewer."""
    keep, drop = groups
    if fewest is not None:
        return (
            f"Nothing is proposed yet: the best of {tried:,} rules (contact only {keep.rule}) looks better on "
            f"{spec.metric} also by the customers it was not searched on: {_seen(spec, gains)}. But these bounds hold "
            f"only where at least {fewest} responded without contact and as many with it, both of those whom the rule "
            "keeps and of those whom it drops, and here fewer did. With more customers it can be told."
        )
    return (
        f"Contact only {keep.rule}. Contacting the others ({drop.share:.0%} of customers) "
        f"changes {spec.metric} by {amount(drop.confirm, spec)} per customer after costs, at most "
        f"{amount(drop.high, spec)}, so it does harm; contacting those kept changes it by "
        f"{amount(keep.confirm, spec)}. The rule earns {_seen(spec, gains)}. Expect {amount(gains[0].shrunken, spec)} "
        f"more per customer than today; {tried:,} rules were compared."
    )


def _seen(spec: Spec, gains: Sequence[Gain]) -> str:
    return "; ".join(
        f"over {gain.against} {amount(gain.grow, spec)} per customer where it was searched, "
        f"{amount(gain.confirm, spec)} where it was checked (at least {amount(gain.low, spec)})"
        for gain in gains
    )
