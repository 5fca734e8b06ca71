"""The simulated shop: what it says to be true is what its customers do."""

import numpy as np
import pytest

from services.demo import shop
from services.demo.shop import Integers, Shop

CUSTOMERS = 40_000


@pytest.fixture(scope="module")
def some_shop() -> Shop:
    return shop.build("test", CUSTOMERS, seed=7)


def outcomes(some_shop: Shop, rows: Integers, arm: str, seed: int) -> dict[str, np.ndarray]:
    """What each customer did within the window when all of them get `arm`."""
    arms = np.full(len(rows), shop.ARMS.index(arm))
    found = shop.respond(some_shop, rows, arms, seed)
    inside = found.seconds < shop.WINDOW_DAYS * 86_400
    orders, views = inside & (found.kind == "order"), inside & (found.kind == "view")
    revenue = np.bincount(found.row[orders], weights=found.value[orders], minlength=len(some_shop))[rows]
    return {
        "visits": np.bincount(found.row[views], minlength=len(some_shop))[rows].astype(bool).astype(float),
        "buyers": (revenue > 0).astype(float),
        "revenue": revenue,
        "profit": shop.MARGIN * revenue - shop.COST_PER_CONTACT[arm],
    }


@pytest.mark.parametrize("arm", ["postcard", "catalogue"])
@pytest.mark.parametrize("figure", ["visits", "buyers", "revenue", "profit"])
def test_the_truth_is_what_customers_do_on_average(some_shop: Shop, arm: str, figure: str) -> None:
    rows = np.arange(CUSTOMERS)
    treated = outcomes(some_shop, rows, arm, seed=1)[figure]
    control = outcomes(some_shop, rows, "control", seed=2)[figure]
    error = np.sqrt((treated.var() + control.var()) / CUSTOMERS)
    truth = getattr(shop.truth(some_shop, rows, arm), figure)
    assert abs(treated.mean() - control.mean() - truth) < 4 * error
    assert truth != 0


def test_contact_makes_some_buy_leaves_some_cold_and_drives_some_away(some_shop: Shop) -> None:
    effect = {
        temperament: shop.truth(some_shop, np.flatnonzero(some_shop.temperament == number), "catalogue").buyers
        for number, temperament in enumerate(shop.TEMPERAMENTS)
    }
    assert effect["persuadable"] > 0.1
    assert abs(effect["sure thing"]) < 0.01
    assert abs(effect["lost cause"]) < 0.01
    assert effect["annoyed"] < -0.02


def test_persuadable_customers_can_be_told_by_what_the_shop_knows(some_shop: Shop) -> None:
    outdoor = (some_shop.interest == shop.INTERESTS.index("outdoor")) & (some_shop.age < 55)
    persuadable = some_shop.temperament == shop.TEMPERAMENTS.index("persuadable")
    assert persuadable[outdoor].mean() > 0.7
    assert persuadable[~outdoor].mean() < 0.05


def test_the_control_never_complains_of_being_contacted(some_shop: Shop) -> None:
    rows = np.arange(CUSTOMERS)
    left_alone = shop.respond(some_shop, rows, np.zeros(CUSTOMERS, dtype=np.int64), seed=3)
    written_to = shop.respond(some_shop, rows, np.ones(CUSTOMERS, dtype=np.int64), seed=3)
    assert not (left_alone.kind == "unsubscribed").any()
    share = (written_to.kind == "unsubscribed").mean() * len(written_to.kind) / CUSTOMERS
    assert share == pytest.approx(shop.COMPLAINS[some_shop.temperament[rows]].mean(), rel=0.2)


def test_some_orders_come_after_the_window_which_no_metric_may_count(some_shop: Shop) -> None:
    found = shop.respond(some_shop, np.arange(CUSTOMERS), np.zeros(CUSTOMERS, dtype=np.int64), seed=4)
    assert (found.seconds[found.kind == "order"] > shop.WINDOW_DAYS * 86_400).sum() > 500
    assert found.seconds.min() >= 0


def test_history_lies_in_the_year_before(some_shop: Shop) -> None:
    past = shop.history(some_shop, seed=5)
    assert past.seconds.max() < 0
    assert past.seconds.min() >= -365 * 86_400
    assert np.all(past.value > 0)


def test_the_same_seed_gives_the_same_shop_and_another_seed_another() -> None:
    first, again, other = (shop.build("test", 1000, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.temperament, again.temperament)
    assert np.array_equal(first.age, again.age)
    assert not np.array_equal(first.temperament, other.temperament)


def test_customers_are_found_by_their_ids_and_strangers_refused(some_shop: Shop) -> None:
    rows = np.array([5, 39_999, 0])
    assert np.array_equal(some_shop.rows_of(some_shop.customer_id[rows]), rows)
    for stranger in ("test-9999999", "aaa", "zzz"):
        with pytest.raises(ValueError, match="not of this shop"):
            some_shop.rows_of(np.array([stranger]))
