"""Feedback: take in what people do and say; say what to change.

Owns events, arrivals, withdrawals, rejects, kinds of event, model runs with their scores, and refinements. Publishes
`feedback_events`, `feedback_batches`, `feedback_withdrawals` and `feedback_scores`. Reads what experiments publishes
about assignments and outcomes, and what audience publishes about who objects to profiling. Calls audience and
experiments; taking events in calls nobody.
"""

READS = ("audience_portraits", "experiments_assignments", "experiments_outcomes")
