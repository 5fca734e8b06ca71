"""Audience: who is there, who may be contacted, who is meant.

Owns customers, the attribute catalogue, permission, suppressions, segments, campaigns and target lists, and the global
control group. Publishes `audience_portraits`, `audience_personal_attributes` and `audience_list_members`. Reads what
feedback publishes. Calls nobody.
"""

READS = ("feedback_events", "feedback_batches", "feedback_withdrawals", "feedback_scores", "feedback_kinds")
