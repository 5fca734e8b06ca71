"""What the native door promises: every item gets its verdict, and what is accepted is there once."""

import json
import socket
import time
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from services.feedback.actions.intake import DIFFERENT_REASONS, OTHER, Source, Tally
from services.feedback.doors import Refusal
from tests.conftest import KEY
from tests.feedback.conftest import Make


def kept(feedback: httpx.Client, customer_id: str, **filters: str) -> list[dict[str, Any]]:
    answer = feedback.get("/v1/events", params={"customer_id": customer_id, "limit": "1000", **filters})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def verdicts(answer: httpx.Response) -> tuple[int, int, int, int]:
    assert answer.status_code == 200, answer.text
    report = answer.json()
    return report["accepted"], report["duplicates"], report["conflicts"], len(report["rejected"])


def test_one_event_is_accepted_and_read_back_as_it_was_sent(feedback: httpx.Client, event: Make) -> None:
    sent = event(1, text="thank you", campaign="spring", experiment="spring-test", arm="mail")
    assert verdicts(feedback.post("/v1/events", json=sent)) == (1, 0, 0, 0)
    (found,) = kept(feedback, sent["customer_id"])
    assert {name: found[name] for name in sent} == sent
    assert found["received_at"] > "2024"


def test_the_same_event_again_is_a_duplicate(feedback: httpx.Client, event: Make) -> None:
    feedback.post("/v1/events", json=event())
    assert verdicts(feedback.post("/v1/events", json=event())) == (0, 1, 0, 0)
    assert verdicts(feedback.post("/v1/events", json=[event()])) == (0, 1, 0, 0)
    assert len(kept(feedback, event()["customer_id"])) == 1


@pytest.mark.parametrize(
    "changed",
    [{"value": "13"}, {"occurred_at": "2024-05-01T12:00:01Z"}, {"properties": {"category": "hats"}}, {"text": "x"}],
)
def test_other_content_under_the_same_id_is_a_conflict_and_changes_nothing(
    feedback: httpx.Client, event: Make, changed: dict[str, Any]
) -> None:
    feedback.post("/v1/events", json=event())
    assert verdicts(feedback.post("/v1/events", json=[event(**changed), event(1)])) == (1, 0, 1, 0)
    alone = feedback.post("/v1/events", json=event(**changed))
    assert alone.status_code == 409
    assert alone.json()["errors"][0]["pointer"] == "/event_id"
    (found,) = kept(feedback, event()["customer_id"])
    assert found["value"] == "12.50"
    rejects = feedback.get("/v1/rejects", params={"code": "conflict", "limit": 1000}).json()["items"]
    assert sum(event()["event_id"] in reject["raw"] for reject in rejects) == 2


def test_the_same_amount_in_other_digits_is_the_same_event(feedback: httpx.Client, event: Make) -> None:
    feedback.post("/v1/events", json=event(value="12.50"))
    assert verdicts(feedback.post("/v1/events", json=[event(value=12.5)])) == (0, 1, 0, 0)


@pytest.mark.parametrize("form", ["%s", "[%s]", "[%s, {}]"])
def test_of_a_field_that_an_event_names_twice_the_last_counts(feedback: httpx.Client, event: Make, form: str) -> None:
    sent = json.dumps(event(value="2")).replace('"value"', '"value": "1", "value"')
    answer = feedback.post("/v1/events", content=form % sent, headers={"Content-Type": "application/json"})
    assert verdicts(answer)[0] == 1
    assert kept(feedback, event()["customer_id"])[0]["value"] == "2"


def test_a_list_may_hold_the_same_event_twice(feedback: httpx.Client, event: Make) -> None:
    answer = feedback.post("/v1/events", json=[event(), event(), event(value="1")])
    assert verdicts(answer) == (1, 1, 1, 0)


