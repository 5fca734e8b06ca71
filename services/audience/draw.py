"""What is left to chance, decided by a seed: the global control, ties, and who is held out. Pure.

The database draws whole sets with the same rules (`audience.unit`); these functions say what it must find.
"""

import hashlib
import math
from collections.abc import Mapping


def unit(seed: str, customer_id: str) -> float:
    """A number in [0, 1): the first 52 bits of SHA-256 over seed, U+001F, customer id.

    >>> unit("seed", "ada") == unit("seed", "ada") != unit("seed", "bob")
    True
    """
    return int(hashlib.sha256(f"{seed}\x1f{customer_id}".encode()).hexdigest()[:13], 16) / 2**52


def held_out(strata: Mapping[str, str], share: float, seed: str) -> set[str]:
    """Draw `share` (0 to 1) of the customers in `strata` (customer id → stratum): exactly round-half-up(n · share).

    Customers stand in the order of their stratum (by code point) and, within it, of chance; every one at whose place
    the running total share · place passes a half is drawn. So each stratum gives its share to within one customer.

    >>> len(held_out({str(i): "all" for i in range(10)}, 0.25, "seed"))
    3
    """
    order = sorted(strata, key=lambda customer: (strata[customer].encode(), unit(seed, customer), customer.encode()))
    return {
        customer
        for place, customer in enumerate(order, 1)
        if math.floor(place * share + 0.5) > math.floor((place - 1) * share + 0.5)
    }
