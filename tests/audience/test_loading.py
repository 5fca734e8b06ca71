"""Bulk loads: what is good is kept, what is bad is refused with the reason, and no address is ever stored."""

import gzip
import json

import pytest

from services.audience.actions.reading import Line, in_chunks


def reasons(report):
    return {(reason["pointer"], reason["detail"]): reason["rows"] for reason in report["reasons"]}


def test_rows_merge_absent_keeps_null_deletes_and_the_last_row_wins(audience, load, unique):
    load([{"customer_id": unique, "attributes": {"age": 30, "city": "Lyon", "tier": "gold"}}])
    report = load(
        [
            {"customer_id": unique, "attributes": {"age": 31, "city": None}},
            {"customer_id": unique, "attributes": {"age": 32}},
        ]
    )
    assert audience.get(f"/v1/customers/{unique}").json()["attributes"] == {"age": 32, "tier": "gold"}
    assert (report["rows"], report["accepted"], report["duplicates"], report["customers"]) == (2, 2, 1, 1)
    assert report["new_customers"] == 0


def test_a_null_in_the_row_that_makes_a_customer_known_leaves_no_trace(audience, load, unique):
    load([{"customer_id": unique, "attributes": {"age": None, "city": "Porto"}}])
    assert audience.get(f"/v1/customers/{unique}").json()["attributes"] == {"city": "Porto"}


@pytest.mark.parametrize(
    ("row", "pointer"),
    [
        ({"attributes": {}}, "/customer_id"),
        ({"customer_id": ""}, "/customer_id"),
        ({"customer_id": "x" * 201}, "/customer_id"),
        ({"customer_id": 7}, "/customer_id"),
        ({"customer_id": "ada@example.com"}, "/customer_id"),
        ({"customer_id": "c", "surprise": 1}, "/surprise"),
        ({"customer_id": "c", "attributes": {"shoe_size": 43}}, "/attributes/shoe_size"),
        ({"customer_id": "c", "attributes": {"age": "34"}}, "/attributes/age"),
        ({"customer_id": "c", "attributes": {"age": True}}, "/attributes/age"),
        ({"customer_id": "c", "attributes": {"age": 121}}, "/attributes/age"),
        ({"customer_id": "c", "attributes": {"age": 10**400}}, "/attributes/age"),
        ({"customer_id": "c", "attributes": {"age": -1e200}}, "/attributes/age"),
        ({"customer_id": "c", "attributes": {"city": 5}}, "/attributes/city"),
        ({"customer_id": "c", "attributes": {"city": ""}}, "/attributes/city"),
        ({"customer_id": "c", "attributes": {"city": "x" * 4001}}, "/attributes/city"),
        ({"customer_id": "c", "attributes": {"city": "write to ada@example.com"}}, "/attributes/city"),
        ({"customer_id": "c", "attributes": {"city": "+33 6 12 34 56 78"}}, "/attributes/city"),
        ({"customer_id": "c", "attributes": {"tier": "platinum"}}, "/attributes/tier"),
        ({"customer_id": "c", "attributes": {"newsletter": "yes"}}, "/attributes/newsletter"),
        ({"customer_id": "c", "attributes": {"born": "29.02.2024"}}, "/attributes/born"),
        ({"customer_id": "c", "attributes": {"born": "2023-02-29"}}, "/attributes/born"),
        ({"customer_id": "c", "attributes": {"born": "9999-01-01"}}, "/attributes/born"),
        ({"customer_id": "c", "attributes": {"first_seen": "2024-01-01T10:00:00"}}, "/attributes/first_seen"),
        ({"customer_id": "c", "attributes": {"first_seen": "9999-12-31T23:59:59Z"}}, "/attributes/first_seen"),
        ({"customer_id": "c", "attributes": [1]}, "/attributes"),
        ({"customer_id": "c", "identities": {"email": "not an address"}}, "/identities/email"),
        ({"customer_id": "c", "identities": {"phone": "0612345678"}}, "/identities/phone"),
        ({"customer_id": "c", "identities": {"fax": "1"}}, "/identities/fax"),
        ({"customer_id": "c", "consents": [{"channel": "email"}]}, "/consents/0/state"),
        ({"customer_id": "c", "profiling": "perhaps"}, "/profiling"),
        ([1, 2], ""),
        (None, ""),
        ('{"customer_id": "c", "attributes": {"age": NaN}}', ""),
        ('{"customer_id": "c", "attributes": {"age": 1e999}}', ""),
        ('{"customer_id": "a\\u0000b"}', "/customer_id"),
        ('{"customer_id": "a\\ud800b"}', "/customer_id"),
        ('{"customer_id": "c"', ""),
        ("'; drop table audience.customer; --", ""),
    ],
)
def test_a_bad_row_is_refused_at_its_field_and_costs_the_others_nothing(audience, load, unique, row, pointer):
    report = load([{"customer_id": f"{unique}-1"}, row, {"customer_id": f"{unique}-2"}])
    assert (report["rows"], report["accepted"], report["rejected"]) == (3, 2, 1)
    rejects = audience.get(f"/v1/imports/{report['id']}/rejects").json()["items"]
    assert (2, pointer) in {(reject["row"], reject["pointer"]) for reject in rejects}
    assert audience.get(f"/v1/customers/{unique}-2").status_code == 200


