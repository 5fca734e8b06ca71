"""The life of an experiment: drafted, started, paused, stopped, archived."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from services.experiments import judging, lifecycle
from services.experiments.queries import experiments as queries
from services.experiments.queries import metrics, outcomes
from shared.clients.audience import AudienceClient
from shared.contracts.experiments import Experiment, NewExperiment, Population, State
from shared.contracts.metrics import Metric
from shared.db import Db, new_id
from shared.errors import Conflict, FieldError, Invalid, NotFound


class ExperimentExists(Conflict):
    """The key is taken."""

    code = "experiment-exists"


class CannotBeJudged(Conflict):
    """No decision could rest on what the draft measures."""

    code = "cannot-be-judged"


def checked(audience: AudienceClient, new: NewExperiment) -> NewExperiment:
    """The design with its list and campaign looked up at audience. Raises `Invalid` where they do not exist."""
    campaign = new.campaign
    try:
        if new.target_list_id is not None:
            campaign = audience.target_list(new.target_list_id).campaign or campaign
    except NotFound as error:
        raise Invalid(error.detail, [FieldError("/target_list_id", "there is no such target list")]) from error
    if new.campaign is not None and campaign != new.campaign:
        raise Invalid("List and campaign do not fit.", [FieldError("/campaign", f"the list's campaign is {campaign}")])
    try:
        if campaign is not None:
            audience.campaign(campaign)
    except NotFound as error:
        raise Invalid(error.detail, [FieldError("/campaign", "there is no such campaign")]) from error
    return new.model_copy(update={"campaign": campaign})


def create(db: Db, new: NewExperiment) -> Experiment:
    """Draft an experiment. Repeating it with the same content changes nothing. Raises `ExperimentExists`, `Invalid`."""
    known = metrics.named(db, new.metrics.names())
    design = lifecycle.normalised(_by_keys(new, known))
    before = queries.definition(db, new.key)
    if before is None:
        if wrong := judging.faults(new.arms, new.metrics, known):
            raise Invalid("The experiment could not be judged by these metrics.", wrong)
        if not queries.insert(db, new_id(), design, new.seed or secrets.token_hex(8), datetime.now(UTC)):
            before = queries.definition(db, new.key)
    if before is not None and before.model_dump() != design.model_dump():
        raise ExperimentExists(f"The experiment {new.key} exists with another design.")
    return queries.experiment(db, new.key)


def _by_keys(new: NewExperiment, known: Mapping[str, Metric]) -> NewExperiment:
    """The design with its metrics by their keys, those that exist. Raises `Invalid` where one is named twice."""
    if len({metric.key for metric in known.values()}) < len(known):
        raise Invalid("A metric may be named only once.", [FieldError("/metrics", "a key and an id name one metric")])
    names = {name: known[name].key if name in known else name for name in new.metrics.names()}
    return new.model_copy(update={"metrics": new.metrics.renamed(names)})


def start(db: Db, reference: str) -> Experiment:
    """Freeze the design and run; nobody is assigned yet. Starting what runs changes nothing.

    Raises `WrongState`, and `CannotBeJudged` where a metric was changed since, or the draft is older than a rule.
    """
    found = queries.experiment(db, reference, lock=True)
    lifecycle.move(found.state, State.RUNNING)
    now = datetime.now(UTC)
    if found.state is State.DRAFT:
        known = metrics.named(db, found.metrics.names())
        if wrong := judging.hindrances(found.arms, found.metrics, known, found.alpha):
            raise CannotBeJudged(f"{found.key} cannot start. {'; '.join(wrong)}.")
        queries.measure(db, found.id, found.measured)
        digest = lifecycle.design_digest(found.arms, found.seed, found.split, found.measured, found.alpha, found.method)
        queries.start(db, found.id, digest, now)
    elif found.state is not State.RUNNING:
        queries.set_state(db, found.id, State.RUNNING, now)
    return queries.experiment(db, reference)


def move(db: Db, reference: str, state: State) -> Experiment:
    """Pause, stop or archive. Repeating it changes nothing. Raises `WrongState`, `StillCounting`."""
    found = queries.experiment(db, reference, lock=True)
    lifecycle.move(found.state, state)
    if found.state is not state:
        if state is State.ARCHIVED:
            lifecycle.may_archive(found.key, outcomes.counting_of(db, found.id))
        queries.set_state(db, found.id, state, datetime.now(UTC))
    return queries.experiment(db, reference)


def frozen_population(experiment: Experiment) -> bool:
    """Whether all its customers are known before anything is sent."""
    return experiment.population in (Population.LIST, Population.EXTERNAL) or experiment.target_list_id is not None


experiment = queries.experiment
listed = queries.listed
