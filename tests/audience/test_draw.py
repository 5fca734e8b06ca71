"""Chance that a seed decides: reproducible, exact in number, even across strata."""

import hashlib

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from services.audience.draw import bound, held_out, lot

ids = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=20)


def test_a_lot_is_sha_256_over_seed_and_customer():
    assert lot("seed", "ada") == hashlib.sha256(b"seed\x1fada").digest()


@settings(deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_larger_share_only_adds(one, other):
    assert (bound(one) <= bound(other)) == (int(one * 2**53) <= int(other * 2**53))


def test_a_share_of_all_lots_lies_below_its_bound():
    below = sum(lot("seed", str(i)) < bound(0.3) for i in range(20_000))
    assert abs(below - 6000) < 4.5 * (20_000 * 0.3 * 0.7) ** 0.5


@settings(deadline=None)
@given(st.lists(ids, min_size=1, max_size=30, unique=True), ids)
def test_the_database_and_python_draw_the_same_lots(audience_engine, customers, seed):
    statement = sa.text(
        "select audience.lot(:seed, i) from unnest(cast(:ids as text[])) with ordinality as u (i, n) order by n"
    )
    with audience_engine.connect() as connection:
        found = connection.execute(statement, {"seed": seed, "ids": customers}).scalars().all()
    assert found == [lot(seed, customer) for customer in customers]


@settings(deadline=None)
@given(
    st.dictionaries(ids, st.sampled_from(["north", "south", "west"]), max_size=200),
    st.floats(0, 0.99),
    ids,
)
def test_exactly_the_share_is_held_out_and_every_stratum_gives_its_part(strata, share, seed):
    drawn = held_out(strata, share, seed)
    assert len(drawn) == int(len(strata) * share + 0.5)
    for stratum in set(strata.values()):
        members = {customer for customer, own in strata.items() if own == stratum}
        assert abs(len(drawn & members) - share * len(members)) < 1


def test_within_a_stratum_every_customer_is_held_out_equally_often_over_seeds():
    strata = {f"c{i}": "a" if i < 4 else "b" for i in range(10)}  # 0.25 of 10 is 3: one of the four, two of the six
    times = dict.fromkeys(strata, 0)
    for seed in range(2000):
        for customer in held_out(strata, 0.25, str(seed)):
            times[customer] += 1
    for customer, count in times.items():
        chance = 1 / 4 if strata[customer] == "a" else 2 / 6
        assert abs(count - 2000 * chance) < 4.5 * (2000 * chance * (1 - chance)) ** 0.5


def test_one_seed_draws_the_same_customers_whatever_their_order():
    strata = {f"c{i}": "all" for i in range(100)}
    shuffled = dict(sorted(strata.items(), key=lambda item: item[0][::-1]))
    assert held_out(strata, 0.2, "seed") == held_out(shuffled, 0.2, "seed")
