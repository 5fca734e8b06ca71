"""The global control group: a share of all customers who never get marketing. Pure."""

from typing import NamedTuple

from shared.hashing import derived_secret

SERVICE_MESSAGES = "service"


class Control(NamedTuple):
    """`share` of all customers, drawn by `seed`: those whose lot lies below `bound(share)`. Growing it only adds."""

    seed: str
    share: float


def control_of(secret: str, share: float, purpose: str) -> Control:
    """The control group of an installation (its secret draws it) as far as it concerns messages of `purpose`.

    Service messages reach everybody.
    """
    return Control(derived_secret(secret, "global control"), 0.0 if purpose == SERVICE_MESSAGES else share)
