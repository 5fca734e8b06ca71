"""Messages of the experiments service: the design and the life of an experiment.

Beside this module: `metrics` (what is counted), `assignments` (who has which arm), `results` (what the difference is)
and `policies` (whom to contact next time).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from shared.contracts.base import (
    Flag,
    Instant,
    JsonValue,
    Key,
    Message,
    Money,
    Name,
    NewKey,
    Number,
    Whole,
    WithoutAddress,
    WithoutNul,
    refuse_at,
)

LEAST_ALPHA = 1e-4
"""The smallest error that is promised: beyond it no approximation by a normal distribution can be trusted."""


class State(StrEnum):
    """draft → running ⇄ paused → stopped → archived."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    ARCHIVED = "archived"


class Split(StrEnum):
    """`hash`: weights are met on average, the arm needs no list. `exact`: arm sizes are exact within each stratum."""

    HASH = "hash"
    EXACT = "exact"


class Method(StrEnum):
    GROUP_SEQUENTIAL = "group_sequential"
    CONFIDENCE_SEQUENCE = "confidence_sequence"
    FIXED = "fixed"


class Population(StrEnum):
    """Where the customers come from: a frozen target list, rows split elsewhere, or one at a time, online."""

    LIST = "list"
    EXTERNAL = "external"
    ONLINE = "online"


class Arm(Message):
    """One treatment. `contact` defaults to "unless it is the control"; `payload` is what the sending tool needs."""

    key: Key
    weight: Number = Field(gt=0, le=1)
    payload: JsonValue = None
    control: Flag = False
    contact: Flag | None = None
    cost_per_contact: Money | None = None

    @field_validator("cost_per_contact")
    @classmethod
    def _not_negative(cls, cost: Money | None) -> Money | None:
        if cost is not None and cost < 0:
            raise ValueError("must not be negative")
        return cost

    @property
    def contacted(self) -> bool:
        return not self.control if self.contact is None else self.contact


class Guardrail(Message):
    """A metric that must not suffer. With a `margin` (relative, 0.02 = 2 %) "not worse than that" must be shown;
    without one only a shown loss counts against the arm."""

    metric: Key
    margin: Number | None = Field(default=None, ge=0, lt=1)


def _guardrail(value: object) -> object:
    return {"metric": value} if isinstance(value, str) else value


class MetricRole(StrEnum):
    PRIMARY = "primary"
    SECONDARY = "secondary"
    GUARDRAIL = "guardrail"


class FrozenMetric(Message):
    """A metric as an experiment measures it: the version is fixed at start (before: the newest)."""

    key: Key
    version: int
    role: MetricRole
    margin: float | None = None


class ExperimentMetrics(Message):
    """The keys of what is measured; a new design may name ids. A guardrail is a key, or a key with its margin."""

    primary: Key
    secondary: list[Key] = Field(default_factory=list, max_length=20)
    guardrails: list[Annotated[Guardrail, BeforeValidator(_guardrail)]] = Field(default_factory=list, max_length=20)

    @model_validator(mode="after")
    def _each_once(self) -> "ExperimentMetrics":
        if len(set(self.names())) < len(self.names()):
            raise ValueError("a metric may be named only once")
        return self

    def names(self) -> list[str]:
        return [self.primary, *self.secondary, *(guardrail.metric for guardrail in self.guardrails)]

    def renamed(self, names: Mapping[str, str]) -> "ExperimentMetrics":
        """The same under other names."""
        return ExperimentMetrics(
            primary=names[self.primary],
            secondary=[names[each] for each in self.secondary],
            guardrails=[Guardrail(metric=names[each.metric], margin=each.margin) for each in self.guardrails],
        )

    def measured(self, versions: Mapping[str, int]) -> list[FrozenMetric]:
        """What is measured, in order, at these versions by key."""
        roles: list[tuple[str, MetricRole, float | None]] = [(self.primary, MetricRole.PRIMARY, None)]
        roles += [(key, MetricRole.SECONDARY, None) for key in self.secondary]
        roles += [(each.metric, MetricRole.GUARDRAIL, each.margin) for each in self.guardrails]
        return [FrozenMetric(key=key, version=versions[key], role=role, margin=margin) for key, role, margin in roles]


