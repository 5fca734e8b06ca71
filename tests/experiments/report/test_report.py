"""The report is a page that people can rely on: complete, escaped, readable without scripts and on any width."""

import html
import re
import subprocess
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from services.experiments.report import render
from services.experiments.report.formats import p_value
from services.experiments.report.scales import scale
from shared.contracts.results import (
    CheckStatus,
    Crossing,
    DecisionVerdict,
    FixedHorizon,
    HealthCheck,
    History,
    Interval,
    Relative,
    Verdict,
)
from tests.experiments.report import example

VOID = {"meta", "br", "line", "circle", "rect", "polygon", "polyline"}
HOSTILE = "<script>alert(1)</script> & \"quoted\" 'single' {{ 7 * 7 }} </style>" + "unbroken" * 20


class Page(HTMLParser):
    """A strict reader: every element that opens must close, in order."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())

    def elements(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for seen, attributes in self.seen if seen == tag]


def page(**changes) -> Page:
    return Page(render(example.report(**changes)))


def test_the_decision_stands_in_plain_words():
    text = page().text
    assert "Use “voucher-10”" in text
    assert example.decision().reasons[0] in text
    keep = example.decision(verdict=DecisionVerdict.KEEP_RUNNING, arm=None, reasons=["More time may still show it."])
    assert "Keep running" in page(decision=keep).text


def test_every_figure_appears():
    text = page().text
    for figure in (
        "64,000",  # assigned
        "+0.34 pp −0.27 to +0.95 pp",  # difference and its interval that survives peeking
        "+6.8 % −5.4 to +19.0 %",  # relative
        "0.012",  # p
        "0.025",  # adjusted
        "−0.12 to +0.80 pp valid only at the planned end",  # fixed horizon
        "better",
        "not shown to differ",
        "5.00 %",  # mean of the control
        "87,296.00 EUR",  # total
        "p = 0.141",  # randomisation test
        "−13,400.00 EUR −21,000.50 to −5,800.25 EUR",  # incremental profit
        "at least 89.55 EUR",  # cost per incremental response, open above
        "The effect's interval includes zero, so this cost has no upper end.",
        "3.90 EUR 2.63 to 7.57 EUR",
        "21,760.00 EUR",
        "16 March 2026, 09:00 UTC",
        "best share 70 %",
        "+0.14 EUR",  # the learned policy
        "+0.08 EUR",  # Qini
        "recency_days",
        "0.41 EUR",  # an importance
        "40.0 %",  # weight
        "0.85",  # cost per contact
        "matched",
        "88,210",
        "7,206",
        "41 events speak of this experiment",
        "Group sequential at α = 0.05",
        "5f2ac9d1e6b7",  # design digest
    ):
        assert figure in text, figure


def test_every_look_and_every_share_is_in_a_table_too():
    document = page()
    rows = document.text
    for point in example.history().points:
        if point.estimate is not None:
            assert f"{100 * point.estimate:+.2f} pp" in rows
    assert all(f"{5 * step} %" in rows for step in range(21))


def test_a_failed_check_stands_above_the_effect():
    failed = HealthCheck(
        check="sample_ratio",
        status=CheckStatus.FAILED,
        figure=0.00004,
        detail="Arms have 12800, 25600 and 20011 customers; by the weights that is not plausible.",
        advice="Believe no effect before the missing customers are explained.",
    )
    reasons = ["The experiment is not healthy.", f"{failed.detail} {failed.advice}"]
    unhealthy = example.decision(verdict=DecisionVerdict.STOP, arm=None, healthy=False, reasons=reasons)
    text = page(results=example.results(health=[failed]), decision=unhealthy).text
    assert "1 health check failed" in text
    assert text.partition("What the difference")[0].count(failed.detail) == 1
    assert (
        text.index(failed.detail) < text.index("Do not rely on these figures yet") < text.index("What the difference")
    )
    assert "Use “" not in text
    assert "< 0.001" in text


def test_what_is_null_is_a_dash_with_its_reason():
    found = example.results()
    nothing = Interval(estimate=None, low=None, high=None)
    effect = example.effect(
        example.ARMS[1],
        0.0,
        0.1,
        0.1,
        Verdict.TOO_FEW,
        absolute=nothing,
        relative=Relative(
            estimate=None, low=None, high=None, method=None, reason="the control's mean is not clear of zero"
        ),
        fixed=FixedHorizon(low=None, high=None, p_value=None, label="valid only at the planned end"),
        sequential=None,
        p_value=None,
        adjusted_p_value=None,
        notes=["fewer than 25 responders in an arm"],
    )
    metric = found.metrics[0].model_copy(update={"effects": [effect]})
    text = page(results=found.model_copy(update={"metrics": [metric]})).text
    assert "too few responses" in text
    assert "the control's mean is not clear of zero" in text
    assert "fewer than 25 responders in an arm" in text
    assert "None" not in text
    assert "nan" not in text


def test_an_estimate_that_tends_to_be_too_large_is_said_to_be_so_once():
    found = example.results()
    effect = found.metrics[0].effects[0]
    early = {
        "sequential": effect.sequential.model_copy(update={"overstated": True}),
        "notes": ["it tends to be too large"],
    }
    metric = found.metrics[0].model_copy(update={"effects": [effect.model_copy(update=early)]})
    document = page(results=found.model_copy(update={"metrics": [metric]}))
    assert document.text.count("too large") == 1
    assert "Stopped early" not in document.text


def test_a_row_says_why_its_small_p_stands_beside_an_interval_that_covers_zero():
    found = example.results()
    effect = found.metrics[0].effects[0]
    crossed = Crossing(look=1, day=7, side="below", borne_out=False)
    said = "crossed below zero at look 1 (day 7), not borne out since"
    changed = {"sequential": effect.sequential.model_copy(update={"crossed": crossed}), "notes": [said]}
    metric = found.metrics[0].model_copy(update={"effects": [effect.model_copy(update=changed)]})
    text = page(results=found.model_copy(update={"metrics": [metric]})).text
    assert f"0.012 {said} 0.025" in text
    assert text.count(said) == 1


def test_a_total_that_is_not_the_mean_times_the_customers_says_that_it_has_no_cap():
    found = example.results()
    arms = [arm.model_copy(update={"total": 3 * arm.total}) for arm in found.metrics[1].arms]
    capped = found.metrics[1].model_copy(update={"arms": arms})
    assert "without the cap" in page(results=found.model_copy(update={"metrics": [capped]})).text
    assert "without the cap" not in page(results=found.model_copy(update={"metrics": [found.metrics[1]]})).text


def test_policies_and_rankings_that_there_are_not_say_why():
    reason = "There are fewer than 25 responders in one half of voucher-10: too few to learn from and to check."
    nothing = Interval(estimate=None, low=None, high=None)
    policy = example.policy(
        curve=[], policies=[], best_share=None, gain_over_contact_all=nothing, accepted=False, reason=reason
    )
    uplift = example.uplift(learners=[], winner=None, importances=[], reason=reason)
    text = page(policies=(policy,), uplift=(uplift,)).text
    assert text.count(reason) == 2
    assert "cannot be learnt yet" in text


def test_a_policy_is_praised_only_where_nothing_simpler_did_better():
    learned, response, *rest = example.policy().policies
    assert "beats contacting everyone +" not in page().text
    assert "beats contacting everyone Contacting the 63%" in page().text
    better = response.model_copy(update={"value": Interval(estimate=0.5, low=0.4, high=0.6)})
    text = page(policies=(example.policy(policies=[learned, better, *rest]),)).text
    assert "beats contacting everyone, but not the best here" in text
    assert "Contact those likeliest to respond most here" in text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.003, 0.001, "not shown to beat contacting everyone"), (-0.003, -0.001, "loses to contacting everyone")],
)
def test_a_policy_loses_only_where_its_interval_keeps_clear_of_zero(low, high, said):
    gain = Interval(estimate=-0.001, low=low, high=high)
    assert said in page(policies=(example.policy(gain_over_contact_all=gain, accepted=False, reason="…"),)).text


def test_what_is_not_money_is_not_called_profit():
    text = page(policies=(example.policy(metric="ordered"),)).text
    assert "voucher-10: ordered by share contacted" in text
    assert "ordered per customer over contacting nobody" in text
    assert "+14.2 pp" in text
    assert "profit" not in text.partition("Whom to contact next time")[2].partition("who is moved by it")[0].lower()


def test_nothing_is_drawn_where_nothing_is_known():
    found = example.results()
    nothing = Interval(estimate=None, low=None, high=None)
    fixed = FixedHorizon(low=None, high=None, p_value=None, label="valid only at the planned end")
    effects = [each.model_copy(update={"absolute": nothing, "fixed": fixed}) for each in found.metrics[0].effects]
    metric = found.metrics[0].model_copy(update={"effects": effects})
    document = render(example.report(results=found.model_copy(update={"metrics": [metric]}), history=None))
    assert "plot strip" not in document
    assert 'class="axis"' not in document


def test_before_anything_is_complete_the_page_says_so():
    counted = example.results().counted.model_copy(update={"until": example.START - timedelta(days=5)})
    assert "Nothing is complete yet" in page(results=example.results(counted=counted)).text
    assert "Complete for everything that occurred until 16 March 2026, 09:00 UTC" in page().text


def test_parts_that_were_not_given_are_left_out():
    text = page(history=None, uplift=(), policies=(), funnel=(), results=example.results(money=[], health=[])).text
    assert "No look has been taken yet." in text
    assert "No check applies yet." in text
    assert "Whom to contact next time" not in text
    assert "From the segment to the list" not in text
    assert "Money" not in text


def hostile():
    """Names and words from outside, each as bad as it can be."""
    arms = [arm.model_copy(update={"arm": HOSTILE}) for arm in example.results().metrics[0].arms]
    effects = [
        effect.model_copy(update={"arm": HOSTILE, "notes": [HOSTILE]})
        for effect in example.results().metrics[0].effects
    ]
    metrics = [
        metric.model_copy(update={"name": HOSTILE, "arms": arms, "effects": effects})
        for metric in example.results().metrics
    ]
    points = [point.model_copy(update={"arm": HOSTILE}) for point in example.history().points]
    return example.report(
        experiment=example.experiment(name=HOSTILE, hypothesis=HOSTILE, campaign=HOSTILE),
        results=example.results(metrics=metrics),
        decision=example.decision(reasons=[HOSTILE], arm=HOSTILE),
        history=History(experiment="x", points=points),
        policies=(example.policy(arm=HOSTILE, reason=HOSTILE),),
        uplift=(example.uplift(arm=HOSTILE, definition=HOSTILE, reason=HOSTILE),),
    )


def test_hostile_names_stay_text():
    document = render(hostile())
    found = Page(document)
    assert not found.elements("script")
    assert document.count("</style>") == 1
    assert "<script" not in document
    assert HOSTILE in html.unescape(document)  # shown as it is, and no template runs on it
    assert HOSTILE in found.text


def test_on_paper_no_arm_and_no_p_is_torn_and_figures_of_plots_stay_away():
    document = render(example.report())
    printed = document.partition("@media print {")[2].partition("</style>")[0]
    assert "details { display: none; }" in printed
    assert "tbody th { overflow-wrap: normal;" in printed
    assert "break-inside: avoid" in printed.partition("table {")[2].partition("}")[0]
    assert ".p { white-space: nowrap; }" in document
    assert document.count('class="p"') == 4
    assert p_value(0.0001) == "<\N{NO-BREAK SPACE}0.001"


def test_nothing_runs_and_nothing_is_fetched():
    document = render(example.report())
    found = Page(document)
    for tag in ("script", "link", "img", "iframe", "object", "form"):
        assert not found.elements(tag)
    assert not re.search(r"https?://|url\(|@import", document)
    assert not any(name.startswith("on") for _, attributes in found.seen for name in attributes)


def test_plots_and_tables_can_be_read_aloud():
    document = render(example.report())
    found = Page(document)
    plots = [attributes for attributes in found.elements("svg") if attributes.get("role") == "img"]
    assert len(plots) == 4 + 2 + 1  # two metrics by two arms, two series, one policy
    assert document.count("<desc>") == len(plots)
    for tag, attributes in found.seen:
        if tag == "th":
            assert attributes.get("scope") in ("row", "col")
        if tag == "section":
            assert f'id="{attributes["aria-labelledby"]}"' in document
    ids = re.findall(r' id="([^"]+)"', document)
    assert len(ids) == len(set(ids))
    assert found.elements("html") == [{"lang": "en"}]
    assert [tag for tag, _ in found.seen if re.fullmatch("h[1-6]", tag)][:2] == ["h1", "h2"]


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_text_has_contrast_in_light_and_dark():
    """WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    style = render(example.report())
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    for block in blocks:
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        pairs = [(text, ground) for text in ("ink", "soft") for ground in ("paper", "card")]
        pairs += [(tone, f"{tone}-wash") for tone in ("better", "worse", "open", "warning")]
        pairs += [("soft", f"{tone}-wash") for tone in ("better", "worse", "open")]
        for text, ground in [*pairs, ("paper", "worse")]:
            bright, dark = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ([-0.3, 0.9], (-0.2, 0.0, 0.2, 0.4, 0.6, 0.8)),
        ([None, 12_000.0], (0.0, 2000.0, 4000.0, 6000.0, 8000.0, 10000.0, 12000.0)),
    ],
)
def test_axes_have_round_ticks_and_hold_zero(values, ticks):
    found = scale(values)
    assert found.ticks == pytest.approx(ticks)
    assert 0 <= found.at(0) <= 100
    assert found.at(max(value for value in values if value is not None)) < 100


