"""Segments over HTTP, against the real service and a real Postgres."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import sqlalchemy as sa

from services.audience.actions import segments as actions
from shared.auth import create_key
from shared.db import transaction

YESTERDAY = datetime.now(UTC) - timedelta(days=1)
EVENT = sa.text("""
    insert into feedback.event
           (customer_id, event_id, kind, category, occurred_at, received_at, value, properties, batch_id)
    values (:customer, :event, 'order', :category, :at, :at, :value, cast(:properties as jsonb), 0)
""")


@pytest.fixture
def shop(audience, load, owner_engine, unique) -> dict[str, str]:
    """Ann (30, Lyon, two jackets), Bob (50, Porto, one shoe) and Cleo (nothing known): short name → customer id."""
    people = {name: f"{unique}-{name}" for name in ("ann", "bob", "cleo")}
    marked = {"surname": unique}
    load(
        [
            {"customer_id": people["ann"], "attributes": {**marked, "age": 30, "city": "Lyon", "born": "1996-02-29"}},
            {"customer_id": people["bob"], "attributes": {**marked, "age": 50, "city": "Porto"}},
            {"customer_id": people["cleo"], "attributes": marked},
        ]
    )
    events = [("ann", "1", "jackets", 120), ("ann", "2", "jackets", 80), ("bob", "1", "shoes", 60)]
    with owner_engine.begin() as connection:
        for name, event, category, value in events:
            row = {"customer": people[name], "event": event, "category": category, "value": value, "at": YESTERDAY}
            connection.execute(EVENT, {**row, "properties": json.dumps({"category": category})})
    derive(audience, {people["ann"]: 100, people["bob"]: 10})
    return people


def derive(audience: httpx.Client, clv: dict[str, int]) -> None:
    """Give customers the trait `clv`, computed yesterday."""
    common = {"computed_at": YESTERDAY.isoformat(), "model": "test"}
    rows = [{"customer_id": customer, "traits": {"clv": value}, **common} for customer, value in clv.items()]
    assert audience.post("/v1/traits", json=rows).status_code == 200


@pytest.fixture
def made(audience, catalogue, unique):
    """Make a segment under a key of this test's own; gives the segment."""

    def make(key: str, definition: dict, status: int = 201, **more) -> dict:
        answer = audience.post("/v1/segments", json={"key": f"{unique}-{key}", "definition": definition, **more})
        assert answer.status_code == status, answer.text
        return answer.json()

    return make


@pytest.fixture
def among(unique):
    """A definition held to the customers of this test."""
    return lambda *clauses: {"all": [{"attribute": "surname", "is": "eq", "value": unique}, *clauses]}


LYON = {"attribute": "city", "is": "eq", "value": "Lyon"}
JACKETS = {
    "event": "order",
    "where": {"category": {"is": "eq", "value": "jackets"}},
    "measure": "count",
    "is": "gte",
    "value": 2,
    "within_days": 30,
}


def members(audience: httpx.Client, segment: dict, **params) -> list[str]:
    answer = audience.get(f"/v1/segments/{segment['id']}/members", params=params)
    assert answer.status_code == 200, answer.text
    return [item["customer_id"] for item in answer.json()["items"]]


