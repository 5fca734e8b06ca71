"""Feedback: take in what people do and say; say what to change.

Owns events, arrivals, withdrawals, rejects, kinds of event, model runs with their scores, and refinements. Publishes
`feedback_events`, `feedback_batches`, `feedback_withdrawals` and `feedback_scores`. Reads what experiments publishes
about assignments and outcomes. Calls audience and experiments; taking events in calls nobody.
"""

READS = ("experiments_assignments", "experiments_outcomes")