@pytest.mark.parametrize("letter", ["客", "🎈", "\x01", '"', "a@b.cc,"])
def test_a_list_of_events_is_read_to_its_end_whatever_their_ids(
    feedback: httpx.Client, event: Make, unique: str, letter: str
) -> None:
    customer = f"{unique}-{letter * 150}"[:200] if "@" not in letter else unique
    sent = [event(customer_id=customer, event_id=f"{n}-{letter * 28 * (7 // len(letter))}"[:200]) for n in range(3)]
    assert verdicts(feedback.post("/v1/events", json=sent)) == (3, 0, 0, 0)
    for only in ({}, {"customer_id": customer}):
        found, cursor = 0, ""
        while found < 3 and cursor is not None:  # newest first
            page = feedback.get("/v1/events", params={"limit": "1", **only} | ({"cursor": cursor} if cursor else {}))
            assert page.status_code == 200, page.text
            found += sum(item["customer_id"] == customer for item in page.json()["items"])
            cursor = page.json()["next_cursor"]
        assert found == 3


def test_one_bad_item_costs_the_others_nothing(feedback: httpx.Client, event: Make) -> None:
    items = [
        event(0),
        event(1, occurred_at="2024-05-01T12:00:00"),
        event(2),
        event(3, colour="red"),
        event(4, value=-1),
    ]
    answer = feedback.post("/v1/events", json=items)
    assert verdicts(answer) == (2, 0, 0, 3)
    refused = [(item["index"], item["pointer"]) for item in answer.json()["rejected"]]
    assert sorted(refused) == [(1, "/occurred_at"), (3, "/colour"), (4, "/value")]


