"""Data files in, NDJSON out."""

import gzip
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.demo import shop
from services.demo.arrivals import customer_rows, response_rows, waves
from services.demo.files import STRETCH, csv_rows, ndjson
from services.demo.online_retail import Read, event
from services.stack.trouble import Trouble

NOISE = "\n".join(f"{number},{number**7 % 997}" for number in range(9999)).encode()
T0 = datetime(2026, 1, 5, 8, tzinfo=UTC)


def test_gzipped_and_plain_files_read_alike(tmp_path: Path) -> None:
    text = 'name,words\nAnna,"one, two\nthree"\nÉmile,\n'
    (tmp_path / "plain.csv").write_text(text, encoding="utf-8")
    (tmp_path / "zipped.csv.gz").write_bytes(gzip.compress(text.encode()))
    plain, zipped = (list(csv_rows(tmp_path / name, ["name"])) for name in ("plain.csv", "zipped.csv.gz"))
    assert plain == zipped == [{"name": "Anna", "words": "one, two\nthree"}, {"name": "Émile", "words": ""}]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00a,b", gzip.compress(b"a,b\n" + NOISE)[:5000]])
def test_what_is_no_csv_in_utf8_is_refused_in_a_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(Trouble, match="cannot be read as CSV in UTF-8"):
        list(csv_rows(tmp_path / "file", ["a"]))


def test_ndjson_has_one_line_for_each_row_in_order() -> None:
    rows = [{"number": number, "text": "a\nb"} for number in range(STRETCH + 3)]
    stretches = list(ndjson(rows))
    assert len(stretches) == 2
    assert [json.loads(line) for line in b"".join(stretches).splitlines()] == rows


def test_an_invoice_line_keeps_its_exact_amount_its_id_and_its_customer() -> None:
    line = {
        "InvoiceNo": "C536379", "StockCode": "D", "Description": "Discount", "Quantity": "-3", "UnitPrice": "27.015",
        "InvoiceDate": "2010-12-01 09:41:00", "CustomerID": "14527.0", "Country": "United Kingdom",
    }  # fmt: skip
    made = event(142, line)
    assert made["event_id"] == "C536379:142"
    assert made["kind"] == "cancellation"
    assert made["customer_id"] == "14527"
    assert made["value"] == "81.045"
    assert made["occurred_at"] == "2010-12-01T09:41:00Z"
    sale = event(1, line | {"InvoiceNo": "536379", "Quantity": "3", "CustomerID": ""})
    assert (sale["kind"], sale["value"], sale["customer_id"]) == ("order_line", "81.045", None)


def test_identical_lines_are_counted_and_none_is_dropped() -> None:
    read = Read()
    lines = [{"a": "1"}, {"a": "2"}, {"a": "1"}, {"a": "1"}]
    assert list(read.through(iter(lines))) == lines
    assert (read.lines, read.identical_lines) == (4, 2)


def test_responses_arrive_late_twice_and_out_of_order_and_all_of_them_arrive() -> None:
    some_shop = shop.build("test", 3000, seed=1)
    responses = shop.respond(some_shop, *_everybody_gets(some_shop, "catalogue"), seed=2)
    rows = response_rows(some_shop, responses, "autumn", T0)
    arriving = waves(rows, seed=3)
    soon, late, again = arriving.values()
    identity = [(row["customer_id"], row["event_id"]) for row in soon + late]
    assert Counter(identity) == Counter((row["customer_id"], row["event_id"]) for row in rows)
    assert all(row in soon for row in again)
    assert len(again) > 100
    times = [row["occurred_at"] for row in soon]
    assert times != sorted(times, key=str)
    assert min(map(str, times)) < max(str(row["occurred_at"]) for row in late)


def _everybody_gets(some_shop: shop.Shop, arm: str) -> tuple[shop.Integers, shop.Integers]:
    import numpy as np

    return np.arange(len(some_shop)), np.full(len(some_shop), shop.ARMS.index(arm))


def test_the_customer_file_has_every_customer_and_dirt_beside() -> None:
    some_shop = shop.build("test", 6000, seed=1)
    rows = list(customer_rows(some_shop, T0))
    ids = Counter(str(row.get("customer_id")) for row in rows)
    assert set(some_shop.customer_id) <= set(ids)
    assert sum(ids[customer] > 1 for customer in some_shop.customer_id) == 50
    assert sum("dirt" in customer for customer in ids) == 54
    assert ids["None"] == 6