def pointers(answer: httpx.Response) -> list[str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return [error["pointer"] for error in answer.json()["errors"]]


def test_a_segment_is_found_by_key_and_id_and_says_what_it_means(audience, made):
    segment = made("young", {"attribute": "age", "is": "lt", "value": 40}, name="Young")
    assert (segment["version"], segment["name"]) == (1, "Young")
    assert segment["sentence"] == "Customers for whom age is below 40."
    for reference in (segment["key"], segment["id"]):
        assert audience.get(f"/v1/segments/{reference}").json() == segment
    assert audience.get("/v1/segments/nobody-made-this").status_code == 404
    assert audience.get("/v1/segments/'; drop table audience.segment; --").status_code == 404


def test_an_id_means_what_has_it_and_no_key_may_look_like_one(audience, made, unique, owner_engine):
    segment, other = made("a", LYON), made("b", LYON)
    answer = audience.post("/v1/segments", json={"key": segment["id"], "definition": LYON})
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/key"]
    with owner_engine.begin() as connection:  # as an older release took it
        change = sa.text("update audience.segment set key = :key where id = :id")
        connection.execute(change, {"key": segment["id"], "id": other["id"]})
    assert audience.get(f"/v1/segments/{segment['id']}").json()["key"] == segment["key"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": "for ada.lovelace@example.com"}, "/name"),
        (
            {"definition": {"all": [{"attribute": "city", "is": "in", "value": ["Lyon", "ada.lovelace@example.com"]}]}},
            "/definition/all/0/value/1",
        ),
        (
            {"definition": {**JACKETS, "where": {"category": {"is": "eq", "value": "+33 6 12 34 56 78"}}}},
            "/definition/where/category/value",
        ),
    ],
)
def test_an_address_in_a_segment_is_refused_at_its_place_and_kept_nowhere(
    audience, catalogue, unique, change, pointer, everything_stored
):
    answer = audience.post("/v1/segments", json={"key": unique, "definition": LYON} | change)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert not any(address in answer.text + everything_stored() for address in ("lovelace", "12 34 56 78"))


def test_segments_are_listed_page_by_page_and_a_cursor_serves_its_own_query_only(audience, made):
    mine = [made(f"page-{n}", {"attribute": "age", "is": "lt", "value": n})["id"] for n in range(3)]
    seen, cursor = [], None
    while True:
        page = audience.get("/v1/segments", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    assert [one for one in seen if one in mine] == mine
    assert audience.get("/v1/cutoffs", params={"limit": 2, "cursor": cursor}).status_code == 422


def test_members_are_those_whom_every_clause_means(audience, made, shop, among):
    jackets = made("jackets", among(JACKETS))
    assert members(audience, jackets) == [shop["ann"]]
    others = made("others", among({"not": JACKETS}))
    assert members(audience, others) == [shop["bob"], shop["cleo"]]
    elsewhere = made("elsewhere", among({"attribute": "city", "is": "ne", "value": "Lyon"}))
    assert members(audience, elsewhere) == [shop["bob"], shop["cleo"]]


def test_members_come_alike_as_pages_ndjson_and_csv(audience, made, shop, among):
    segment = made("all", among())
    where = f"/v1/segments/{segment['key']}/members"
    pages, cursor = [], None
    while cursor is not None or not pages:
        page = audience.get(where, params={"limit": 1} | ({"cursor": cursor} if cursor else {})).json()
        pages += [item["customer_id"] for item in page["items"]]
        cursor = page["next_cursor"]
    rows = audience.get(where, headers={"Accept": "application/x-ndjson"}).text.splitlines()
    table = audience.get(where, headers={"Accept": "text/csv"}).text.split()
    assert pages == sorted(shop.values()) == [json.loads(row)["customer_id"] for row in rows] == table[1:]
    assert table[0] == "customer_id"


def test_a_stream_goes_on_over_as_many_reads_as_it_takes(audience, load, made, among, unique, monkeypatch):
    monkeypatch.setattr(actions, "STREAMED", 2)
    everyone = [f"{unique}-{n}" for n in range(5)]
    load({"customer_id": one, "attributes": {"surname": unique}} for one in everyone)
    where = f"/v1/segments/{made('stream', among())['id']}/members"
    assert audience.get(where, headers={"Accept": "text/csv"}).text.split()[1:] == everyone


@pytest.mark.parametrize("path", ["%00", "a%00b", "%F0%9F", "x" * 101, "..%2F..%2Fetc"])
def test_addresses_that_can_be_no_segment_are_refused(audience, path):
    for call in ("", "/members", "/versions", "/overlap?with=a", "/explain/ann"):
        assert audience.get(f"/v1/segments/{path}{call}").status_code in (404, 422)
    assert audience.get("/v1/segments/a/overlap", params={"with": "\x00"}).status_code in (404, 422)
    assert audience.get("/v1/segments/a/explain/%00").status_code in (404, 422)


def test_a_stream_of_nobodys_segment_is_a_404_and_no_broken_stream(audience):
    answer = audience.get("/v1/segments/nobody-made-this/members", headers={"Accept": "text/csv"})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_as_of_sees_only_what_had_happened_by_then(audience, made, shop, among):
    segment = made("jackets-then", among(JACKETS))
    assert members(audience, segment, as_of=(YESTERDAY + timedelta(hours=1)).isoformat()) == [shop["ann"]]
    assert members(audience, segment, as_of=YESTERDAY.isoformat()) == []
    assert (
        audience.get(f"/v1/segments/{segment['id']}/members", params={"as_of": "9999-01-01T00:00:00Z"}).status_code
        == 422
    )


def test_a_preview_counts_every_clause_and_stores_nothing(audience, shop, among, everything_stored):
    before = everything_stored()
    definition = among(JACKETS, {"attribute": "city", "is": "ne", "value": "Porto"})
    answer = audience.post("/v1/segments:preview", json={"definition": definition})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["count"], found["sample"]) == (1, [shop["ann"]])
    assert found["share"] == pytest.approx(1 / found["known"])
    counts = {clause["path"]: clause for clause in found["clauses"]}
    assert list(counts) == ["", "/all/0", "/all/1", "/all/2"]
    assert counts[""]["count"] == 1
    assert counts["/all/0"]["count"] == 3
    assert counts["/all/2"]["sentence"] == "city is not “Porto”"
    assert found["sql_ms"] > 0
    assert everything_stored() == before