BAD = {
    "naive time": ({"occurred_at": "2024-05-01T12:00:00"}, "/occurred_at"),
    "seconds": ({"occurred_at": 1700000000}, "/occurred_at"),
    "seconds as text": ({"occurred_at": "1700000000"}, "/occurred_at"),
    "before 2000": ({"occurred_at": "1999-12-31T23:59:59Z"}, "/occurred_at"),
    "year 9999": ({"occurred_at": "9999-01-01T00:00:00Z"}, "/occurred_at"),
    "year 10000 in UTC": ({"occurred_at": "9999-12-31T23:59:59-12:00"}, "/occurred_at"),
    "year 0 in UTC": ({"occurred_at": "0001-01-01T00:00:00+12:00"}, "/occurred_at"),
    "property in year 9999": (
        {"kind": "delivery", "properties": {"promised_at": "9999-12-31T23:59:59-12:00"}},
        "/properties/promised_at",
    ),
    "in two days": ({"occurred_at": "2199-01-01T00:00:00Z"}, "/occurred_at"),
    "no customer": ({"customer_id": ""}, "/customer_id"),
    "customer missing": ({"customer_id": ...}, "/customer_id"),
    "NUL": ({"customer_id": "a\x00b"}, "/customer_id"),
    "NUL inside": ({"properties": {"note": ["\x00"]}}, "/properties/note/0"),
    "deep inside": ({"properties": {"a": 1, "b": {"c/d": [0, {"e": 2**64}]}}}, "/properties/b/c~1d/1/e"),
    "NUL in a name inside": ({"properties": {"a": [{"\x00": 1}]}}, "/properties/a/0"),
    "address around it": ({"properties": {"ada@example.com": "\x00"}}, "/properties/(hidden name)"),
    "unknown field": ({"userId": "7"}, "/userId"),
    "unknown kind": ({"kind": "teleported"}, "/kind"),
    "wrong type": ({"value": []}, "/value"),
    "huge number": ({"value": "1e400"}, "/value"),
    "number with a line between": ({"value": "1_000"}, "/value"),
    "digits of another script": ({"value": "\u0661\u0662"}, "/value"),
    "blanks around a number": ({"value": " 5 "}, "/value"),
    "comma in a number": ({"value": "5,5"}, "/value"),
    "order without value": ({"value": ...}, "/value"),
    "free line": ({"kind": "order_line", "value": "0"}, "/value"),
    "line without price": ({"kind": "order_line", "properties": {"unit_price": 0}}, "/properties/unit_price"),
    "bounce of no kind": ({"kind": "bounced", "properties": {}}, "/properties/bounce"),
    "category no text": ({"properties": {"category": 7}}, "/properties/category"),
    "currency": ({"currency": "euro"}, "/currency"),
    "no currency": ({"currency": "ZZZ"}, "/currency"),
    "currency with line end": ({"currency": "EUR\n"}, "/currency"),
    "list no UUID": ({"target_list": "7"}, "/target_list"),
    "integer beyond 64 bits": ({"properties": {"n": 2**64}}, "/properties/n"),
    "number whose square is no double": ({"properties": {"n": 1e200}}, "/properties/n"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_items_are_refused_with_the_field_and_kept(feedback: httpx.Client, event: Make, name: str) -> None:
    changed, pointer = BAD[name]
    alone = feedback.post("/v1/events", json=event(**changed))
    assert alone.status_code == 422
    assert alone.json()["errors"][0]["pointer"] == pointer
    answer = feedback.post("/v1/events", json=[event(**changed), event(1)])
    assert verdicts(answer) == (1, 0, 0, 1)
    assert answer.json()["rejected"][0]["pointer"] == pointer
    newest = feedback.get("/v1/rejects", params={"limit": 2}).json()["items"]
    assert [(reject["door"], reject["pointer"]) for reject in newest] == [("list", pointer), ("one", pointer)]
    assert kept(feedback, event()["customer_id"]) == []


@pytest.mark.parametrize(("name", "password", "status"), [(KEY, "", 200), (KEY, "x", 200), ("x", KEY, 401)])
def test_the_door_takes_the_key_as_the_user_name_of_basic_credentials(
    feedback: httpx.Client, event: Make, name: str, password: str, status: int
) -> None:
    answer = httpx.post(f"{feedback.base_url}/v1/events", json=event(), auth=(name, password))
    assert answer.status_code == status
    assert answer.headers.get("www-authenticate") == (None if status == 200 else "Bearer")
    security = feedback.get("/openapi.json").json()["paths"]["/v1/events"]["post"]["security"]
    assert security == [{"HTTPBearer": []}, {"WriteKey": []}]
    assert httpx.get(f"{feedback.base_url}/v1/events", auth=(name, password)).status_code == 401


def test_what_is_too_long_is_told_in_characters(feedback: httpx.Client, event: Make) -> None:
    told = feedback.post("/v1/events", json=event(text="x" * 20_001)).json()["errors"][0]
    assert told == {"pointer": "/text", "detail": "String should have at most 20000 characters"}


RAW = {
    "NaN": '{"n": NaN}',
    "Infinity": '{"n": -Infinity}',
    "too large for a double": '{"n": 1e999}',
    "lone surrogate": r'{"n": "\ud800"}',
    "deep": '{"n": ' + "[" * 100 + "]" * 100 + "}",
    "very deep": '{"n": ' + "[" * 50_000 + "]" * 50_000 + "}",
    "many digits": '{"n": ' + "9" * 5000 + "}",
    "not UTF-8": '{"n": "\udcff"}',
}


@pytest.mark.parametrize("name", RAW)
def test_what_json_or_postgres_cannot_hold_is_refused_by_item(feedback: httpx.Client, event: Make, name: str) -> None:
    def raw(number: int) -> bytes:
        text = json.dumps(event(number, properties="HERE")).replace('"HERE"', RAW[name])
        return text.encode("utf-8", "surrogateescape")

    good = json.dumps(event(1)).encode()
    assert feedback.post("/v1/events", content=raw(0), headers=JSON).status_code in (400, 422)
    assert verdicts(feedback.post("/v1/events", content=b"[" + raw(0) + b"," + good + b"]", headers=JSON)) == (
        1,
        0,
        0,
        1,
    )
    lines = b"\n".join([raw(0), good])
    assert verdicts(feedback.post("/v1/events", content=lines, headers=NDJSON)) == (0, 1, 0, 1)


JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
CSV = {"Content-Type": "text/csv"}


@pytest.mark.parametrize("body", ["", " ", "7", '"text"', "null", "{", "[", "[{}", "[{}]x", "]", "[}", '["', "{}x"])
def test_an_unreadable_body_gets_400_and_is_kept(feedback: httpx.Client, body: str) -> None:
    before = feedback.get("/v1/rejects", params={"code": "unreadable", "limit": 1}).json()["items"]
    answer = feedback.post("/v1/events", content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    after = feedback.get("/v1/rejects", params={"code": "unreadable", "limit": 1}).json()["items"]
    assert before != after


def test_an_empty_list_is_nothing_to_do(feedback: httpx.Client) -> None:
    assert verdicts(feedback.post("/v1/events", json=[])) == (0, 0, 0, 0)
    assert verdicts(feedback.post("/v1/events", content=b"", headers=NDJSON)) == (0, 0, 0, 0)


def test_bodies_past_their_limit_and_of_other_types_are_refused(feedback: httpx.Client) -> None:
    assert feedback.post("/v1/events", content=b"[" + b" " * 2**20 + b"]", headers=JSON).status_code == 413
    assert feedback.post("/v1/events", content=b"x", headers={"Content-Type": "application/xml"}).status_code == 415
    assert feedback.post("/v1/events", content=b"x" * (2**20 + 2), headers=NDJSON).status_code == 413


def test_a_line_that_is_refused_costs_the_other_lines_nothing(feedback: httpx.Client, event: Make) -> None:
    lines = [json.dumps(event(0)), "", "{nonsense", json.dumps(event(1)), "[]"]
    answer = feedback.post("/v1/events", content="\n".join(lines), headers=NDJSON)
    assert verdicts(answer) == (2, 0, 0, 2)
    assert [item["index"] for item in answer.json()["rejected"]] == [1, 3]


def test_a_file_longer_than_a_chunk_is_taken_whole(feedback: httpx.Client, event: Make, unique: str) -> None:
    lines = [json.dumps(event(number, customer_id=f"{unique}-{number % 500}")) for number in range(12_000)]
    body = "\n".join([*lines, lines[7]])
    assert verdicts(feedback.post("/v1/events", content=body, headers=NDJSON)) == (12_000, 1, 0, 0)
    assert verdicts(feedback.post("/v1/events", content=body, headers=NDJSON)) == (0, 12_001, 0, 0)
    assert len(kept(feedback, f"{unique}-7")) == 24


def test_csv_columns_are_fields_and_properties(feedback: httpx.Client, unique: str) -> None:
    body = (
        "event_id,customer_id,kind,occurred_at,value,properties.quantity,properties.category,properties.gift\n"
        f"{unique}-1,{unique},order_line,2024-05-01T12:00:00Z,15.30,6,lamps,\n"
        f'{unique}-2,{unique},order_line,2024-05-02T12:00:00Z,1,"1","toys, soft",yes\n'
        f"{unique}-3,,order_line,2024-05-02T12:00:00Z,1,1,toys,\n"
        f"{unique}-4,{unique},order_line,2024-05-02T12:00:00Z,1,many,toys,\n"
        f"{unique}-5,{unique},order_line,2024-05-02T12:00:00Z,1,1_0,toys,\n"
    )
    answer = feedback.post("/v1/events", content=body, headers=CSV)
    assert verdicts(answer) == (2, 0, 0, 3)
    pointers = [item["pointer"] for item in answer.json()["rejected"]]
    assert pointers == ["/customer_id", "/properties/quantity", "/properties/quantity"]
    newer, older = kept(feedback, unique)
    assert older["properties"] == {"quantity": 6, "category": "lamps"}
    assert newer["properties"] == {"quantity": 1, "category": "toys, soft", "gift": "yes"}


def test_rows_that_are_not_utf8_are_refused_and_never_made_alike(feedback: httpx.Client, unique: str) -> None:
    rows = f"{unique}-Müller,view,2024-05-01T12:00:00Z,\n{unique}-Möller,view,2024-05-01T12:00:00Z,\n"
    rows += f"{unique},view,2024-05-01T12:00:00Z,Süd\n{unique},view,2024-05-01T12:00:00Z,Nord\n"
    body = f"customer_id,kind,occurred_at,properties.shop\n{rows}"
    answer = feedback.post("/v1/events", content=body.encode("latin-1"), headers=CSV)
    assert verdicts(answer) == (1, 0, 0, 3)
    pointers = [item["pointer"] for item in answer.json()["rejected"]]
    assert pointers == ["/customer_id", "/customer_id", "/properties.shop"]
    kept_rejects = feedback.get("/v1/rejects", params={"door": "csv", "limit": 3}).json()["items"]
    wanted = {"rejects": [{"id": reject["id"]} for reject in kept_rejects]}
    assert feedback.post("/v1/rejects:retry", json=wanted).json()["refused"] == 3
    assert verdicts(feedback.post("/v1/events", content=body.encode(), headers=CSV)) == (3, 1, 0, 0)


@pytest.mark.parametrize("header", [NDJSON, CSV])
def test_identical_lines_without_id_are_twins_and_a_file_sent_again_is_all_duplicates(
    feedback: httpx.Client, event: Make, header: dict[str, str]
) -> None:
    line = json.dumps(event(0, event_id=...))
    body = f"{line}\n{line}\n"
    if header is CSV:
        row = f"{event()['customer_id']},view,2024-05-01T12:00:00Z\n"
        body = f"customer_id,kind,occurred_at\n{row}{row}"
    assert verdicts(feedback.post("/v1/events", content=body, headers=header)) == (2, 0, 0, 0)
    assert verdicts(feedback.post("/v1/events", content=body, headers=header)) == (0, 2, 0, 0)


def test_an_event_without_id_sent_again_is_a_duplicate(feedback: httpx.Client, event: Make) -> None:
    sent = event(event_id=...)
    assert verdicts(feedback.post("/v1/events", json=sent)) == (1, 0, 0, 0)
    assert verdicts(feedback.post("/v1/events", json=[sent])) == (0, 1, 0, 0)


def test_money_without_a_currency_is_in_the_installations_own(feedback: httpx.Client, event: Make) -> None:
    feedback.post("/v1/events", json=[event(0, currency=...), event(10, kind="rated", currency=..., value=9)])
    rated, order = sorted(kept(feedback, event()["customer_id"]), key=lambda found: str(found["currency"]))[::-1]
    assert (order["currency"], rated["currency"]) == ("EUR", None)


@pytest.mark.parametrize(
    "text", ["'; drop table feedback.event; --", '"}', "\\", "{NULL}", "NULL", "%s :x ${y}", "naïve 😀"]
)
def test_texts_come_back_as_they_were_whatever_they_hold(
    feedback: httpx.Client, event: Make, unique: str, text: str
) -> None:
    sent = event(event_id=text, customer_id=f"{unique}{text}", text=text, properties={"category": text, text: [text]})
    assert verdicts(feedback.post("/v1/events", json=[sent])) == (1, 0, 0, 0)
    (found,) = kept(feedback, f"{unique}{text}")
    assert (found["event_id"], found["text"], found["properties"]) == (text, text, sent["properties"])


def test_each_writing_request_is_one_arrival_that_tells_what_it_brought(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make, unique: str
) -> None:
    feedback.post("/v1/events", json=[event(0), event(1)])
    feedback.post("/v1/events", json=[event(1), event(2)])
    feedback.post("/v1/events", json=[event(1), event(2)])
    query = """
        select b.events, count(*) from feedback.batch b join feedback.event e using (batch_id)
         where e.customer_id like :prefix and b.xid is not null group by b.batch_id, b.events order by b.batch_id
    """
    with owner_engine.connect() as db:
        rows = db.execute(sa.text(query), {"prefix": f"{unique}%"}).all()
    assert [tuple(row) for row in rows] == [(2, 2), (1, 1)]


def test_events_are_listed_by_customer_kind_and_time_page_by_page(feedback: httpx.Client, event: Make) -> None:
    day = "2024-05-{:02}T12:00:00Z".format
    events = [event(10 * n, occurred_at=day(n + 1), kind="order" if n % 2 else "view", value=1) for n in range(9)]
    feedback.post("/v1/events", json=events)
    query = {"customer_id": events[0]["customer_id"], "limit": 2, "since": day(3)}
    seen, cursor = [], {}
    while True:
        page = feedback.get("/v1/events", params={**query, **cursor}).json()
        seen += [found["occurred_at"] for found in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == [day(n) for n in range(9, 2, -1)]
    assert len(kept(feedback, events[0]["customer_id"], kind="order")) == 4


def test_everybodys_events_are_listed_newest_arrival_first(feedback: httpx.Client, event: Make) -> None:
    for number in range(3):
        feedback.post("/v1/events", json=event(number))
    first = feedback.get("/v1/events", params={"limit": 2}).json()
    second = feedback.get("/v1/events", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    ids = [found["event_id"] for found in first["items"] + second["items"]]
    assert ids[:3] == [event(n)["event_id"] for n in (2, 1, 0)]
    assert (
        feedback.get("/v1/events", params={"limit": 2, "kind": "view", "cursor": first["next_cursor"]}).status_code
        == 422
    )


BROKEN = {"application/json": "list", "application/x-ndjson": "ndjson", "text/csv": "csv"}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_body_that_breaks_off_is_not_taken_and_disturbs_nobody(
    feedback: httpx.Client, event: Make, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: {feedback.headers['Authorization']}\r\n"
    body = json.dumps(event()).encode() + b"\n"
    query = {"code": "unreadable", "door": BROKEN[kind], "limit": 1}
    before = feedback.get("/v1/rejects", params=query).json()["items"]
    with socket.create_connection((feedback.base_url.host, feedback.base_url.port)) as connection:
        connection.sendall(f"{head}Content-Type: {kind}\r\nContent-Length: 9999\r\n\r\n".encode() + body)
    end = time.monotonic() + 10
    while kind != "application/json" and feedback.get("/v1/rejects", params=query).json()["items"] == before:
        assert time.monotonic() < end, "the broken body left no reject"
        time.sleep(0.05)
    assert kept(feedback, event()["customer_id"]) == []
    assert "request failed" not in capfd.readouterr().err


PLAIN = {"currency": ..., "properties": ...}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (PLAIN, PLAIN | {"currency": "EUR"}, True),
        (PLAIN, PLAIN | {"properties": {}}, True),
        ({}, {"value": "12.5"}, True),
        ({}, {"occurred_at": "2024-05-01T14:00:00+02:00"}, True),
        ({"properties": {"a": 1}}, {"properties": {"a": 1.0}}, True),
        ({"properties": {"a": 1}}, {"properties": {"a": True}}, False),
        (PLAIN, PLAIN | {"currency": "USD"}, False),
    ],
)
def test_two_events_of_one_id_get_the_same_verdict_in_one_list_as_in_two(
    feedback: httpx.Client, event: Make, one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    expected = (1, 0) if same else (0, 1)
    together = feedback.post("/v1/events", json=[event(0, **one), event(0, **other)])
    assert verdicts(together) == (1, *expected, 0)
    assert verdicts(feedback.post("/v1/events", json=[event(1, **one)])) == (1, 0, 0, 0)
    assert verdicts(feedback.post("/v1/events", json=[event(1, **other)])) == (0, *expected, 0)


def test_what_is_stored_already_is_a_duplicate_whatever_comes_before_it_in_the_list(
    feedback: httpx.Client, event: Make
) -> None:
    feedback.post("/v1/events", json=event())
    changed = event(value="13")
    assert verdicts(feedback.post("/v1/events", json=[changed, event(), changed, event(value="14")])) == (0, 1, 3, 0)


def test_a_file_that_is_wrong_in_ever_new_ways_is_remembered_in_bounds() -> None:
    tally = Tally(Source("ndjson", "test"))
    for n in range(3 * DIFFERENT_REASONS):
        tally.add([], [Refusal(n, f"/{n}", "is not known", b"")])
    report = tally.report()
    assert report.refused == 3 * DIFFERENT_REASONS
    assert (report.reasons[0].detail, report.reasons[0].count) == (OTHER[1], 2 * DIFFERENT_REASONS)
