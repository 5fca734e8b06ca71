"""What a caller can act on. The domain raises these and knows nothing of HTTP."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class FieldError(NamedTuple):
    """What is wrong with one field. `pointer` is a JSON pointer into the body (RFC 6901)."""

    pointer: str
    detail: str


class DomainError(Exception):
    """An error the caller can act on. `code` names its kind and never changes."""

    code: ClassVar[str] = "error"

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


class NotFound(DomainError):
    """What was named does not exist."""

    code = "not-found"


class Conflict(DomainError):
    """The present state of things does not allow it."""

    code = "conflict"


class Invalid(DomainError):
    """The content breaks a rule; `errors` point at the fields."""

    code = "invalid"


class Unreadable(DomainError):
    """The bytes could not be read as what they were said to be."""

    code = "unreadable"


class Unauthorised(DomainError):
    """No valid key came with the call; `challenge` says how one is presented."""

    code = "unauthorised"
    challenge: ClassVar[str] = "Bearer"


class Forbidden(DomainError):
    """The key does not have the scope."""

    code = "forbidden"


class TooLarge(DomainError):
    """The body passes its limit."""

    code = "too-large"


class UnsupportedMediaType(DomainError):
    """The body's media type is not one this call reads."""

    code = "unsupported-media-type"


class Busy(DomainError):
    """More is waiting than can be served; the caller may try again after `retry_after` seconds."""

    code = "busy"

    def __init__(self, detail: str, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class PeerUnavailable(DomainError):
    """Another service, or Postgres, did not answer."""

    code = "unavailable"

    def __init__(self, detail: str, retry_after: int = 2) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
