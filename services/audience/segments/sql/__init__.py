"""Definitions as SQL: one statement over all customers, with bound parameters only."""

from services.audience.segments.sql.compiler import members_select
from services.audience.segments.sql.counting import Counted, PreviewSelect, overlap_select, preview_select

__all__ = ["Counted", "PreviewSelect", "members_select", "overlap_select", "preview_select"]