def test_sql_in_every_text_is_only_text(audience, load, unique):
    evil = "'); drop table audience.customer; --"
    report = load([{"customer_id": unique + evil, "attributes": {"city": evil}}])
    assert report["accepted"] == 1
    found = audience.get("/v1/customers/" + unique + evil.replace("/", "%2F")).json()
    assert found["attributes"]["city"] == evil


def test_a_row_names_all_its_faults(audience, load, unique):
    report = load([{"customer_id": unique, "attributes": {"age": -1, "tier": "x", "shoe_size": 1}}])
    assert report["rejected"] == 1
    rejects = audience.get(f"/v1/imports/{report['id']}/rejects").json()["items"]
    assert {reject["pointer"] for reject in rejects} == {"/attributes/age", "/attributes/tier", "/attributes/shoe_size"}
    assert sum(reasons(report).values()) == 3


def test_no_address_personal_value_or_undeclared_value_is_stored(load, unique, everything_stored):
    """Wherever they turn up: in their place, in a wrong one, in a row that is refused, in a header that is missing."""
    mails = [f"{name}.{unique}@example.com" for name in ("ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal")]
    phones = ["+33 6 12 34 56 78", "0033 (6) 98.76.54.32", "+351912345678"]
    load(
        [
            {"customer_id": f"{unique}-1", "identities": {"email": mails[0], "phone": phones[0]}},
            {"customer_id": f"{unique}-2", "identities": {"email": mails[1], "phone": "nonsense 0612349999"}},
            {"customer_id": mails[2], "attributes": {"age": 1}},
            {"customer_id": f"{unique}-3", "attributes": {"city": mails[3], "surname": f"Quatermain {unique}"}},
            {"customer_id": f"{unique}-4", "attributes": {"hobby": f"collects {unique}-stamps", "age": 4e9}},
            {"customer_id": f"{unique}-5", "attributes": {"age": 33612345678, "tier": phones[1]}},
            {"customer_id": f"{unique}-6", mails[4]: 1, "attributes": {mails[5]: 1}},
            {
                "customer_id": f"{unique}-7",
                "consents": [
                    {
                        "channel": "email",
                        "purpose": "marketing",
                        "state": "granted",
                        "source": "s",
                        "evidence": {"by": [mails[6]]},
                    }
                ],
            },
            {"customer_id": f"{unique}-8", "contact_points": [{"channel": "push", "handle": mails[7]}]},
            {"customer_id": f"{unique}-9", "attributes": {"age": "old", "surname": f"Allan {unique}"}},
        ]
    )
    stored = everything_stored()
    assert f"{unique}-1" in stored
    hidden = [*mails, *phones, "612345678", "698765432", "912345678", "0612349999", f"{unique}-stamps"]
    hidden += [f"Quatermain {unique}", f"Allan {unique}"]
    assert [one for one in hidden if one in stored or one.upper() in stored.upper()] == []


def test_a_file_without_its_header_leaks_nothing(audience, catalogue, unique, everything_stored):
    mail = f"ada.{unique}@example.com"
    answer = audience.post(
        "/v1/customers", content=f"c1,{mail},34\nc2,bob.{mail},35\n", headers={"Content-Type": "text/csv"}
    )
    assert answer.status_code == 422
    assert mail not in answer.text
    assert mail not in everything_stored()