def test_a_preview_says_how_many_are_meant_only_because_nothing_is_known(audience, shop, unique):
    elsewhere = {"attribute": "surname", "is": "ne", "value": unique}
    found = audience.post("/v1/segments:preview", json={"definition": elsewhere}).json()
    assert found["count"] == found["known"] - 3
    unmarked = {"attribute": "surname", "is": "missing"}
    missing = audience.post("/v1/segments:preview", json={"definition": unmarked}).json()["count"]
    assert found["clauses"][0]["missing"] == missing


def test_a_preview_that_takes_too_long_points_at_the_slowest_clause(audience, shop):
    cheap = [{"attribute": "age", "is": "gt", "value": n} for n in range(100)]
    dear = {"attribute": "city", "is": "in", "value": [str(n) for n in range(1000)]}  # however many customers there are
    body = {"definition": {"any": [*cheap, {"not": dear}]}, "timeout_ms": 1}
    answer = audience.post("/v1/segments:preview", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"].endswith("preview-too-slow")
    assert pointers(answer) == ["/definition/any/100/not"]


def test_a_revision_keeps_the_old_version_and_the_same_definition_changes_nothing(audience, made, shop, among):
    segment = made("revised", among({"attribute": "age", "is": "lt", "value": 40}))
    where = f"/v1/segments/{segment['key']}"
    wider = {"definition": among({"attribute": "age", "is": "lt", "value": 60}), "note": "wider"}
    second = audience.put(where, json=wider).json()
    assert second["version"] == 2
    assert members(audience, second) == [shop["ann"], shop["bob"]]
    assert audience.put(where, json=wider).json() == second
    versions = audience.get(f"{where}/versions").json()["items"]
    assert [(one["version"], one["note"]) for one in versions] == [(2, "wider"), (1, None)]
    assert versions[1]["definition"] == segment["definition"]


def test_another_name_for_the_same_definition_makes_no_version(audience, made):
    segment = made("renamed", {"attribute": "age", "is": "lt", "value": 40}, name="Young")
    where = f"/v1/segments/{segment['key']}"
    renaming = {"definition": segment["definition"], "name": "Under 40"}
    assert audience.put(where, json=renaming | {"based_on": 2}).status_code == 409
    assert audience.put(where, json=renaming | {"based_on": 1}).json() == segment | {"name": "Under 40"}
    assert audience.get(where).json() == segment | {"name": "Under 40"}
    assert [one["version"] for one in audience.get(f"{where}/versions").json()["items"]] == [1]


TAKEN_EARLIER = [
    {"attribute": "age", "is": "gt", "value": 3, "zone": "Europe/Paris"},
    {"attribute": "city", "is": "ne", "value": "ada.lovelace@example.com"},
    {"event": "delivery", "measure": "distinct", "of": "delivered_at", "is": "eq", "value": 0},
]


def test_what_an_earlier_release_took_is_still_evaluated_tried_and_refined_but_not_said_anew(
    audience, made, shop, among, owner_engine
):
    segment, told = made("earlier", among()), among(*TAKEN_EARLIER)
    change = sa.text("update audience.segment_version set definition = cast(:told as jsonb) where segment_id = :id")
    with owner_engine.begin() as connection:
        connection.execute(change, {"told": json.dumps(told), "id": segment["id"]})
    where = f"/v1/segments/{segment['key']}"
    assert members(audience, segment) == [shop["ann"], shop["bob"]]
    assert audience.get(f"{where}/explain/{shop['ann']}").json()["member"] is True
    assert audience.post("/v1/segments:preview", json={"definition": told}).json()["count"] == 2
    refined = {"all": [told, LYON]}
    assert audience.put(where, json={"definition": refined}).json()["version"] == 2
    anew = {"all": [*(clause | {"value": 9} for clause in TAKEN_EARLIER[::2]), refined]}
    assert pointers(audience.put(where, json={"definition": anew})) == [
        "/definition/all/0/zone",
        "/definition/all/1/of",
    ]
    assert pointers(audience.post("/v1/segments", json={"key": f"{segment['key']}-2", "definition": refined})) == [
        "/definition/all/0/all/1/zone",
        "/definition/all/0/all/2/value",
        "/definition/all/0/all/3/of",
    ]


def test_a_revision_based_on_a_passed_version_is_refused(audience, made):
    segment = made("contested", {"attribute": "age", "is": "lt", "value": 40})

    def revise(limit: int) -> int:
        body = {"definition": {"attribute": "age", "is": "lt", "value": limit}, "based_on": 1}
        return audience.put(f"/v1/segments/{segment['id']}", json=body).status_code

    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(revise, range(50, 54)))
    assert sorted(statuses) == [200, 409, 409, 409]
    assert audience.get(f"/v1/segments/{segment['id']}").json()["version"] == 2


