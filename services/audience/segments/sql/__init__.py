"""Definitions as SQL: one statement over all customers, with bound parameters only."""

from services.audience.segments.sql.compiler import members_select
from services.audience.segments.sql.counting import Counted, Preview, overlap_select

__all__ = ["Counted", "Preview", "members_select", "overlap_select"]
