"""What took long to work out is worked out once, and no more is kept than said."""

from concurrent.futures import ThreadPoolExecutor
from time import sleep

from services.experiments.memory import Memory


def test_who_asks_at_the_same_time_shares_one_answer():
    memory, worked = Memory[str, int](2), list[str]()

    def work() -> int:
        worked.append("once")
        sleep(0.05)
        return 7

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: memory.answer("key", work), range(8))) == {7}
    assert worked == ["once"]


def test_the_answers_asked_for_last_are_kept_and_no_more():
    memory = Memory[str, str](2)
    for key in ("one", "two", "one", "three"):
        memory.answer(key, key.upper)
    assert [memory.get(key) for key in ("one", "two", "three")] == ["ONE", None, "THREE"]


def test_what_failed_is_not_kept():
    memory = Memory[str, float](2)
    for numbers, expected in (([], None), ([4.0], 0.25)):
        try:
            found = memory.answer("key", lambda numbers=numbers: 1 / numbers[0])
        except IndexError:
            found = None
        assert found == expected
