"""The life of an experiment: drafted, started, paused, stopped, archived."""

import secrets
from datetime import UTC, datetime

from services.experiments import lifecycle
from services.experiments.queries import experiments as queries
from services.experiments.queries import metrics, outcomes
from shared.clients.audience import AudienceClient
from shared.contracts.experiments import Experiment, NewExperiment, Population, State
from shared.db import Db, new_id
from shared.errors import Conflict, FieldError, Invalid, NotFound


class ExperimentExists(Conflict):
    """The key is taken."""

    code = "experiment-exists"


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
    new = lifecycle.normalised(new)
    _check_metrics(db, new)
    stored = queries.insert(db, new_id(), new, new.seed or secrets.token_hex(8), datetime.now(UTC))
    if not stored and queries.definition(db, new.key).model_dump() != new.model_dump():
        raise ExperimentExists(f"The experiment {new.key} exists with another design.")
    return queries.experiment(db, new.key)


def _check_metrics(db: Db, new: NewExperiment) -> None:
    known = metrics.newest(db, new.metrics.names())
    places = [(new.metrics.primary, "/metrics/primary")]
    places += [(key, f"/metrics/secondary/{index}") for index, key in enumerate(new.metrics.secondary)]
    places += [(each.metric, f"/metrics/guardrails/{index}") for index, each in enumerate(new.metrics.guardrails)]
    unknown = [FieldError(place, f"there is no metric {key}") for key, place in places if key not in known]
    if unknown:
        raise Invalid("Some metrics do not exist.", unknown)


def start(db: Db, reference: str) -> Experiment:
    """Freeze the design and run; nobody is assigned yet. Starting what runs changes nothing. Raises `WrongState`."""
    found = queries.experiment(db, reference, lock=True)
    lifecycle.move(found.state, State.RUNNING)
    now = datetime.now(UTC)
    if found.state is State.DRAFT:
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
