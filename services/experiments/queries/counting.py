"""The one statement that counts a customer's outcomes from raw events, as text that other statements embed.

It is the only definition of an outcome: the worker's tick, the audit and the looks all embed it, each with its own
`{who}` (a relation joined to `a`, the assignments), `{until}` and `{span}`. What is put in are constants of these
modules; values from outside are bound.

No event can make it impossible: what a property says beyond `LARGEST` counts as that much, and so does what all of a
customer's events come to; what is too near to zero for a double's cube counts as nothing. Both doors refuse such
numbers; earlier releases took them.
"""

from shared.magnitudes import LARGEST

NEAREST_TO_ZERO = 1e-100
SUM = "coalesce(sum(y.sign * y.amount) filter (where y.ours), 0) * coalesce(m.margin, 1)"
COUNT = """
    select a.customer_id, a.experiment_id, m.id as metric_id, a.arm, a.t0, a.stratum{span},
           cast(case when m.kind = 'proportion' then 1
                     when abs({sum}) < {nearest} then 0
                     else {total}
                end as {number}) as value,
           cast(count(*) filter (where not y.ours) as integer) as other_currency
      from experiments.assignment as a
      {who}
      join experiments.measured as s on s.experiment_id = a.experiment_id
      join experiments.metric as m on m.id = s.metric_id
      join experiments.metric_event as k on k.metric_id = m.id
      join published.feedback_events as e
        on e.customer_id = a.customer_id
       and e.kind = k.kind
       and e.occurred_at >= a.t0
       and e.occurred_at < a.t0 + make_interval(hours => 24 * m.window_days)
       and ({until})
       and (k.condition is null or coalesce(e.properties, '{{}}') @@ k.condition)
     cross join lateral (
            select k.sign, m.currency is null or e.currency is not distinct from m.currency as ours,
                   case when m.value_property is not null then
                             case when jsonb_typeof(e.properties -> m.value_property) = 'number'
                                  then {amount} end
                        when m.kind in ('proportion', 'count') then 1
                        else e.value
                   end as amount
           ) as y
     where {where}
     group by a.customer_id, a.experiment_id, m.id, a.arm, a.t0, a.stratum{span}
    having m.kind <> 'proportion' or count(*) filter (where y.ours) > 0
"""


def bounded(number: str) -> str:
    """The expression `number`, which is never null, but never beyond `LARGEST` in either direction.

    >>> bounded("o.value")
    'least(greatest(o.value, -1e+20), 1e+20)'
    """
    return f"least(greatest({number}, -{LARGEST}), {LARGEST})"


def count(*, who: str = "", until: str = "true", where: str = "true", span: str | None = None) -> str:
    """The statement for some customers, up to some instant.

    With `span`, an expression about an event `e`, each span of time is counted by itself; exactly, to be added up, and
    the sum to be `bounded`.
    """
    by_span = "" if span is None else f", {span}"
    number = "float8" if span is None else "numeric"
    return COUNT.format(
        who=who,
        until=until,
        where=where,
        span=by_span,
        number=number,
        sum=SUM,
        total=bounded(SUM) if span is None else SUM,
        amount=bounded("cast(e.properties ->> m.value_property as numeric)"),
        nearest=NEAREST_TO_ZERO,
    )
