"""Frozen messages that travel between services and to callers. Unknown fields are refused."""