def test_two_makers_of_one_key_make_one_segment(audience, unique):
    body = {"key": f"{unique}-twice", "definition": {"attribute": "age", "is": "lt", "value": 40}}
    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(lambda _: audience.post("/v1/segments", json=body).status_code, range(4)))
    assert sorted(statuses) == [201, 409, 409, 409]


def test_a_repeated_call_with_its_idempotency_key_gives_the_first_answer(audience, unique):
    body = {"key": f"{unique}-once", "definition": {"attribute": "age", "is": "lt", "value": 40}}
    first, again = (audience.post("/v1/segments", json=body, headers={"Idempotency-Key": unique}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()


def test_an_explanation_agrees_with_membership_and_shows_what_was_found(audience, made, shop, among):
    segment = made("explained", among(JACKETS, {"not": {"attribute": "city", "is": "eq", "value": "Porto"}}))
    inside = members(audience, segment)
    for customer in shop.values():
        told = audience.get(f"/v1/segments/{segment['key']}/explain/{customer}").json()
        assert told["member"] is (customer in inside)
    told = audience.get(f"/v1/segments/{segment['key']}/explain/{shop['bob']}").json()
    verdicts = {one["path"]: (one["satisfied"], one["found"]) for one in told["clauses"]}
    assert verdicts["/all/1"] == (False, 0)
    assert verdicts["/all/2/not"] == (True, "Porto")
    assert audience.get(f"/v1/segments/{segment['key']}/explain/nobody").status_code == 404


def test_overlap_says_how_many_are_shared(audience, made, shop, among):
    first = made("o1", among({"attribute": "age", "is": "exists"}))
    second = made("o2", among(JACKETS))
    third = made("o3", among({"attribute": "age", "is": "missing"}))
    answer = audience.get(f"/v1/segments/{first['key']}/overlap", params={"with": f"{second['key']},{third['id']}"})
    assert answer.json() == {
        "segment": first["key"],
        "count": 2,
        "with": [
            {"segment": second["key"], "count": 1, "both": 1, "share": 1.0, "jaccard": 0.5},
            {"segment": third["key"], "count": 1, "both": 0, "share": 0.0, "jaccard": 0.0},
        ],
    }
    assert audience.get(f"/v1/segments/{first['key']}/overlap", params={"with": ","}).status_code == 422


def test_segments_of_segments_follow_their_revisions(audience, made, shop, among):
    inner = made("inner", among({"attribute": "age", "is": "lt", "value": 40}))
    outer = made("outer", among({"not": {"segment": inner["key"]}}))
    assert members(audience, outer) == [shop["bob"], shop["cleo"]]
    body = {"definition": among({"attribute": "age", "is": "missing"})}
    audience.put(f"/v1/segments/{inner['key']}", json=body)
    assert members(audience, outer) == [shop["ann"], shop["bob"]]


def test_a_clause_finds_a_segment_by_its_id_in_any_case(audience, made, shop, among):
    inner = made("inner", among({"attribute": "age", "is": "lt", "value": 40}))
    outer = made("outer", among({"segment": inner["id"].upper()}))
    assert members(audience, outer) == [shop["ann"]] == members(audience, {"id": outer["id"].upper()})
    circle = audience.put(f"/v1/segments/{inner['id']}", json={"definition": {"segment": outer["id"].upper()}})
    assert (circle.status_code, pointers(circle)) == (422, ["/definition/segment"])


def test_a_circle_is_refused_by_name_and_changes_nothing(audience, made):
    inner = made("in", {"attribute": "age", "is": "lt", "value": 40})
    outer = made("out", {"not": {"segment": inner["id"]}})
    answer = audience.put(f"/v1/segments/{inner['key']}", json={"definition": {"segment": outer["key"]}})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {
            "pointer": "/definition/segment",
            "detail": f"the segment refers to itself: {inner['key']} → {outer['key']} → {inner['key']}",
        }
    ]
    assert audience.get(f"/v1/segments/{inner['key']}").json() == inner


def test_two_revisions_at_once_cannot_close_a_circle(audience, made):
    plain = {"attribute": "age", "is": "lt", "value": 40}
    pairs = [(made(f"left{n}", plain)["key"], made(f"right{n}", plain)["key"]) for n in range(3)]
    moves = [move for left, right in pairs for move in ((left, right), (right, left))]

    def refer(move: tuple[str, str]) -> int:
        return audience.put(f"/v1/segments/{move[0]}", json={"definition": {"segment": move[1]}}).status_code

    with ThreadPoolExecutor(6) as threads:
        statuses = list(threads.map(refer, moves))
    assert [sorted(statuses[n : n + 2]) for n in (0, 2, 4)] == [[200, 422]] * 3


@pytest.mark.parametrize(
    ("definition", "pointer"),
    [
        ({"segment": "nobody-made-this"}, "/definition/segment"),
        ({"attribute": "nobody_declared_this", "is": "exists"}, "/definition/attribute"),
        ({"attribute": "age", "is": "eq", "value": "30"}, "/definition/value"),
        ({"all": [{"event": "order", "where": {"tint": {"is": "exists"}}}]}, "/definition/all/0/where/tint"),
        ({"all": [{"trait": "clv", "is": "gte", "cutoff": "clv:nothing"}]}, "/definition/all/0/cutoff"),
        ({"all": [{"sequence": []}]}, "/definition/all/0/sequence"),
        ({"all": []}, "/definition/all"),
        ("age > 30", "/definition"),
    ],
)
def test_a_bad_definition_is_refused_at_its_place_wherever_it_comes_in(audience, made, unique, definition, pointer):
    kept = made("kept", {"attribute": "age", "is": "exists"})
    answers = [
        audience.post("/v1/segments", json={"key": f"{unique}-bad", "definition": definition}),
        audience.put(f"/v1/segments/{kept['key']}", json={"definition": definition}),
        audience.post("/v1/segments:preview", json={"definition": definition}),
    ]
    assert [answer.status_code for answer in answers] == [422] * 3
    assert [pointers(answer) for answer in answers] == [[pointer]] * 3
    assert audience.get(f"/v1/segments/{kept['key']}").json() == kept
    assert audience.get(f"/v1/segments/{unique}-bad").status_code == 404


def test_a_definition_that_stopped_fitting_is_named_and_never_a_silent_zero(audience, made, unique):
    attribute = f"a{unique}"
    audience.put(f"/v1/attributes/{attribute}", json={"type": "number"})
    inner = made("fits", {"attribute": attribute, "is": "gt", "value": 3})
    outer = made("around", {"not": {"segment": inner["key"]}})
    audience.put(f"/v1/attributes/{attribute}", json={"type": "text"})
    for segment, word in ((inner, f"{attribute} is text"), (outer, f"the segment {inner['key']}, which is not valid")):
        for call in ("members", "explain/nobody", f"overlap?with={inner['key']}"):
            answer = audience.get(f"/v1/segments/{segment['id']}/{call}")
            assert answer.status_code == 422
            assert "is not valid any more" in answer.json()["detail"]
        assert word in audience.get(f"/v1/segments/{segment['id']}/members").json()["detail"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'{"definition": {"attribute": "age", "is": "eq", "value": NaN}}',
        b'{"definition": {"attribute": "age", "is": "eq", "value": Infinity}}',
        b'{"definition": {"attribute": "city", "is": "eq", "value": "a\\u0000b"}}',
        b'{"definition": {"attribute": "city", "is": "eq", "value": "\\ud83d"}}',
        b'{"definition": {"attribute": "city", "is": "eq", "value": "\xff"}}',
        b'{"definition": ' + b'{"not": ' * 5000 + b"{}" + b"}" * 5000 + b"}",
        b'{"definition": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"definition": {"attribute": "age", "is": "eq", "value": 1' + b"0" * 5000 + b"}}",
        b'{"definition": {"attribute": "age", "is": "exists"}, "as_of": "2026-01-01T00:00:00"}',
        b'{"definition": {"attribute": "age", "is": "exists"}, "unknown": 1}',
    ],
)
def test_bodies_that_are_no_preview_are_refused_and_never_an_error_of_ours(audience, catalogue, raw):
    answer = audience.post("/v1/segments:preview", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "text", ["'; drop table audience.customer; --", "%", "_", "\\", "🧥 manteau", "a' or '1'='1", "$1"]
)
def test_texts_are_compared_and_never_run(audience, load, made, unique, text):
    load(
        [
            {"customer_id": f"{unique}-it", "attributes": {"surname": unique, "city": f"x{text}y"}},
            {"customer_id": f"{unique}-other", "attributes": {"surname": unique, "city": "Lyon"}},
        ]
    )
    clauses = [
        {"attribute": "surname", "is": "eq", "value": unique},
        {"attribute": "city", "is": "contains", "value": text},
    ]
    segment = made("text", {"all": clauses})
    assert members(audience, segment) == [f"{unique}-it"]
    assert audience.get(f"/v1/segments/{segment['key']}").json()["definition"]["all"][1]["value"] == text
    nobody = {"event": "order", "where": {"category": {"is": "eq", "value": text}}}
    assert audience.post("/v1/segments:preview", json={"definition": nobody}).json()["count"] == 0