def test_an_axis_without_figures_is_still_an_axis():
    assert scale([None, float("nan")]).at(0) == 50


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("width", [320, 390, 800, 1280])
@pytest.mark.parametrize("report", [example.report(), hostile()], ids=["ordinary", "hostile"])
def test_nothing_sticks_out_of_the_page(report, width, tmp_path: Path):
    """In a real browser: the page is no wider than the screen, and no text than its plot."""
    frame = f'<iframe srcdoc="{html.escape(render(report))}" style="width:{width}px;height:900px;border:0"></iframe>'
    script = """<script>onload = () => {
      const page = document.querySelector("iframe").contentDocument.documentElement;
      const out = [...page.querySelectorAll("td, th, p, dd, h1, h2, h3, text, small")].filter(
        each => each.getBoundingClientRect().right > page.clientWidth + 1);
      document.title = [page.scrollWidth, page.clientWidth, out.length, out[0]?.outerHTML.slice(0, 200)].join("|");
    };</script>"""
    path = tmp_path / "frame.html"
    path.write_text(f"<!doctype html><title>none</title><body style='margin:0'>{frame}{script}", encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
    answer = subprocess.run(
        ["chromium", *flags, "--virtual-time-budget=3000", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    measured = html.unescape(re.search(r"<title>(.*?)</title>", answer.stdout, re.DOTALL)[1]).split("|")
    assert int(measured[0]) <= int(measured[1]), measured
    assert measured[2] == "0", measured
