"""How far the clocks of those who tell us something may run ahead of ours."""

from datetime import timedelta

TOLERANCE = timedelta(minutes=5)
"""Beyond it, an instant that must not lie in the future does."""

REFUSAL_AHEAD = timedelta(hours=24)
"""A refusal may be stamped by a clock that runs this far ahead: it errs on the customer's side."""
