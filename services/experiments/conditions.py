"""Comparisons with an event's properties, as SQL/JSON path expressions: data that is bound, never SQL text."""

import json
from collections.abc import Mapping

from shared.contracts.comparisons import COMPLEMENTS, Comparison, Operator, Value

_SIGNS = {
    Operator.EQ: "==",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.STARTS_WITH: "starts with",
}


def path(where: Mapping[str, Comparison]) -> str | None:
    """A path expression that is true of properties which satisfy every comparison; None where there is none.

    Strict mode: a missing property, null, a list or a value of another type makes a positive comparison unknown, which
    `@@` takes as not true. Complements (`ne`, `not_in`, `missing`) are true then, as in the segment language.

    >>> from shared.contracts.comparisons import Comparison
    >>> path({"category": Comparison.model_validate({"is": "in", "value": ["jackets", "shoes"]})})
    'strict (($."category" == "jackets" || $."category" == "shoes"))'
    """
    if not where:
        return None
    return f"strict ({' && '.join(_predicate(name, comparison) for name, comparison in where.items())})"


def _predicate(name: str, comparison: Comparison) -> str:
    member = f"$.{json.dumps(name)}"
    operator: Operator = comparison.is_
    if operator in COMPLEMENTS:
        positive = _positive(member, COMPLEMENTS[operator], comparison.value)
        return f"(!({positive}) || (({positive}) is unknown))"
    return f"({_positive(member, operator, comparison.value)})"


def _positive(member: str, operator: Operator, value: Value | None) -> str:
    if operator is Operator.EXISTS:
        return f"{member} != null"
    if operator is Operator.IN and isinstance(value, list):
        return " || ".join(f"{member} == {json.dumps(item)}" for item in value)
    if operator is Operator.BETWEEN and isinstance(value, list):
        low, high = value
        return f"{member} >= {json.dumps(low)} && {member} <= {json.dumps(high)}"
    if operator is Operator.CONTAINS:
        return f'{member} like_regex {json.dumps(value)} flag "q"'
    if operator in _SIGNS:
        return f"{member} {_SIGNS[operator]} {json.dumps(value)}"
    raise ValueError(f"an event's property cannot be compared by `{operator}`")
