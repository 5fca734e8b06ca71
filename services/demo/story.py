"""The story that `attune demo` tells: know, try, learn, know better, on a shop whose truth is known."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule

from services.demo import knowing, replayed, rounds, shop, words
from services.demo.arrivals import CURRENCY
from services.demo.client import Attune
from services.demo.rounds import Plan, Round
from services.demo.shop import Integers, Shop
from services.demo.verdict import Comparison, misses_explained, plausible, truth_table
from services.stack.target import Target
from shared.contracts.audience import QualityReport
from shared.contracts.feedback import Refinement
from shared.contracts.segments import Segment
from shared.contracts.targeting import TargetList

SEED = 20260301
FIRST_SENT = timedelta(days=62)  # before today, so that both rounds' windows have closed
SECOND_SENT = timedelta(days=31)
FIRST_WEIGHTS = {"control": 0.4, "postcard": 0.3, "catalogue": 0.3}
CONTROL_AGAIN = 0.55  # share of the second round left alone: few of them buy, and money needs 100 buyers on each side
HOLDOUT = 0.05


class Story:
    """One telling: the services, the shop, where it is shown."""

    def __init__(self, target: Target, console: Console, name: str, customers: int) -> None:
        self.attune = Attune(target)
        self.target = target
        self.console = console
        self.shop = shop.build(name, customers, SEED)
        today = datetime.now(UTC).replace(hour=8, minute=0, second=0, microsecond=0)
        self.first_t0, self.second_t0 = today - FIRST_SENT, today - SECOND_SENT
        self._step = 0

    def step(self, verb: str, what: str) -> None:
        """Open a step of the story."""
        self._step += 1
        self.console.print()
        self.console.print(Rule(f"[bold]{self._step}. {verb}[/bold]  {what}", align="left"))

    def say(self, what: str) -> None:
        self.console.print(what, highlight=False)


def tell(target: Target, console: Console, *, name: str, customers: int, reports: Path) -> bool:
    """Tell the story on `target`; whether it ended well.

    What the shop is called, `name`, must not have been used on this stack. Everything else is drawn by fixed seeds, and
    by the customers' ids, which begin with the name: the same name and size give the same figures each time.

    It ends badly when no refinement is confirmed, when the second round earns no more per contact than the first, or
    when intervals miss the simulation's truth more often than bad luck explains (probability below 0.1 %).

    Raises
    ------
    Trouble
        When a service refuses what it is sent, or does not answer.
    """
    began = time.monotonic()
    story = Story(target, console, name, customers)
    _know(story)
    segment = _mean(story)
    first = _try(story, _first_plan(story, segment))
    refinement = replayed.refine(story.attune, first.plan.key, segment.key, rounds.PRIMARY)
    better = _learn(story, segment, refinement)
    if better is None:
        return False
    second = _try(story, _second_plan(story, better, first))
    _save_reports(story, [first, second], reports)
    well = _conclude(story, first, second)
    story.say(f"Told in {time.monotonic() - began:.0f} s, without what it took to set up and to start the stack.")
    return well


def _know(story: Story) -> None:
    story.step("Know", f"a shop tells what it knows of {len(story.shop):,} customers")
    knowing.describe_catalogue(story.attune)
    told_at = knowing.a_year_before(story.first_t0)
    report = knowing.import_customers(story.attune, story.shop, told_at)
    _show_quality(story, report)
    history = knowing.import_history(story.attune, story.shop, story.first_t0, SEED + 1)
    run = knowing.score_customers(story.attune, story.first_t0 - timedelta(hours=2))
    story.say(
        f"{history.accepted:,} orders of the year before taken in; {run.customers:,} customers now have scores for "
        "recency, frequency and value in their portraits."
    )


def _show_quality(story: Story, report: QualityReport) -> None:
    table = words.table("Quality report of the import", "", ">rows", "")
    table.add_row("rows sent", f"{report.rows:,}", "")
    table.add_row(
        "taken", f"{report.accepted:,}", f"{report.customers:,} customers, {report.duplicates:,} rows came twice"
    )
    for reason in report.reasons:
        table.add_row("refused", f"{reason.rows:,}", f"{reason.pointer}: {words.why(reason.pointer, reason.detail)}")
    for attribute, gaps in report.supplemented.items():
        table.add_row("supplemented", f"{gaps:,}", f"{attribute} was missing; what was filled in is kept apart")
    story.console.print(table)


def _mean(story: Story) -> Segment:
    story.step("Know", "whom the campaign means: a segment in the rule language")
    meant = knowing.definition(story.shop)
    preview = knowing.preview(story.attune, meant, story.first_t0 - timedelta(hours=1))
    story.console.print(words.preview_table(preview))
    segment = knowing.save_segment(story.attune, story.shop.name, "Lately active, interested", meant)
    story.say(f"Segment [bold]{segment.key}[/bold], version {segment.version}: {segment.sentence}")
    return segment


def _first_plan(story: Story, segment: Segment) -> Plan:
    return Plan(
        key=f"{story.shop.name}-autumn",
        name="Autumn mailing",
        hypothesis="A postcard, or a catalogue, earns more than it costs.",
        segment=segment.key,
        weights=FIRST_WEIGHTS,
        t0=story.first_t0,
        holdout_share=HOLDOUT,
        seed=SEED + 2,
    )


def _second_plan(story: Story, segment: Segment, first: Round) -> Plan:
    best = first.best_arm()
    return Plan(
        key=f"{story.shop.name}-winter",
        name="Winter mailing",
        hypothesis=f"Sent to version {segment.version} of the segment only, the {best} earns more per contact.",
        segment=segment.key,
        weights={"control": CONTROL_AGAIN, best: 1 - CONTROL_AGAIN},
        t0=story.second_t0,
        holdout_share=0.0,
        seed=SEED + 3,
    )


def _try(story: Story, plan: Plan) -> Round:
    """One round, from the campaign to its readout."""
    attune = story.attune
    story.step("Try", f"{plan.name}: {plan.hypothesis}")
    rounds.define_metrics(attune)
    target_list = rounds.freeze_list(attune, plan)
    story.console.print(words.funnel_table(target_list))
    experiment = rounds.start_experiment(attune, plan, target_list)
    assigned = rounds.assigned_customers(attune, plan, story.shop)
    sent, _ = rounds.send(attune, plan, target_list)
    _show_arms(story, plan, assigned.arms, target_list, sent)
    story.step("Try", "customers respond: soon or late, in any order, some messages twice")
    reports, early = rounds.take_responses(attune, plan, story.shop, assigned)
    story.console.print(words.verdicts_table("What the events' door answered", reports))
    story.step("Learn", f"what the {plan.name.lower()} changed")
    readout = rounds.read_out(attune, plan, story.shop, assigned)
    told = Round(plan, target_list, assigned, early, readout)
    story.console.print(words.health_table(readout.results))
    looks = [early, readout.final]
    story.console.print(words.looks_table(looks, rounds.PRIMARY, CURRENCY))
    story.say(words.looks_explained(looks, rounds.PRIMARY))
    method = experiment.method.value.replace("_", " ")
    story.console.print(truth_table(f"Effects against the control ({method} intervals)", readout.comparisons, CURRENCY))
    _show_money(story, told)
    return told


def _show_arms(story: Story, plan: Plan, arms: Integers, target_list: TargetList, sent: int) -> None:
    table = words.table("Who gets what", "arm", ">customers", "", ">cost of a contact")
    sizes = np.bincount(arms, minlength=len(shop.ARMS))
    for arm in plan.weights:
        contacted = "is left alone" if arm == "control" else "is written to"
        cost = "" if arm == "control" else words.money(shop.COST_PER_CONTACT[arm], CURRENCY)
        table.add_row(arm, f"{sizes[shop.ARMS.index(arm)]:,}", contacted, cost)
    story.console.print(table)
    story.say(
        f"Sent on {plan.t0:%d %B %Y}: {sent:,} letters; {target_list.held_out:,} customers are held out of all of it. "
        f"The list is frozen: its digest, {target_list.digest[:12]}…, is a fingerprint of everybody on it."
    )


def _show_money(story: Story, told: Round) -> None:
    table = words.table(
        "Money: profit beyond the control, after costs", "arm", ">contacts", ">cost", ">profit", ">from", ">to"
    )
    for money in told.results.money:
        profit = money.incremental_profit
        amounts = (money.cost, profit.estimate, profit.low, profit.high)
        table.add_row(money.arm, f"{money.contacts:,}", *(words.money(each, CURRENCY) for each in amounts))
    story.console.print(table)
    story.console.print(
        Panel(
            f"[bold]{told.readout.decision.verdict.value.replace('_', ' ')}[/bold] "
            + " ".join(told.readout.decision.reasons),
            title="Decision",
            title_align="left",
        )
    )


def _learn(story: Story, segment: Segment, refinement: Refinement) -> Segment | None:
    """Show what the search found; where it was confirmed, accept it: a new version of the segment."""
    story.step("Learn", "could the segment be better? Searched on one half, confirmed on the other")
    story.console.print(words.refinement_panel(refinement))
    if refinement.state != "proposed":
        story.say("[red]Nothing was confirmed, so there is no second round.[/red]")
        return None
    story.attune.feedback.post(Refinement, f"/v1/refinements/{refinement.id}/accept")
    better = story.attune.audience.get(Segment, f"/v1/segments/{segment.key}")
    story.step("Know better", f"the segment's version {better.version}")
    story.say(better.sentence)
    return better


def _save_reports(story: Story, told: list[Round], folder: Path) -> None:
    story.step("Read", "the report pages")
    folder.mkdir(parents=True, exist_ok=True)
    story.say("The same pages stand in files, which stay, and at addresses, which answer as long as the stack is up.")
    for each in told:
        path = f"/v1/experiments/{each.plan.key}/report"
        file = (folder / f"{each.plan.name.lower().replace(' ', '-')}.html").resolve()
        file.write_text(story.attune.experiments.page(path), encoding="utf-8")
        story.console.print(f"[bold]{each.plan.name}[/bold]", highlight=False)
        for place in (file, f"{story.target.experiments}{path}"):  # unbroken, to be clicked or copied
            story.console.print(f"  {place}", highlight=False, markup=False, soft_wrap=True)


def _conclude(story: Story, first: Round, second: Round) -> bool:
    story.step("Know", "what was gained, and whether the figures tell the truth")
    table = words.table("Profit per contact", "round", ">contacts", ">estimated", ">truth", ">persuadable")
    for each in (first, second):
        table.add_row(
            each.plan.name,
            f"{each.contacts:,}",
            words.money(each.profit_per_contact, CURRENCY),
            words.money(each.true_profit_per_contact(story.shop), CURRENCY),
            f"{100 * _persuadable(story.shop, each.assigned.rows):.0f} %",
        )
    story.console.print(table)
    earned_more = second.profit_per_contact > first.profit_per_contact
    if not earned_more:
        story.say("[red]The second round earned no more per contact than the first.[/red]")
    return _judge(story, first.readout.comparisons + second.readout.comparisons) and earned_more


def _judge(story: Story, comparisons: list[Comparison]) -> bool:
    story.say(misses_explained(comparisons))
    return plausible(comparisons)


def _persuadable(of: Shop, rows: Integers) -> float:
    return float((of.temperament[rows] == shop.TEMPERAMENTS.index("persuadable")).mean())
