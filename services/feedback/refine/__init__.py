"""Refining a segment, honestly: who of it to contact no longer, searched on one half, confirmed on the other.

Pure: no SQL, no HTTP. The caller reduces millions of customers to cells with one GROUP BY, in this order:

1. Profile the frozen features of the experiment's assignments (features only, no outcomes): one `FeatureProfile` each.
2. `codings(profiles, customers)` chooses what is searched and how it is cut: one `Coding` per feature kept.
3. One query groups the assignments by half, arm, probability and one small integer per coding:

   * half: `get_byte(sha256(convert_to(:salt || ':' || customer_id, 'UTF8')), 0) < 128` is the grow half, where the salt
     is the experiment's key (`HALF_SQL`; `is_grow` is the same in Python);
   * a number: `case when jsonb_typeof(features -> :name) = 'number' then
     width_bucket((features ->> :name)::float8, :cuts) else -1 end`;
   * a category or boolean: `case when features ->> :name is null then -1 else
     coalesce(array_position(:values, features ->> :name), 0) end`.

   So -1 is missing, 0 of a category is "any other value". Selected, in this order: the codes, the arm's position in
   `Spec.arms`, the probability of the arm received, count(*), customers who responded, sum(y), sum(y * y). For a
   customer without an outcome y is what no response gives (0; where a profit metric has already taken the contact
   off, `Spec.net` is true and the arms cost nothing more). `cells_of(rows, len(codings))` makes `Cells` of these rows.
4. `refine(grow, confirm, spec) -> Proposal`.

    refine(grow: Cells, confirm: Cells, spec: Spec) -> Proposal
    codings(profiles: Sequence[FeatureProfile], customers: int, *, most: int = 12) -> tuple[Coding, ...]
    cells_of(rows: Sequence[Sequence[float]], traits: int) -> Cells
    is_grow(customer_id: str, salt: str) -> bool
    allowance(alpha: float, attempt: int) -> float

`Proposal.definition` is a definition in the segment language, or None where the verdict is to propose nothing, which is
the usual one; `Proposal.summary` says it in words.
"""

from services.feedback.refine.cells import HALF_SQL, Cells, Coding, FeatureProfile, cells_of, codings, is_grow
from services.feedback.refine.confirm import allowance
from services.feedback.refine.propose import refine
from services.feedback.refine.spec import Arm, Gain, Group, Proposal, Spec, Verdict

__all__ = [
    "HALF_SQL",
    "Arm",
    "Cells",
    "Coding",
    "FeatureProfile",
    "Gain",
    "Group",
    "Proposal",
    "Spec",
    "Verdict",
    "allowance",
    "cells_of",
    "codings",
    "is_grow",
    "refine",
]
