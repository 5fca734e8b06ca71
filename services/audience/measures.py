"""What this service counts for Prometheus."""

from prometheus_client import Counter

LISTS_BUILT = Counter("attune_lists_built_total", "Target lists that were frozen")
LIST_MEMBERS = Counter("attune_list_members_total", "Members of frozen target lists, those held out included")