@pytest.mark.parametrize(
    "line", ['{{"{0}": "\\ud800"}}', '{{"attributes": {{"{0}": NaN}}}}', '{{"{0}": {{"{0}": [1]}}}}', "{0}"]
)
def test_an_address_in_the_name_of_a_broken_field_is_hidden(audience, load, unique, everything_stored, line):
    mail = f"ada.{unique}@example.com"
    report = load([line.format(mail)])
    assert report["rejected"] == 1
    told = json.dumps(report) + audience.get(f"/v1/imports/{report['id']}/rejects").text
    assert mail not in told + everything_stored()


def test_chunks_are_bounded_by_rows_and_by_bytes():
    short = [len(chunk) for chunk in in_chunks((number, Line(b"{}")) for number in range(12_000))]
    assert short == [5000, 5000, 2000]
    long = [len(chunk) for chunk in in_chunks((number, Line(b"x" * 1_000_000)) for number in range(12))]
    assert long == [5, 5, 2]


def test_an_address_reaches_its_channels(audience, load, unique):
    load(
        [{"customer_id": unique, "identities": {"email": f" Ada.{unique}@EXAMPLE.com ", "phone": "+33 6 12 34 56 78"}}]
    )
    load([{"customer_id": f"{unique}-2", "identities": {"email": f"ada.{unique}@example.com"}}])
    first, second = (audience.get(f"/v1/customers/{one}").json()["contact_points"] for one in (unique, f"{unique}-2"))
    assert {point["channel"] for point in first} == {"email", "sms", "phone"}
    hashes = {point["channel"]: point["address_hash"] for point in first}
    assert hashes["email"] == second[0]["address_hash"] != hashes["sms"]
    assert len(hashes["email"]) == 64


def points(audience, customer):
    found = audience.get(f"/v1/customers/{customer}").json()["contact_points"]
    return {one["channel"]: (one["handle"], one["address_hash"] is not None, one["status"]) for one in found}


CLOSED = [{"channel": "email", "handle": "crm:7", "status": "closed"}]


@pytest.mark.parametrize("order", ["one row", "point first", "address first", "two loads"])
def test_an_address_adds_to_a_contact_point_and_opens_no_closed_one(audience, load, unique, order):
    point = {"customer_id": unique, "contact_points": CLOSED}
    address = {"customer_id": unique, "identities": {"email": f"{unique}@example.com"}}
    loads = {
        "one row": [[point | address]],
        "point first": [[point, address]],
        "address first": [[address, point]],
        "two loads": [[point], [address]],
    }
    for rows in loads[order]:
        load(rows)
    assert points(audience, unique) == {"email": ("crm:7", True, "closed")}


def test_another_address_in_the_same_load_does_not_take_over_the_status_of_the_one_before(audience, load, unique):
    rows = [{"customer_id": unique, "contact_points": [{"channel": "email", "handle": "crm:7", "status": "bounced"}]}]
    rows += [{"customer_id": unique, "contact_points": [{"channel": "email", "handle": "crm:8"}]}]
    load(rows)
    assert points(audience, unique) == {"email": ("crm:8", False, "active")}


CSV = """customer_id,age,city,newsletter,email,consent.email.marketing
{0}-1,34,Lyon,true,ada.{0}@example.com,granted
{0}-2,,"Porto, Norte",0,,
{0}-3,old,Lyon,,,
{0}-4,40,Lyon,true,,granted,surplus
{0}-1,35,,,,
"""


def test_a_csv_file_gives_the_same_as_rows_of_json(audience, catalogue, unique):
    answer = audience.post("/v1/imports?kind=customers&format=csv", content=CSV.format(unique))
    assert answer.status_code == 201
    report = answer.json()
    assert (report["rows"], report["accepted"], report["rejected"], report["duplicates"]) == (5, 3, 2, 1)
    assert report == audience.get(f"/v1/imports/{report['id']}").json()
    first = audience.get(f"/v1/customers/{unique}-1").json()
    assert first["attributes"] == {"age": 35, "city": "Lyon", "newsletter": True}
    assert audience.get(f"/v1/customers/{unique}-2").json()["attributes"] == {
        "city": "Porto, Norte",
        "newsletter": False,
    }
    consents = audience.get(f"/v1/customers/{unique}-1/consents").json()["items"]
    assert [(one["channel"], one["purpose"], one["state"]) for one in consents] == [("email", "marketing", "granted")]
    rejects = audience.get(f"/v1/imports/{report['id']}/rejects").json()["items"]
    assert [reject["row"] for reject in rejects] == [3, 4]
    assert rejects[0]["content"] == {"customer_id": f"{unique}-3", "attributes": {"age": "old", "city": "Lyon"}}


