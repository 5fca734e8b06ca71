"""SQL of a rule in the segment language over the features that an experiment froze with its assignments."""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from services.feedback.queries.cells import Population
from shared.contracts.base import JsonValue
from shared.db import Db

COUNT = """
    select count(*)
      from published.experiments_assignments as a
     where a.experiment_id = :experiment_id and a.t0 <= cast(:mature_until as timestamptz) and {rule}
"""
# A comparison with what is not there is false, and its opposite true, as in audience's evaluation.
_HOLDS = {
    "exists": "coalesce(jsonb_typeof(a.features -> :{name}) <> 'null', false)",
    "eq": "coalesce(a.features -> :{name} = cast(:{value} as jsonb), false)",
    "in": "coalesce(cast(:{value} as jsonb) @> (a.features -> :{name}), false)",
    "gte": """case when jsonb_typeof(a.features -> :{name}) = 'number'
                   then cast(a.features ->> :{name} as numeric) >= cast(cast(:{value} as jsonb) as numeric)
                   else false end""",
    "lt": """case when jsonb_typeof(a.features -> :{name}) = 'number'
                  then cast(a.features ->> :{name} as numeric) < cast(cast(:{value} as jsonb) as numeric)
                  else false end""",
}
_OPPOSITES = {"missing": "exists", "ne": "eq", "not_in": "in"}


def count(db: Db, population: Population, clauses: Sequence[dict[str, JsonValue]]) -> int:
    """How many customers of the population satisfy all `clauses`, by what was known of them when they were assigned.

    It takes the rule as it will be stored, not the codes it was found in: where both counts agree, the words say what
    was confirmed.
    """
    values: dict[str, Any] = population._asdict()
    rule = _sql({"all": list(clauses)}, values)
    return int(db.execute(sa.text(COUNT.format(rule=rule)), values).scalar_one())


def _sql(clause: dict[str, Any], values: dict[str, Any]) -> str:
    for joined, word in (("all", " and "), ("any", " or ")):
        if joined in clause:
            return "(" + word.join(_sql(part, values) for part in clause[joined]) + ")"
    if "not" in clause:
        return f"not {_sql(clause['not'], values)}"
    name, value = f"name_{len(values)}", f"value_{len(values)}"
    values[name] = clause["attribute"] if "attribute" in clause else clause["trait"]
    operator = clause["is"]
    if "value" in clause:
        values[value] = json.dumps(clause["value"])
    if operator in _OPPOSITES:
        return f"not {_HOLDS[_OPPOSITES[operator]].format(name=name, value=value)}"
    return _HOLDS[operator].format(name=name, value=value)