def test_two_hundred_clauses_of_every_kind_are_counted(audience, shop):
    kinds = [
        {"attribute": "age", "is": "gt", "value": 3, "filled": True},
        {"trait": "clv", "is": "gt", "value": 3},
        {"consent": "email", "purpose": "marketing"},
    ]
    many = [{"event": "order", "is": "gte", "value": n, "within_days": n} for n in range(1, 98)]
    definition = {"any": [{"all": [*kinds, *many]}, {"not": {"all": [*kinds, *many[:93]]}}]}
    answer = audience.post("/v1/segments:preview", json={"definition": definition, "timeout_ms": 60_000})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["clauses"]) == 200


def test_a_cutoff_is_stored_with_its_date_and_moves_nobody_later(audience, made, shop, among):
    stored = audience.post("/v1/cutoffs", json={"trait": "clv", "name": "top50", "top_share": 0.5})
    assert stored.status_code == 201, stored.text
    clause = {"trait": "clv", "is": "gte", "cutoff": "clv:top50"}
    segment = made("cut", among(clause))
    before = members(audience, segment)
    assert shop["bob"] not in before
    derive(audience, {shop["cleo"]: 10**6})
    assert members(audience, segment) == sorted([*before, shop["cleo"]])
    assert "clv" in {one["trait"] for one in audience.get("/v1/cutoffs").json()["items"]}
    too_early = {"definition": clause, "as_of": YESTERDAY.isoformat()}
    assert pointers(audience.post("/v1/segments:preview", json=too_early)) == ["/definition/cutoff"]
    nothing = audience.post("/v1/cutoffs", json={"trait": "nobody_has_it", "name": "top50", "top_share": 0.5})
    assert pointers(nothing) == ["/trait"]