def test_a_refused_row_tells_all_that_is_wrong_and_names_the_columns_of_a_file(audience, catalogue, unique):
    header = "customer_id,profiling,age,city,shoe_size,email,consent.email.marketing,consent.emial.marketing"
    body = f"{header}\n{unique},perhaps,old,Lyon,44,nonsense,yes,granted\n"
    report = audience.post("/v1/imports?kind=customers&format=csv", content=body).json()
    rejects = audience.get(f"/v1/imports/{report['id']}/rejects").json()["items"]
    assert {(one["row"], one["pointer"]) for one in rejects} == {
        (1, "/profiling"),
        (1, "/attributes/age"),
        (1, "/attributes/shoe_size"),
        (1, "/identities/email"),
        (1, "/consent.email.marketing"),
        (1, "/consent.emial.marketing"),
    }


def test_rows_of_a_csv_file_that_are_not_utf8_are_refused_and_never_made_alike(audience, catalogue, unique):
    body = f"customer_id,city\n{unique}-Müller,Lyon\n{unique}-Möller,Lyon\n{unique}-Weber,Nîmes\n{unique}-Kern,Lyon\n"
    answer = audience.post("/v1/imports?kind=customers&format=csv", content=body.encode("latin-1"))
    report = answer.json()
    assert (report["rows"], report["accepted"], report["rejected"], report["customers"]) == (4, 1, 3, 1)
    rejects = audience.get(f"/v1/imports/{report['id']}/rejects").json()["items"]
    assert [(one["row"], one["pointer"]) for one in rejects] == [(1, "/customer_id"), (2, "/customer_id"), (3, "/city")]
    assert "UTF-8" in rejects[0]["detail"]
    whole = audience.post("/v1/imports?kind=customers&format=csv", content=body.encode()).json()
    assert (whole["accepted"], whole["customers"]) == (4, 4)


def test_a_list_of_json_and_gzip_are_read_too(audience, catalogue, unique):
    rows = [{"customer_id": f"{unique}-{i}", "attributes": {"age": i}} for i in range(3)]
    assert audience.post("/v1/customers", json=rows).json()["accepted"] == 3
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    report = audience.post("/v1/customers", content=gzip.compress(json.dumps(rows).encode()), headers=headers).json()
    assert (report["accepted"], report["new_customers"]) == (3, 0)


