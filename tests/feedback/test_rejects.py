"""What is refused is kept with the reason, without what is personal, and can be tried again after a mend."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from services.feedback import rejects
from services.feedback.actions.kinds import Kinds
from services.feedback.personal import hashed
from tests.feedback.conftest import Make

SECRET = "a-secret-of-the-tests"
SENSELESS = sa.text("""
    update feedback.kind
       set rule = jsonb_set(rule, '{value}', '{"type": "text", "minimum": 5, "maximum": 1, "allowed": []}')
     where name = :name
""")


def newest(feedback: httpx.Client, **filters: str) -> dict[str, Any]:
    found: dict[str, Any] = feedback.get("/v1/rejects", params={"limit": 1, **filters}).json()["items"][0]
    return found


def test_a_kind_declared_later_lets_its_events_in_on_retry(feedback: httpx.Client, event: Make, unique: str) -> None:
    kind = f"k{unique}"
    sent = event(kind=kind, properties={"rooms": 3})
    assert feedback.post("/v1/events", json=sent).status_code == 422
    reject = newest(feedback)
    assert (reject["pointer"], reject["whole"], reject["retried_at"]) == ("/kind", True, None)
    wanted = {"rejects": [{"id": reject["id"]}]}
    assert feedback.post("/v1/rejects:retry", json=wanted).json()["refused"] == 1
    rule = {"properties": {"rooms": {"type": "number", "required": True, "minimum": 1}}, "required": ["value"]}
    assert feedback.put(f"/v1/kinds/{kind}", json=rule).status_code == 200
    assert feedback.post("/v1/rejects:retry", json=wanted).json()["accepted"] == 1
    assert newest(feedback)["retried_at"] is not None
    assert feedback.post("/v1/rejects:retry", json=wanted).json()["duplicates"] == 1
    assert feedback.post("/v1/events", json=event(1, kind=kind, properties={"rooms": 0})).status_code == 422


def test_a_reject_can_be_retried_with_mended_content(feedback: httpx.Client, event: Make) -> None:
    assert feedback.post("/v1/events", json=event(colour="red")).status_code == 422
    wanted = {"rejects": [{"id": newest(feedback)["id"], "event": event()}]}
    assert feedback.post("/v1/rejects:retry", json=wanted).json()["accepted"] == 1


def test_a_row_of_a_file_keeps_its_id_over_the_retry(feedback: httpx.Client, unique: str) -> None:
    header = {"Content-Type": "text/csv"}
    body = f"customer_id,kind,occurred_at,value\n{unique},k{unique},2024-05-01T12:00:00Z,7\n"
    assert feedback.post("/v1/events", content=body, headers=header).json()["refused"] == 1
    reject = newest(feedback, door="csv")
    assert feedback.put(f"/v1/kinds/k{unique}", json={}).status_code == 200
    assert feedback.post("/v1/rejects:retry", json={"rejects": [{"id": reject["id"]}]}).json()["accepted"] == 1
    assert feedback.post("/v1/events", content=body, headers=header).json()["duplicates"] == 1


def test_rows_of_a_file_with_properties_can_be_tried_again_and_take_the_types_declared_since(
    feedback: httpx.Client, unique: str
) -> None:
    header = {"Content-Type": "text/csv"}
    row = f"{unique},{unique},k{unique},2024-05-01T12:00:00Z,3"
    body = f"event_id,customer_id,kind,occurred_at,properties.rooms\n{row}\n"
    assert feedback.post("/v1/events", content=body, headers=header).json()["refused"] == 1
    reject = newest(feedback, door="csv")
    rule = {"properties": {"rooms": {"type": "number", "required": True}}}
    assert feedback.put(f"/v1/kinds/k{unique}", json=rule).status_code == 200
    wanted = {"rejects": [{"id": reject["id"]}]}
    answer = feedback.post("/v1/rejects:retry", json=wanted)
    assert (answer.status_code, answer.json().get("accepted")) == (200, 1), answer.text
    (kept,) = feedback.get("/v1/events", params={"customer_id": unique}).json()["items"]
    assert kept["properties"] == {"rooms": 3}
    changed = body.replace(",3", ",4")
    assert feedback.post("/v1/events", content=changed, headers=header).json()["conflicts"] == 1
    conflict = newest(feedback, door="csv", code="conflict")
    assert feedback.post("/v1/rejects:retry", json={"rejects": [{"id": conflict["id"]}]}).json()["conflicts"] == 1


def test_a_file_that_could_not_be_read_is_refused_again_when_it_is_tried_again(feedback: httpx.Client) -> None:
    assert feedback.post("/v1/events", content="a,a\n1,2\n", headers={"Content-Type": "text/csv"}).status_code == 400
    reject = newest(feedback, door="csv", code="unreadable")
    answer = feedback.post("/v1/rejects:retry", json={"rejects": [{"id": reject["id"]}]})
    assert (answer.status_code, answer.json()["refused"]) == (200, 1)


def test_unknown_rejects_are_pointed_at(feedback: httpx.Client) -> None:
    missing = "0190a0a0-0000-7000-8000-000000000000"
    answer = feedback.post("/v1/rejects:retry", json={"rejects": [{"id": missing}]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/rejects/0/id"


def test_personal_fields_are_hashed_and_the_reject_then_needs_the_event_to_be_said(
    feedback: httpx.Client, event: Make
) -> None:
    sent = event(properties={"email": "ada@example.org", "note": "call +49 170 1234567"}, colour="red")
    assert feedback.post("/v1/events", json=sent).status_code == 422
    reject = newest(feedback)
    assert "ada@example.org" not in reject["raw"]
    assert "1234567" not in reject["raw"]
    assert not reject["whole"]
    answer = feedback.post("/v1/rejects:retry", json={"rejects": [{"id": reject["id"]}]}).json()
    assert answer["rejected"][0]["detail"].startswith("holds hashed fields")


LATIN_1 = [b'{"name": "J\xf6rg"}', b'{"email": "J\xf6rg <j@x.example>", ', b'{"note": "to j\xf6rg@example.com"}']


@given(st.binary(max_size=200), st.sampled_from([b"", b"mail ada.l@example.org", b'{"email": "ada"}', *LATIN_1]))
def test_no_address_survives_whatever_surrounds_it(rest: bytes, personal: bytes) -> None:
    found = rejects.kept(rest + personal, SECRET)
    assert b"ada.l@example.org" not in found.raw
    assert found.whole == (found.raw == rest + personal)
    if personal.startswith(b"{") and not rest:
        assert b'"ada"' not in found.raw
        assert b"\xf6rg" not in found.raw


def test_the_same_value_is_recognised_by_its_hash_and_long_items_are_cut() -> None:
    one, two = (rejects.kept(json.dumps({"a": {"phone": "1"}, "b": n}).encode(), SECRET) for n in (1, 2))
    assert json.loads(one.raw)["a"] == json.loads(two.raw)["a"]
    long = rejects.kept(b"x" * 1_000_000, SECRET)
    assert (len(long.raw), long.whole) == (rejects.RAW_LIMIT, False)


@pytest.mark.parametrize(
    "raw",
    [
        '{"customer_id": "c", "name": "Ada Lovelace", "city": "London"',
        '{"properties": {"first_name": "Ada", "phone": 02079460000, "address": {"street": "Ada", "zip": "London"}}',
        "{'name': 'Ada', 'city': 'London'}",
        "{name: Ada Lovelace, city: London}",
        '{"name": "Ada \\" Lovelace", "x": }',
        '{"name": "Ada", "name": null}',
        json.dumps({"filling": "x" * 20_000, "name": "Ada"}),
        json.dumps({"name": "Ada", "filling": "x" * 20_000}),
        json.dumps({"name": "Ada", "filling": "x" * 20_000})[:-1],
        '{"name": "' + "Ada " * 10_000,
    ],
)
def test_personal_fields_are_hashed_also_where_an_item_is_broken_or_long(raw: str) -> None:
    found = rejects.kept(raw.encode(), SECRET)
    for personal in (b"Ada", b"Lovelace", b"London", b"0207"):
        assert personal not in found.raw
    assert not found.whole
    assert len(found.raw) <= rejects.RAW_LIMIT


@pytest.mark.parametrize(
    "raw",
    [
        '{"customer_id": "00491701234567", "value": "x"}',
        '{"customer_id": "00491701234567", "value": }',
        '{"msisdn": "491701234567", "tel": "0170 1234567", "phones": [491701234567]}',
        '{"msisdn": "491701234567", "tel": "0170 1234567", }',
        '{"link": "https://shop.example/?e=anna%40example.com&n=1"}',
        r'{"note": "anna\u0040example.com"}',
        r'{"note": "anna\u0040example.com", "note": 1}',
        r'{"note": "j\u00f6rg\u0040m\u00fcller.de" "anna@example.com"}',
        '{"note": "jörg@müller.de and o\'brien@example.com"}',
        '{"note": "jörg@müller.de and o\'brien@example.com"',
        '{"anna@example.com": "x", "＋49 170 1234567": [{"+49.170.1234567": "＋49 170 1234567"}]}',
        "x" * (rejects.RAW_LIMIT - 20) + " anna@example.com, anna@example.com",
        "x" * (rejects.RAW_LIMIT - 12) + " +49 170 1234567",
    ],
)
def test_addresses_are_hashed_however_they_are_written(raw: str) -> None:
    found = rejects.kept(raw.encode(), SECRET)
    shown = found.raw.decode()
    for personal in ("170", "anna", "rg@", "u00f6rg", "ller.de", "brien", "o'"):
        assert personal not in shown.replace(hashed("anna@example.com", SECRET), "")
    assert not found.whole


@pytest.mark.parametrize("personal", LATIN_1)
@pytest.mark.parametrize("door", ["application/json", "application/x-ndjson", "alone"])
def test_a_refused_item_that_is_not_utf8_costs_the_events_beside_it_nothing(
    feedback: httpx.Client, event: Make, personal: bytes, door: str
) -> None:
    good = json.dumps(event()).encode()
    beside = {"application/json": b"[%b, %b]", "application/x-ndjson": b"%b\n%b"}
    body = beside[door] % (good, personal) if door in beside else personal
    kind = door if door in beside else "application/json"
    answer = feedback.post("/v1/events", content=body, headers={"Content-Type": kind})
    if door == "alone" or (door == "application/json" and personal.endswith(b", ")):  # then no list can be told either
        assert answer.status_code == 400
    else:
        assert (answer.status_code, answer.json()["accepted"], answer.json()["refused"]) == (200, 1, 1)
    assert "rg" not in newest(feedback)["raw"].replace(good.decode(), "")


@pytest.mark.parametrize("raw", [b"x" * rejects.RAW_LIMIT, b"a " * (rejects.RAW_LIMIT // 2)])
def test_what_is_kept_of_a_long_item_is_found_quickly(raw: bytes) -> None:
    began_at = time.process_time()
    for _ in range(10):
        rejects.kept(raw, SECRET)
    assert time.process_time() - began_at < 0.25


def test_what_is_broken_and_not_personal_is_kept_to_be_mended() -> None:
    raw = b'{"event_id": "e-1", "kind": "order", "value": 12.5.0}'
    assert rejects.kept(raw, SECRET) == (raw, True)


@pytest.mark.parametrize(
    "rows",
    [
        'c-1,order,2026-03-01T00:00:00Z,"Anna, "0170 1234567\n',  # quotes that do not match
        "c-1,order,2026-03-01T00:00:00Z,a,Anna,0170 1234567\n",  # more cells than columns
    ],
)
def test_what_stands_in_no_column_of_a_csv_is_not_kept_for_nobody_can_tell_what_it_is(
    clean: None, feedback: httpx.Client, rows: str
) -> None:
    body = f"customer_id,kind,occurred_at,properties.page\n{rows}"
    answer = feedback.post("/v1/events", content=body, headers={"Content-Type": "text/csv"})
    assert (answer.status_code, answer.json()["refused"]) == (200, 1), answer.text
    (kept,) = feedback.get("/v1/rejects").json()["items"]
    assert "hashed:" in kept["raw"]
    assert not kept["whole"]
    assert "1234567" not in kept["raw"]
    assert "Anna" not in kept["raw"]


def test_a_name_that_is_an_address_is_not_pointed_out(feedback: httpx.Client, event: Make, unique: str) -> None:
    sent = event() | {f"{unique}@example.org": "x"}
    refused = feedback.post("/v1/events", json=sent)
    assert refused.json()["errors"][0]["pointer"] == "/(hidden name)"
    assert newest(feedback)["pointer"] == "/(hidden name)"


@pytest.mark.parametrize("name", ["order", "unsubscribed"])
def test_kinds_that_are_known_everywhere_cannot_be_declared_anew(feedback: httpx.Client, name: str) -> None:
    assert feedback.put(f"/v1/kinds/{name}", json={}).status_code == 409


def test_a_kind_is_known_to_every_process_once_it_is_declared_whatever_others_send_meanwhile(
    feedback_engine: sa.Engine, feedback: httpx.Client, event: Make, unique: str
) -> None:
    others, over = Kinds(feedback_engine), threading.Event()

    def send_undeclared() -> None:
        while not over.is_set():
            feedback.post("/v1/events", json=event(kind=f"z{unique}"))

    with ThreadPoolExecutor() as pool:
        pool.submit(send_undeclared)
        try:
            for number in range(10):
                name = f"k{unique}{number}"
                assert name not in others.registry([name])
                assert feedback.put(f"/v1/kinds/{name}", json={}).status_code == 200
                assert name in others.registry([name])
                assert feedback.post("/v1/events", json=event(number, kind=name)).status_code == 200
        finally:
            over.set()


def test_many_unknown_kinds_at_once_do_not_read_the_table_for_each(feedback_engine: sa.Engine) -> None:
    kinds, readings = Kinds(feedback_engine), []

    @sa.event.listens_for(feedback_engine, "before_cursor_execute")
    def reading(*_: object) -> None:
        readings.append(1)
        time.sleep(0.2)

    try:
        with ThreadPoolExecutor(32) as pool:
            found = list(pool.map(kinds.registry, [[f"unheard_{number}"] for number in range(32)]))
    finally:
        sa.event.remove(feedback_engine, "before_cursor_execute", reading)
    assert all("order" in registry for registry in found)
    assert len(readings) <= 16


@pytest.mark.parametrize(
    ("rule", "pointer"),
    [
        ({"value": {"type": "text"}}, "/value/type"),
        ({"value": {"type": "number", "required": True}}, "/value/required"),
        ({"value": {"type": "number", "minimum": 5, "maximum": 1}}, "/value/maximum"),
        ({"properties": {"n": {"type": "number", "above": 1, "maximum": 1}}}, "/properties/n/maximum"),
        ({"properties": {"n": {"type": "number", "allowed": ["1"]}}}, "/properties/n/allowed"),
        ({"properties": {"n": {"type": "text", "allowed": []}}}, "/properties/n/allowed"),
        ({"properties": {"n": {"type": "text", "minimum": 0}}}, "/properties/n/minimum"),
        ({"properties": {"category": {"type": "number", "required": True}}}, "/properties/category/type"),
        ({"description": "As ada@example.com wants it"}, "/description"),
        ({"properties": {"ada@example.com": {"type": "text"}}}, "/properties"),
        ({"properties": {"n": {"type": "text", "allowed": ["ada@example.com"]}}}, "/properties/n/allowed"),
    ],
)
def test_a_kind_that_no_event_could_be_of_or_that_holds_an_address_is_not_declared(
    feedback: httpx.Client, unique: str, rule: dict[str, Any], pointer: str
) -> None:
    answer = feedback.put(f"/v1/kinds/k{unique}", json=rule)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert feedback.get(f"/v1/kinds/k{unique}").status_code == 404


def test_what_is_declared_of_the_category_holds(feedback: httpx.Client, event: Make, unique: str) -> None:
    declared = {"properties": {"category": {"type": "text", "required": True, "allowed": ["shoes"]}}}
    assert feedback.put(f"/v1/kinds/k{unique}", json=declared).status_code == 200
    for properties, status in (({"category": "shoes"}, 200), ({"category": "hats"}, 422), ({}, 422)):
        sent = event(kind=f"k{unique}", properties=properties)
        assert feedback.post("/v1/events", json=sent).status_code == status


def test_a_kind_that_was_declared_before_it_was_checked_can_still_be_read(
    feedback: httpx.Client, owner_engine: sa.Engine, event: Make, unique: str
) -> None:
    assert feedback.put(f"/v1/kinds/k{unique}", json={}).status_code == 200
    with owner_engine.begin() as db:
        db.execute(SENSELESS, {"name": f"k{unique}"})
    assert feedback.get(f"/v1/kinds/k{unique}").json()["value"]["maximum"] == 1
    assert feedback.post("/v1/events", json=event(kind=f"new{unique}")).json()["errors"][0]["pointer"] == "/kind"
    with owner_engine.begin() as db:
        db.execute(sa.text("delete from feedback.kind where name = :name"), {"name": f"k{unique}"})


def test_all_kinds_are_listed_with_what_they_need(feedback: httpx.Client) -> None:
    listed = {kind["name"]: kind for kind in feedback.get("/v1/kinds", params={"limit": 1000}).json()["items"]}
    assert {"order", "search", "reading", "complained"} <= set(listed)
    assert listed["bounced"]["properties"]["bounce"]["allowed"] == ["hard", "soft"]
    assert feedback.get("/v1/kinds/order").json() == listed["order"]
    assert feedback.get("/v1/kinds/teleported").status_code == 404
