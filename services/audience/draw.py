"""What is left to chance, decided by a seed: the global control, ties, and who is held out. Pure.

The database draws whole sets with the same rules (`audience.lot`); these functions say what it must find.
"""

import hashlib
import math
from collections.abc import Mapping


def lot(seed: str, customer_id: str) -> bytes:
    """What a seed draws for a customer: 32 bytes, SHA-256 over seed, U+001F, customer id.

    >>> lot("seed", "ada") == lot("seed", "ada") != lot("seed", "bob")
    True
    """
    return hashlib.sha256(f"{seed}\x1f{customer_id}".encode()).digest()


def bound(share: float) -> bytes:
    """Lots below it are a `share` (0 to 1, 1 excluded) of all; a larger share only adds to a smaller one's.

    >>> bound(0.5).hex()[:4], bound(0.0) == bytes(32)
    ('8000', True)
    """
    return (int(share * 2**53) << 203).to_bytes(32, "big")


def held_out(strata: Mapping[str, str], share: float, seed: str) -> set[str]:
    """Draw `share` (0 to 1) of the customers in `strata` (customer id → stratum): exactly round-half-up(n · share).

    Customers stand in the order of their stratum (by code point) and, within it, of their lots; each at whose place
    the running total share · place passes a half is drawn. So each stratum gives its share to within one customer.

    >>> len(held_out({str(i): "all" for i in range(10)}, 0.25, "seed"))
    3
    """
    order = sorted(strata, key=lambda customer: (strata[customer].encode(), lot(seed, customer), customer.encode()))
    return {
        customer
        for place, customer in enumerate(order, 1)
        if math.floor(place * share + 0.5) > math.floor((place - 1) * share + 0.5)
    }
