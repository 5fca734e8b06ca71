"""Experiments: give everyone an arm and say what the difference was.

Owns metrics, experiments, assignments, outcomes (recounted from events) and looks. Publishes `experiments_assignments`
and `experiments_outcomes`. Reads portraits and list members from audience, events, their arrival and
declared kinds from feedback. Calls audience.
"""

READS = (
    "audience_portraits",
    "audience_personal_attributes",
    "audience_list_members",
    "feedback_events",
    "feedback_batches",
    "feedback_kinds",
)
