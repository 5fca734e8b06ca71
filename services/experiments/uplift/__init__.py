"""Uplift per customer: how much contact changes what each customer does, checked where it was not learnt.

Pure: arrays in, named tuples out. The experiments service calls one function and publishes its parts:

    evaluate(people: UpliftData) -> UpliftReadout
    columns_of(rows: Sequence[Mapping[str, JsonValue]]) -> dict[str, list[JsonValue]]

    UpliftData(customers, arms, arm_keys, control, outcome, probability, features, strata=None, cost={}, value=1.0)

`customers` is an array of n ids, `arms` of n positions in `arm_keys`, `outcome` one number per customer (0 where nothing
was counted), `probability` the stored probability of the arm that the customer got, `features` the features frozen with the
assignment by column name (numbers, text, booleans, None where missing), `strata` the stratum of each customer.
`cost` is what one contact of an arm costs (by key, in money), `value` the money that one unit of outcome is worth;
where the outcome is profit already, leave both alone.

`/uplift` shows `UpliftReadout.arms[*].models` (Qini, AUUC, RATE with intervals), `.winner`, `.importances` and `.effect`;
`/policy` shows `.arms[*].profit` (profit by share contacted) and `.policy` (values, gains over contacting all and none, and
the verdict in words). `.arms[*].scores` is the winner's predicted effect for every customer, in the order given.
What could not be estimated is nan. `ValueError` is raised for arrays of unequal length and probabilities outside (0, 1].
"""

from services.experiments.uplift.data import (
    ArmUplift,
    Estimate,
    Importance,
    ModelRanking,
    Policy,
    PolicyReadout,
    ProfitPoint,
    UpliftData,
    UpliftReadout,
)
from services.experiments.uplift.evaluate import evaluate
from services.experiments.uplift.features import columns_of

__all__ = [
    "ArmUplift",
    "Estimate",
    "Importance",
    "ModelRanking",
    "Policy",
    "PolicyReadout",
    "ProfitPoint",
    "UpliftData",
    "UpliftReadout",
    "columns_of",
    "evaluate",
]