def test_making_a_segment_needs_a_key_that_may_write(audience, catalogue, owner_engine, settings, unique):
    body = {"key": f"{unique}-x", "definition": {"attribute": "age", "is": "exists"}}
    with transaction(owner_engine) as db:
        _, reader = create_key(db, settings.secret, "reader", ["audience:read"])
    calls = {"": 401, f"Bearer {reader}": 403}
    for authorization, status in calls.items():
        headers = {"Authorization": authorization}
        assert audience.post("/v1/segments", json=body, headers=headers).status_code == status
    readable = {"definition": body["definition"]}
    assert audience.post("/v1/segments:preview", json=readable, headers=headers).status_code == 200


def test_to_segments_and_cut_offs_who_objects_to_profiling_has_no_traits(audience, shop, made, among, load, unique):
    trait = f"clv_{unique}".replace("-", "_")
    common = {"computed_at": YESTERDAY.isoformat(), "model": "test"}
    rows = [{"customer_id": shop[name], "traits": {trait: value}, **common} for name, value in (("ann", 9), ("bob", 1))]
    assert audience.post("/v1/traits", json=rows).json()["accepted"] == 2
    load([{"customer_id": shop["ann"], "profiling": False}])
    valued = made("valued", among({"trait": trait, "is": "gte", "value": 0}))
    valueless = made("valueless", among({"trait": trait, "is": "missing"}))
    assert members(audience, valued) == [shop["bob"]]
    assert members(audience, valueless) == sorted([shop["ann"], shop["cleo"]])
    explained = audience.get(f"/v1/segments/{valued['id']}/explain/{shop['ann']}").json()
    assert (explained["member"], explained["clauses"][-1]["found"]) == (False, None)
    cutoff = audience.post("/v1/cutoffs", json={"trait": trait, "name": "best", "top_share": 0.5}).json()
    assert (cutoff["customers"], float(cutoff["value"])) == (1, 1.0)


def test_a_trait_that_nobody_has_is_warned_of_where_it_is_tried_and_where_it_is_saved(audience, shop, made):
    definition = {"any": [{"trait": "clv", "is": "gt", "value": 1}, {"trait": "clvv", "is": "gt", "value": 1}]}
    expected = ["At /any/1: no customer has the trait clvv."]
    assert audience.post("/v1/segments:preview", json={"definition": definition}).json()["warnings"] == expected
    segment = made("misspelt", definition)
    assert segment["warnings"] == expected
    right = {"definition": definition["any"][0]}
    assert audience.put(f"/v1/segments/{segment['key']}", json=right).json()["warnings"] == []
