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
