"""CSV, as every door reads it."""

import httpx
import pytest

from shared.csv_rows import csv_rows
from shared.errors import Invalid

CSV = {"Content-Type": "text/csv"}


def test_cells_stand_under_their_columns_and_what_is_beyond_them_apart() -> None:
    rows = [row.cells for _, row in csv_rows([b"\xef\xbb\xbfa,b\n1,", b"2\n3,4,5\n"], ("a",))]
    assert rows == [{"a": "1", "b": "2"}, {"a": "3", "b": "4", "": "5"}]


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_a_file_that_is_not_separated_by_commas_is_told_what_it_is_separated_by(mark: str, name: str) -> None:
    with pytest.raises(Invalid, match=rf"no columns `a`, `b`\. Its header is separated by {name};") as caught:
        list(csv_rows([mark.join("ab").encode() + b"\n"], ("a", "b")))
    assert [error.detail for error in caught.value.errors] == ["no column a", "no column b"]


@pytest.mark.parametrize(
    ("body", "ids", "refused"),
    [
        ('1,a\n2,"b\n3,c\n4,d\n', ["1"], ["lines 3 to 5 were not read: a quote opens in the first"]),
        ('1,"a"b\n2,c\n', ["2"], ["line 2 cannot be read"]),
        ('1,"a\n2,b\n3,"c, d"\n4,e\n', ["4"], ["lines 2 to 4 were not read"]),
        # whether a line begins a row or goes on with a text
        ('1,"a\n2,"b\nb",c"\n3\n4,d\n', ["4"], ["lines 2 to 3 were", "line 4 may be part", "line 5 may be part"]),
        # quotes that match, but swallow rows
        ('1,"a\n2,b"\n3,c\n', ["3"], ["lines 2 to 3 stand in one pair of quotes"]),
        ('1,"a\nb\n\nc"\n2,5" wide\n', ["1", "2"], []),
        ('1,"' + "a" * 140_000 + '"\n2,b\n', ["2"], ["line 2 cannot be read: field larger"]),
    ],
)
def test_quotes_that_do_not_match_cost_their_own_rows_and_no_row_goes_missing_in_silence(
    body: str, ids: list[str], refused: list[str]
) -> None:
    rows = [row for _, row in csv_rows([b"customer_id,text\n", body.encode()], ("customer_id",))]
    assert [row.cells["customer_id"] for row in rows if row.fault is None] == ids
    told = [row.fault.detail for row in rows if row.fault is not None]
    assert [detail[: len(start)] for detail, start in zip(told, refused, strict=True)] == refused


def test_every_door_says_which_lines_of_a_file_were_not_read(audience: httpx.Client, feedback: httpx.Client) -> None:
    body = b'customer_id,kind,occurred_at\nlost,"ada@example.com\nx,y,z\n'
    report = audience.post("/v1/customers", content=body, headers=CSV).json()
    assert (report["accepted"], report["rejected"]) == (0, 1)
    assert "lines 2 to 3 were not read" in report["reasons"][0]["detail"]
    answer = feedback.post("/v1/events", content=body, headers=CSV).json()
    assert (answer["accepted"], len(answer["rejected"])) == (0, 1)
    assert "lines 2 to 3 were not read" in answer["rejected"][0]["detail"]
    kept = feedback.get("/v1/rejects", params={"door": "csv", "limit": 1}).json()["items"][0]
    assert "lines 2 to 3" in kept["detail"]
    assert "lost" not in str(kept)
    assert "ada@" not in str(kept)


def test_a_file_without_its_columns_is_refused_as_a_whole(audience: httpx.Client, feedback: httpx.Client) -> None:
    for client, path in ((audience, "/v1/customers"), (feedback, "/v1/events")):
        answer = client.post(path, content=b"customer_id;kind;occurred_at\nc;order;2026-01-01T00:00:00Z\n", headers=CSV)
        assert answer.status_code == 422, answer.text
        assert "`customer_id`" in answer.json()["detail"]
        assert "semicolons" in answer.json()["detail"]
        assert answer.json()["errors"][0]["detail"] == "no column customer_id"
    kept = feedback.get("/v1/rejects", params={"door": "csv", "limit": 1}).json()["items"][0]
    assert kept["code"] == "unreadable"
    assert "semicolons" in kept["detail"]
