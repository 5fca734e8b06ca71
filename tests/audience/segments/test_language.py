"""The language by itself: what it reads, what it refuses and where, what it says in words."""

from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from services.audience.segments.catalogue import Catalogue, Referenced
from services.audience.segments.check import check
from services.audience.segments.describe import describe
from services.audience.segments.values import Moment, holds, read
from services.audience.segments.windows import Window, anniversaries, window
from shared.contracts.audience import AttributeType
from shared.contracts.comparisons import Operator
from shared.errors import Invalid
from tests.audience.segments.worlds import AS_OF, ATTRIBUTES, CUTOFFS, KINDS, READ

KNOWN = {"attribute": "age", "is": "exists"}


def nested(levels: int) -> dict:
    clause: dict = KNOWN
    for _ in range(levels - 1):
        clause = {"not": clause}
    return clause


def refused(definition) -> list[tuple[str, str]]:
    """(pointer, message) of everything that reading refuses."""
    with pytest.raises(ValidationError) as caught:
        READ.validate_python(definition)
    return [("".join(f"/{part}" for part in one["loc"]), one["msg"]) for one in caught.value.errors()]


@pytest.mark.parametrize(
    ("definition", "pointer", "word"),
    [
        ({}, "", "must have one of the keys"),
        ([], "", "must be an object"),
        (None, "", "must be an object"),
        ({"all": []}, "/all", "at least 1"),
        ({"any": {"attribute": "age", "is": "exists"}}, "/any", "valid list"),
        ({"all": [KNOWN, {"segment": "a", "event": "order"}]}, "/all/1", "two clauses at once"),
        ({"not": {"near": {"lat": 1, "lon": 2, "km": 3}, "event": "location"}}, "/not/near", "not supported"),
        ({"any": [KNOWN, {"sequence": [{"event": "view"}]}]}, "/any/1/sequence", "not supported"),
        ({"all": [{"text": "jacket", "event": "post"}]}, "/all/0/text", "not supported"),
        ({"experiment": "e", "arm": "a"}, "/experiment", "not supported"),
        ({"all": [{"atribute": "age"}]}, "/all/0/atribute", "is not a clause"),
        ({**KNOWN, "vlaue": 3}, "/vlaue", "not permitted"),
        ({"attribute": "age", "is": "like", "value": 3}, "/is", "should be 'eq'"),
        ({"attribute": "age", "is": "eq"}, "/value", "needs a value"),
        ({"attribute": "age", "is": "missing", "value": 3}, "/value", "takes no value"),
        ({"attribute": "age", "is": "eq", "value": [3]}, "/value", "not a list"),
        ({"attribute": "age", "is": "in", "value": 3}, "/value", "must be a list"),
        ({"attribute": "age", "is": "in", "value": []}, "/value", "1 to 1,000"),
        ({"attribute": "age", "is": "in", "value": [3, "a"]}, "/value", "one type"),
        ({"attribute": "age", "is": "eq", "value": {"$gt": 1}}, "/value", "must be text, a number"),
        ({"attribute": "age", "is": "between", "value": [40, 25]}, "/value", "must not end before it begins"),
        ({"attribute": "age", "is": "between", "value": [1, 2, 3]}, "/value", "from and to"),
        ({"attribute": "age", "is": "eq", "value": float("nan")}, "/value", "finite"),
        ({"attribute": "age", "is": "lt", "value": float("inf")}, "/value", "finite"),
        ({"attribute": "age", "is": "lt", "value": 10**40}, "/value", "10^30"),
        ({"attribute": "age", "is": "lt", "value": True}, "/value", "must be a number, a date"),
        ({"attribute": "city", "is": "contains", "value": ""}, "/value", "not empty"),
        ({"attribute": "city", "is": "eq", "value": "a\x00b"}, "/value", "NUL"),
        ({"attribute": "city", "is": "eq", "value": "\ud83d"}, "/value", "surrogate"),
        ({"attribute": "a'; drop table x", "is": "exists"}, "/attribute", "pattern"),
        ({"attribute": "born", "is": "within_last", "value": 0}, "/value", "more than 0"),
        ({"attribute": "born", "is": "within_last", "value": 1e9}, "/value", "at most"),
        ({"attribute": "born", "is": "between_ago", "value": [30, 90]}, "/value", "the longer first"),
        ({"attribute": "born", "is": "exists", "zone": "Mars/Phobos"}, "/zone", "IANA"),
        ({"attribute": "age", "is": "exists", "filled": 1}, "/filled", "boolean"),
        ({"trait": "clv", "is": "gte"}, "/value", "needs a value"),
        ({"trait": "clv", "is": "gte", "value": 1, "cutoff": "clv:top20"}, "/cutoff", "either"),
        ({"trait": "clv", "is": "eq", "cutoff": "clv:top20"}, "/is", "lt, lte, gt or gte"),
        ({"trait": "clv", "is": "gte", "cutoff": "top20"}, "/cutoff", "pattern"),
        ({"event": "order", "value": 3}, "/is", "how the measure compares"),
        ({"event": "order", "is": "gte"}, "/value", "needs a value"),
        ({"event": "order", "measure": "sum"}, "/is", "how the measure compares"),
        ({"event": "order", "measure": "distinct", "is": "gte", "value": 2}, "/of", "names the property"),
        ({"event": "order", "of": "size", "is": "gte", "value": 2}, "/of", "of events"),
        ({"event": "order", "within_days": "30"}, "/within_days", "number"),
        ({"event": "order", "within_days": -1}, "/within_days", "greater than 0"),
        ({"event": "order", "within_days": 3, "ever": True}, "/ever", "one window"),
        ({"event": "order", "between": ["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"]}, "/between", "before it ends"),
        ({"event": "order", "between": ["2026-01-01T00:00:00", "2026-02-01T00:00:00Z"]}, "/between/0", "timezone"),
        ({"event": "order", "between": ["2026-01-01T00:00:00Z", "9999-01-01T00:00:00Z"]}, "/between/1", "2200"),
        ({"event": "order", "between_ago": [30, 90]}, "/between_ago", "before it ends"),
        ({"event": "order", "during": {"calendar": "fortnight"}}, "/during/calendar", "month"),
        ({"event": "order", "during": {"calendar": "month", "offset": 1}}, "/during/offset", "less than or equal to 0"),
        ({"event": "order", "during": {"calendar": "month", "zone": "../etc/passwd"}}, "/during/zone", "IANA"),
        ({"event": "order", "where": {"category": "x"}}, "/where/category", "valid dictionary"),
        ({"event": "order", "where": {"category": {"is": "eq"}}}, "/where/category/value", "needs a value"),
        ({"event": "Order; --"}, "/event", "pattern"),
        ({"segment": "no spaces"}, "/segment", "pattern"),
        ({"consent": "email"}, "/purpose", "required"),
        ({"consent": "email", "purpose": "marketing", "state": ["maybe"]}, "/state/0", "unknown"),
        (nested(11), "/not" * 10, "deeper than 10"),
        ({"any": [KNOWN] * 200}, "", "200 clauses"),
        ({"any": [{"attribute": "city", "is": "eq", "value": "x" * 1000}] * 66}, "", "65,536 bytes"),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_place(definition, pointer, word):
    found = refused(definition)
    assert any(place == pointer and word in message for place, message in found), found


def test_a_tree_of_a_hundred_thousand_levels_is_refused_without_recursion():
    assert refused(nested(100_000))[0][0] == ""
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert refused({"attribute": "age", "is": "eq", "value": deep})[0][0] == ""


def test_ten_levels_and_two_hundred_clauses_are_read():
    READ.validate_python(nested(10))
    READ.validate_python({"any": [KNOWN] * 199})


def test_a_definition_reads_back_as_it_was_written():
    written = {
        "all": [
            {"is": "between", "value": [25, 40], "attribute": "age"},
            {"event": "order", "where": {"category": {"is": "ne", "value": "🧥"}}, "within_days": 30.0},
            {"any": [{"segment": "vip"}, {"not": {"segment": "recent-complainers"}}]},
        ]
    }
    assert READ.validate_python(written).model_dump(mode="json") == written


CATALOGUE = Catalogue(ATTRIBUTES, KINDS, {}, CUTOFFS)


@pytest.mark.parametrize(
    ("clause", "pointer", "word"),
    [
        ({"attribute": "aeg", "is": "exists"}, "/attribute", "there is no attribute aeg"),
        ({"attribute": "age", "is": "eq", "value": "34"}, "/value", "must be a number, as age is"),
        ({"attribute": "age", "is": "in", "value": ["1", "2"]}, "/value/0", "must be a number"),
        ({"attribute": "age", "is": "contains", "value": "3"}, "/is", "contains compares text; age is a number"),
        ({"attribute": "age", "is": "within_last", "value": 3}, "/is", "within_last compares a date"),
        ({"attribute": "city", "is": "gt", "value": "A"}, "/is", "gt compares a number"),
        ({"attribute": "city", "is": "eq", "value": 3}, "/value", "must be text"),
        ({"attribute": "vip", "is": "eq", "value": 1}, "/value", "must be true or false"),
        ({"attribute": "birthday", "is": "gt", "value": "2026-02-30"}, "/value", "must be a date"),
        ({"attribute": "birthday", "is": "gt", "value": "20260228"}, "/value", "must be a date"),
        ({"attribute": "birthday", "is": "within_last", "value": 1.5}, "/value", "whole days"),
        (
            {"attribute": "birthday", "is": "between", "value": ["2026-02-02", "2026-02-01"]},
            "/value",
            "before it begins",
        ),
        ({"attribute": "joined", "is": "anniversary_in", "value": 3}, "/is", "anniversary_in compares a date"),
        ({"attribute": "joined", "is": "lt", "value": "2026-01-01T00:00:00"}, "/value", "an instant with a zone"),
        ({"attribute": "joined", "is": "lt", "value": "2026-01-01"}, "/value", "an instant with a zone"),
        ({"trait": "clv", "is": "gte", "cutoff": "clv:top1"}, "/cutoff", "there is no cut-off clv:top1"),
        ({"trait": "mood", "is": "gte", "cutoff": "clv:top20"}, "/cutoff", "of another trait"),
        (
            {"attribute": "city", "is": "lt", "value": "a"},
            "/is",
            "lt compares a number, a date or an instant; city is text",
        ),
        (
            {"attribute": "age", "is": "within_last", "value": 3},
            "/is",
            "compares a date or an instant; age is a number",
        ),
        ({"trait": "clv", "is": "lt", "value": "a"}, "/is", "lt compares a number"),
        ({"trait": "clv", "is": "within_last", "value": 3}, "/is", "no time"),
        ({"event": "ordre"}, "/event", "there is no kind of event ordre"),
        ({"event": "order", "where": {"colour/x": {"is": "exists"}}}, "/where/colour~1x", "declares no property"),
        ({"event": "order", "where": {"size": {"is": "eq", "value": "L"}}}, "/where/size/value", "must be a number"),
        (
            {"event": "view", "where": {"seen": {"is": "gt", "value": "x"}}},
            "/where/seen/is",
            "only exist or be missing",
        ),
        ({"event": "order", "measure": "sum", "of": "category", "is": "gt", "value": 1}, "/of", "needs a number"),
        *(
            ({"event": "view", "measure": measure, "of": "seen", "is": "gte", "value": 1}, "/of", "only exist or be")
            for measure in ("distinct", "first", "last")
        ),
        ({"event": "order", "measure": "max", "of": "weight", "is": "gt", "value": 1}, "/of", "no property weight"),
        ({"event": "order", "measure": "count", "is": "exists"}, "/is", "always exists"),
        ({"event": "order", "measure": "count", "is": "gte", "value": "2"}, "/value", "must be a number"),
        ({"event": "order", "measure": "last", "is": "lt", "value": 3}, "/value", "an instant"),
        ({"event": "order", "measure": "first", "of": "gift", "is": "lt", "value": 3}, "/is", "lt compares"),
        ({"segment": "vip"}, "/segment", "there is no segment vip"),
    ],
)
def test_what_does_not_fit_the_catalogue_is_refused_at_its_place(clause, pointer, word):
    with pytest.raises(Invalid) as caught:
        check(READ.validate_python({"all": [KNOWN, clause]}), CATALOGUE)
    assert [error.pointer for error in caught.value.errors] == [f"/definition/all/1{pointer}"]
    assert word in caught.value.errors[0].detail


def with_segments(**definitions) -> Catalogue:
    segments = {key: Referenced(key, 1, READ.validate_python(one)) for key, one in definitions.items()}
    return Catalogue(ATTRIBUTES, KINDS, segments, CUTOFFS)


def refusal(definition, catalogue: Catalogue, own: str | None = None):
    with pytest.raises(Invalid) as caught:
        check(READ.validate_python(definition), catalogue, own)
    return caught.value.errors


def test_a_segment_that_refers_to_itself_is_refused_by_name():
    (error,) = refusal({"any": [KNOWN, {"segment": "vip"}]}, with_segments(), own="vip")
    assert error == ("/definition/any/1/segment", "the segment refers to itself: vip → vip")


def test_a_circle_through_other_segments_is_refused_by_name():
    catalogue = with_segments(a={"segment": "b"}, b={"not": {"segment": "c"}}, c={"segment": "a"})
    (error,) = refusal({"not": {"segment": "b"}}, catalogue, own="a")
    assert error == ("/definition/not/segment", "the segment refers to itself: a → b → c → a")


def test_a_chain_of_segments_has_a_limit():
    chain = {f"s{n}": {"segment": f"s{n + 1}"} for n in range(11)} | {"s11": KNOWN}
    assert "in a chain" in refusal({"segment": "s0"}, with_segments(**chain))[0].detail
    check(READ.validate_python({"segment": "s2"}), with_segments(**chain))


def test_a_reference_to_a_segment_that_became_invalid_names_it():
    broken = with_segments(old={"attribute": "gone", "is": "exists"}, outer={"segment": "old"})
    (error,) = refusal({"segment": "outer"}, broken)
    assert "the segment old" in error.detail
    assert "there is no attribute gone" in error.detail


@pytest.mark.parametrize(
    ("clause", "start", "end"),
    [
        ({"within_days": 2}, timedelta(days=2), timedelta(0)),
        ({"within_days": 0.5}, timedelta(hours=12), timedelta(0)),
        ({"between_ago": [90, 30]}, timedelta(days=90), timedelta(days=30)),
    ],
)
def test_windows_are_multiples_of_24_hours_before(clause, start, end):
    found = window(READ.validate_python({"event": "order", **clause}), AS_OF)
    assert found == Window(AS_OF - start, AS_OF - end)
    assert found.holds(AS_OF - start)
    assert not found.holds(AS_OF - end)


@pytest.mark.parametrize(
    ("period", "as_of", "start", "end"),
    [  # Paris goes from UTC+1 to UTC+2 on 29 March 2026, 02:00
        ({"calendar": "day"}, "2026-03-29T12:00Z", "2026-03-28T23:00Z", "2026-03-29T12:00Z"),
        ({"calendar": "day", "offset": -1}, "2026-03-30T12:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        ({"calendar": "week", "offset": -1}, "2026-03-30T12:00Z", "2026-03-22T23:00Z", "2026-03-29T22:00Z"),
        ({"calendar": "month", "offset": -1}, "2026-01-05T12:00Z", "2025-11-30T23:00Z", "2025-12-31T23:00Z"),
        ({"calendar": "quarter", "offset": -1}, "2026-02-15T12:00Z", "2025-09-30T22:00Z", "2025-12-31T23:00Z"),
        ({"calendar": "year", "offset": -1}, "2026-01-01T00:30Z", "2024-12-31T23:00Z", "2025-12-31T23:00Z"),
        ({"calendar": "month", "offset": -13}, "2026-01-31T12:00Z", "2024-11-30T23:00Z", "2024-12-31T23:00Z"),
    ],
)
def test_calendar_periods_are_those_of_their_zone(period, as_of, start, end):
    clause = READ.validate_python({"event": "order", "during": {**period, "zone": "Europe/Paris"}})
    moment, *edges = (datetime.fromisoformat(text) for text in (as_of, start, end))
    assert window(clause, moment) == Window(*edges)


def test_no_window_reaches_past_the_moment_of_evaluation():
    ahead = {"event": "order", "between": ["2026-01-01T00:00:00Z", "2199-12-31T00:00:00Z"]}
    assert window(READ.validate_python(ahead), AS_OF).end == AS_OF
    assert window(READ.validate_python({"event": "order"}), AS_OF) == Window(None, AS_OF)


@pytest.mark.parametrize(
    ("today", "days", "expected"),
    [
        (date(2024, 2, 27), 3, ["02-27", "02-28", "02-29"]),
        (date(2025, 2, 27), 3, ["02-27", "02-28", "02-29", "03-01"]),
        (date(2025, 12, 31), 2, ["12-31", "01-01"]),
    ],
)
def test_anniversaries_come_round_every_year_and_29_february_on_the_28th(today, days, expected):
    assert anniversaries(today, days) == expected


def test_every_day_of_the_year_is_an_anniversary_within_a_year():
    assert len(anniversaries(date(2025, 6, 1), 366)) == 366


@pytest.mark.parametrize(
    ("operator", "value", "inside", "outside"),
    [
        ("within_last", 7, ["2026-03-08", "2026-03-14"], ["2026-03-07", "2026-03-15"]),
        ("within_next", 7, ["2026-03-15", "2026-03-21"], ["2026-03-14", "2026-03-22"]),
        ("between_ago", [7, 3], ["2026-03-08", "2026-03-11"], ["2026-03-07", "2026-03-12"]),
    ],
)
def test_days_are_counted_from_the_local_day_which_belongs_to_what_comes(operator, value, inside, outside):
    def held(day: str) -> bool:
        return holds(Operator(operator), read(AttributeType.DATE, day), value, AttributeType.DATE, Moment(AS_OF))

    assert [held(day) for day in inside] == [True] * len(inside)
    assert [held(day) for day in outside] == [False] * len(outside)


def test_the_local_day_is_that_of_the_zone():
    tomorrow = Moment(datetime(2026, 3, 15, 10, 30, tzinfo=UTC), "Pacific/Kiritimati")  # 00:30 on 16 March there
    assert holds(Operator.WITHIN_LAST, date(2026, 3, 15), 1, AttributeType.DATE, tomorrow)


@pytest.mark.parametrize(
    ("definition", "sentence"),
    [
        (
            {
                "all": [
                    {"attribute": "age", "is": "between", "value": [25, 40]},
                    {"attribute": "city", "is": "in", "value": ["Lyon", "Porto"]},
                    {"trait": "clv_12m", "is": "gte", "cutoff": "clv_12m:top20"},
                ]
            },
            "Customers for whom age is between 25 and 40, city is “Lyon” or “Porto”, and the trait clv_12m is at least "
            "the cut-off clv_12m:top20.",
        ),
        (
            {
                "event": "order",
                "where": {"category": {"is": "eq", "value": "jackets"}},
                "is": "gte",
                "value": 2,
                "within_days": 30,
            },
            "Customers for whom the number of order events where category is “jackets” in the last 30 days is at least "
            "2.",
        ),
        (
            {"any": [{"segment": "vip"}, {"not": {"any": [{"segment": "a"}, {"segment": "b"}]}}]},
            "Customers for whom they are in the segment vip or not (they are in the segment a or they are in the "
            "segment b).",
        ),
        (
            {"all": [{"event": "view", "during": {"calendar": "month", "offset": -1, "zone": "Europe/Paris"}}]},
            "Customers for whom there are view events in last month (Europe/Paris).",
        ),
        (
            {"consent": "email", "purpose": "marketing"},
            "Customers for whom marketing by email is permitted.",
        ),
        (
            {"consent": "sms", "purpose": "service", "brand": "b", "state": ["unknown", "soft_opt_in"]},
            "Customers for whom consent to service by sms from b is unknown or soft opt in.",
        ),
        (
            {"event": "order", "measure": "avg", "is": "lt", "value": 19.5, "between_ago": [90, 30]},
            "Customers for whom the average value of order events from 90 to 30 days back is below 19.5.",
        ),
    ],
)
def test_a_definition_is_said_in_words(definition, sentence):
    assert describe(READ.validate_python(definition)) == sentence
