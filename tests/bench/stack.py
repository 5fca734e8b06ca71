"""A Postgres and services of one's own for a measurement: one process a service, as in production."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.stack.target import Target
from services.stack.temporary import temporary_stack


@contextmanager
def stack() -> Iterator[Target]:
    """A temporary stack; it ends with the block."""
    with temporary_stack() as target:
        yield target
