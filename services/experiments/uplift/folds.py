"""Which half a customer is in: a hash of the id alone, so that neither the order of rows nor a re-run changes it."""

import numpy as np
from numpy.typing import NDArray

BLOCKS = 200

_OFFSET = np.uint64(14695981039346656037)
_PRIME = np.uint64(1099511628211)
_MIX = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))


def hashed(customers: NDArray[np.str_]) -> NDArray[np.uint64]:
    """64-bit FNV-1a over code points, then mixed so that every bit depends on every character (as in MurmurHash3)."""
    text = np.ascontiguousarray(customers, dtype=np.str_)
    points = text.view(np.uint32).reshape(len(text), text.itemsize // 4)
    found = np.full(len(customers), _OFFSET)
    with np.errstate(over="ignore"):
        for point in points.T.astype(np.uint64):
            found = np.where(point > 0, (found ^ point) * _PRIME, found)
        for factor in _MIX:
            found = (found ^ (found >> np.uint64(33))) * factor
    return np.asarray(found ^ (found >> np.uint64(33)))


def held_out(found: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """The half that judges what the other half taught."""
    return np.asarray(found >> np.uint64(63) == 1)


def blocks(found: NDArray[np.uint64]) -> NDArray[np.int64]:
    """One of 200 blocks of customers, independent of the half; the bootstrap draws half of them."""
    return np.asarray((found & np.uint64(0xFFFFFFFF)) % np.uint64(BLOCKS)).astype(np.int64)
