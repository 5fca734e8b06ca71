"""How far the clocks of those who tell us something may run ahead of ours."""

from datetime import timedelta

TOLERANCE = timedelta(minutes=5)
"""Beyond it, an instant that must not lie in the future does."""
