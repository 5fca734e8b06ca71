"""Uplift per customer: how much contact changes what each customer does, checked where it was not learnt.

Pure: arrays in, named tuples out. The experiments service calls one function and publishes its parts:

    evaluate(people: UpliftData) -> UpliftReadout
    columns_of(rows: Sequence[Mapping[str, JsonValue]]) -> dict[str, list[JsonValue]]

    UpliftData(customers, arms, arm_keys, control, outcome, probability, features, strata=None, cost={}, value=1.0,
               responded=None)

`customers` is an array of n ids, `arms` of n positions in `arm_keys`, `outcome` one number per customer (0 where
nothing was counted), `probability` the stored probability of the arm that the customer got, `features` the features
frozen with the assignment by column name (numbers, text, booleans, None where missing), `strata` the stratum of each
customer. `cost` is what one contact of an arm costs (by key, in money), `value` the money that one unit of outcome is
worth, negative where less is better. Where the outcome is profit, it is net of contacts already: leave both alone, and
say in `responded` who did anything, since a contact alone makes a net profit other than 0.

For each treatment arm, `ArmUplift` holds what `/uplift` shows (`effect`; `models` with Qini, AUUC and RATE; `winner`;
`importances`; `reason` where there is too little to learn from) and what `/policy` shows (`profit` by share contacted,
`best_share`, `policies`, `gain_over_all`, `accepted`, `verdict`). `scores` is the predicted effect of every customer,
in the order given. `DEFINITION` says in words how the rankings are measured. What could not be estimated is nan.
"""

from services.experiments.uplift.data import (
    DEFINITION,
    ArmUplift,
    Estimate,
    Importance,
    ModelRanking,
    Policy,
    ProfitPoint,
    UpliftData,
    UpliftReadout,
)
from services.experiments.uplift.evaluate import evaluate
from services.experiments.uplift.features import columns_of

__all__ = [
    "DEFINITION",
    "ArmUplift",
    "Estimate",
    "Importance",
    "ModelRanking",
    "Policy",
    "ProfitPoint",
    "UpliftData",
    "UpliftReadout",
    "columns_of",
    "evaluate",
]