def test_a_large_load_is_counted_across_its_chunks(audience, load, unique):
    rows = [{"customer_id": f"{unique}-{i % 9000}", "attributes": {"age": i % 100}} for i in range(12_000)]
    report = load([*rows, {"customer_id": unique, "attributes": {"age": "old"}}])
    counted = {
        name: report[name] for name in ("rows", "accepted", "rejected", "duplicates", "customers", "new_customers")
    }
    assert counted == {
        "rows": 12_001, "accepted": 12_000, "rejected": 1, "duplicates": 3000, "customers": 9000, "new_customers": 9000,
    }  # fmt: skip
    assert audience.get(f"/v1/customers/{unique}-2999").json()["attributes"]["age"] == 11_999 % 100


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {"Content-Type": "application/json"}, 400),
        (b"{}", {"Content-Type": "application/json"}, 422),
        (b"[1", {"Content-Type": "application/json"}, 400),
        (b'[{"customer_id": "\xff"}]', {"Content-Type": "application/json"}, 400),
        (b"[" + b" " * 1024 * 1024 + b"]", {"Content-Type": "application/json"}, 413),
        (b"<xml/>", {"Content-Type": "application/xml"}, 415),
        (b"a,b\n1,2\n", {"Content-Type": "text/csv"}, 422),
        (b"customer_id,customer_id\n1,2\n", {"Content-Type": "text/csv"}, 400),
        ("customer_id,größe\n1,2\n".encode("latin-1"), {"Content-Type": "text/csv"}, 400),
        (b"not gzip", {"Content-Type": "text/csv", "Content-Encoding": "gzip"}, 400),
        (b'{"customer_id": "' + b"x" * 1_100_000 + b'"}', {"Content-Type": "application/x-ndjson"}, 413),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_whole(audience, catalogue, content, headers, status):
    answer = audience.post("/v1/customers", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_load_that_breaks_off_keeps_what_it_committed_and_says_so(audience, catalogue, unique):
    lines = "".join(f'{{"customer_id": "{unique}-{i}"}}\n' for i in range(5001)) + "x" * 1_100_000
    answer = audience.post("/v1/customers", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 413
    newest = audience.get("/v1/imports?limit=1").json()["items"][0]
    assert (newest["state"], newest["rows"], newest["new_customers"]) == ("failed", 5000, 5000)
    assert "longer than" in newest["problem"]
    assert audience.get(f"/v1/customers/{unique}-4999").status_code == 200


def test_rows_that_are_all_wrong_in_their_own_way_are_counted_within_bounds(load):
    report = load({"customer_id": "c", "attributes": {f"nothing_{i}": 1}} for i in range(6000))
    assert report["reasons"][0] == {"pointer": "", "detail": "other reasons (the rejects name them)", "rows": 1000}
    assert len(report["reasons"]) == 100


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("/v1/customers", b"[]", "application/json"),
        ("/v1/customers", b"\n \n", "application/x-ndjson"),
        ("/v1/customers", b"customer_id\n", "text/csv"),
        ("/v1/traits", b"[]", "application/json"),
        ("/v1/traits", b"", "application/x-ndjson"),
    ],
)
def test_a_body_without_a_row_is_refused_and_loads_nobody(audience, catalogue, path, content, kind):
    answer = audience.post(path, content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["detail"]) == (422, "The body holds no row.")
    newest = audience.get("/v1/imports?limit=1").json()["items"]
    assert path == "/v1/traits" or (newest[0]["state"], newest[0]["rows"]) == ("failed", 0)


def test_a_row_that_names_a_field_twice_is_refused_and_costs_the_others_nothing(audience, load, unique):
    report = load([f'{{"customer_id": "{unique}", "customer_id": "{unique}-2"}}', {"customer_id": f"{unique}-3"}])
    assert (report["accepted"], report["rejected"]) == (1, 1)
    assert report["reasons"][0]["detail"] == "The row names a field twice (customer_id)."
    body = '{"reason": "asked", "customer_id": "a", "customer_id": "b"}'
    answer = audience.post("/v1/suppressions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_reasons_are_told_in_words_of_this_service(audience, catalogue, unique):
    body = f"customer_id,age\n{unique},1e999\n"
    report = audience.post("/v1/imports?kind=customers&format=csv", content=body).json()
    assert [one["detail"] for one in report["reasons"]] == ["must not be a number beyond 1e20"]
    report = audience.post("/v1/customers", json=[{"customer_id": f"{unique} "}]).json()
    assert report["reasons"][0]["detail"].startswith("must not begin or end")
    definition = {"type": "number", "allowed": {"minimum": 2, "maximum": 1}}
    answer = audience.put(f"/v1/attributes/a{unique}", json=definition)
    assert answer.json()["errors"][0]["detail"].startswith("`minimum` must not be above")
    answer = audience.post("/v1/segments", content=b"", headers={"Content-Type": "application/json"})
    assert answer.json()["errors"] == [{"pointer": "", "detail": "the call needs a body"}]


def test_invalid_utf_8_costs_its_row_only(audience, catalogue, unique):
    content = b'{"customer_id": "%s-\xff"}\n{"customer_id": "%s"}' % (unique.encode(), unique.encode())
    report = audience.post("/v1/customers", content=content, headers={"Content-Type": "application/x-ndjson"}).json()
    assert (report["accepted"], report["rejected"]) == (1, 1)


def test_an_unknown_import_is_not_found(audience):
    unknown = "01958f3e-8f6a-7cc1-b1a4-6a2f6f3c9f10"
    assert audience.get(f"/v1/imports/{unknown}").status_code == 404
    assert audience.get(f"/v1/imports/{unknown}/rejects").status_code == 404