class Design(Message):
    """What an experiment is to be, as it was told and is stored."""

    key: Key
    name: Annotated[str, StringConstraints(max_length=200), WithoutNul] | None = None
    hypothesis: Annotated[str, StringConstraints(min_length=1, max_length=4000), WithoutNul]
    campaign: Key | None = None
    target_list_id: UUID | None = None
    split: Split = Split.HASH
    arms: list[Arm] = Field(min_length=2, max_length=20)
    metrics: ExperimentMetrics
    alpha: Number = Field(default=0.05, gt=0, le=0.5)
    method: Method | None = None
    planned_size: Whole | None = Field(default=None, ge=2, le=10_000_000_000)
    seed: Name | None = None

    @field_validator("arms")
    @classmethod
    def _arms_fit(cls, arms: list[Arm]) -> list[Arm]:
        if len({arm.key for arm in arms}) < len(arms):
            raise ValueError("two arms have the same key")
        if sum(arm.control for arm in arms) != 1:
            raise ValueError("exactly one arm must have `control: true`")
        if not 0.99 <= sum(arm.weight for arm in arms) <= 1.01:
            raise ValueError("the weights must sum to 1")
        return arms

    @model_validator(mode="after")
    def _method_fits(self) -> Self:
        if self.split is Split.EXACT and self.target_list_id is None:
            refuse_at(("target_list_id",), "an exact split needs a `target_list_id`")
        if self.chosen_method() is Method.CONFIDENCE_SEQUENCE and self.planned_size is None:
            error = PydanticCustomError("missing", "a confidence sequence needs a `planned_size`")
            place = InitErrorDetails(type=error, loc=("planned_size",), input=None)
            raise ValidationError.from_exception_data("experiment", [place])
        return self

    def chosen_method(self) -> Method:
        listed = self.target_list_id is not None
        return self.method or (Method.GROUP_SEQUENTIAL if listed else Method.CONFIDENCE_SEQUENCE)


class NewExperiment(Design):
    """An experiment to be drafted.

    Exactly one arm is the control; weights sum to one. With a `target_list_id` the population is that frozen list.
    Without one it is what an external load brings, or who comes by online. `method` defaults to `group_sequential`
    for a list, else to `confidence_sequence`, which needs a `planned_size` (customers, all arms together). `seed`
    decides the split and is drawn at random where it is not given. Give one only to repeat a draw: two experiments of
    one seed give their arms to the same customers.
    """

    key: NewKey
    name: Annotated[str, StringConstraints(max_length=200), WithoutNul, WithoutAddress] | None = None
    hypothesis: Annotated[str, StringConstraints(min_length=1, max_length=4000), WithoutNul, WithoutAddress]
    alpha: Number = Field(default=0.05, ge=LEAST_ALPHA, le=0.5)
    seed: Annotated[Name, WithoutAddress] | None = None


class Experiment(Message):
    """An experiment as stored. `seed` decides the split; `design_digest` covers all that is frozen at start."""

    id: UUID
    key: Key
    name: str | None
    hypothesis: str
    state: State
    campaign: str | None
    target_list_id: UUID | None
    population: Population | None
    split: Split
    arms: list[Arm]
    metrics: ExperimentMetrics
    measured: list[FrozenMetric]
    alpha: float
    method: Method
    planned_size: int | None
    seed: str
    design_digest: str | None
    created_at: Instant
    started_at: Instant | None
    stopped_at: Instant | None

    @property
    def control(self) -> Arm:
        return next(arm for arm in self.arms if arm.control)

    def arm(self, key: str) -> Arm:
        return next(arm for arm in self.arms if arm.key == key)
