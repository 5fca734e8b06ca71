"""The attribute catalogue: declare, change, and fill gaps."""

from collections.abc import Iterator
from datetime import UTC, datetime

from services.audience import catalogue as rules
from services.audience.queries import attributes as queries
from services.audience.queries import loading
from shared.contracts.audience import AttributeDefinition, AttributeDetail, NewAttribute, Scalar
from shared.db import Begin, Db, be_patient
from shared.errors import Conflict, FieldError, Invalid
from shared.jobs import Progress, enqueue
from shared.telemetry import log

SUPPLEMENT_JOB = "supplement"


class TypeInUse(Conflict):
    """Values of the old type exist; they would no longer be what the catalogue says."""

    code = "attribute-type-in-use"


def declare(begin: Begin, name: str, definition: NewAttribute) -> AttributeDetail:
    """Declare an attribute, or replace how it is described.

    When the way of filling gaps changes, a job fills those of all customers. How many have a value is counted after the
    change is committed, because every load waits for the catalogue.

    Raises
    ------
    Invalid
        When allowed values or the supplement do not fit the type, or a new name means something else.
    TypeInUse
        When the type would change while customers have values.
    """
    if wrong := rules.problems(definition):
        raise Invalid("The definition contradicts itself.", wrong)
    with begin() as db:
        someone = _declare(db, name, rules.with_kept_constant(definition))
    with begin() as db:
        if someone is not None:
            raise _in_use(db, name, someone)
        return queries.detail(db, name)


def _in_use(db: Db, name: str, someone: str) -> TypeInUse:
    told, filled = queries.usage(db, name)
    return TypeInUse(
        f"Its type stays while customers have values: {told} were told one, {filled} have one that is filled in, "
        f"{someone} for example. Told ones are deleted by null; what is filled in is taken away by a job once the "
        "attribute has no `supplement`."
    )


def _declare(db: Db, name: str, definition: NewAttribute) -> str | None:
    """Declares it, unless somebody has a value of another type: who, for one, is given back then."""
    before = queries.lock(db, name)
    if before is None and name.lower() in rules.COLUMNS:
        wrong = FieldError("#path/name", "is what a column of a file is called that holds no attribute")
        raise Invalid(f"An attribute cannot be called {name}.", [wrong])
    if before is not None and before.type != definition.type:
        someone = queries.someone_with(db, name)
        if someone is not None:
            return someone
    queries.upsert(db, name, definition, datetime.now(UTC))
    if (before.supplement if before else None) != definition.supplement:
        enqueue(db, SUPPLEMENT_JOB, {})
    return None


def refresh_fill_values(begin: Begin) -> None:
    """Compute anew what every attribute's gaps are filled with.

    All is computed before the first of them is written, so that loads wait for the catalogue no longer than a commit.
    What cannot be computed stays as it is, and costs the other attributes nothing.
    """
    with begin() as db:
        be_patient(db)
        computed = list(_computed(db))
        for name, method, value in computed:
            queries.set_fill_value(db, name, method, value)


def _computed(db: Db) -> Iterator[tuple[str, str, Scalar | None]]:
    for name, one in queries.catalogue(db).items():
        if one.supplement is None or one.supplement.method == "constant":
            continue
        try:
            yield name, one.supplement.method, queries.statistic(db, name, one.supplement.method)
        except queries.NoStatistic as error:
            log.warning("statistic not computed", attribute=name, reason=str(error))


def fill_values(catalogue: dict[str, AttributeDefinition]) -> dict[str, Scalar]:
    """What gaps are filled with at present, by attribute."""
    return {name: one.fill_value for name, one in catalogue.items() if one.fill_value is not None and one.supplement}


def awaiting_values(catalogue: dict[str, AttributeDefinition]) -> set[str]:
    """Attributes whose gaps wait for a first known value."""
    return {name for name, one in catalogue.items() if one.supplement is not None and one.fill_value is None}


def fill_gaps(begin: Begin, progress: Progress | None = None) -> int:
    """Compute fill values anew and fill everybody's gaps with them; gives how many customers changed.

    Customers are filled in chunks, each a transaction of its own, with what the catalogue says at that moment. Whoever
    loads or changes customers waits for one chunk at most.
    """
    refresh_fill_values(begin)
    customers = _customers(begin) if progress else 0
    changed, done, after = 0, 0, ""
    while True:
        if progress:
            progress(done / max(1, customers))
        with begin() as db:
            filled = loading.fill_next(db, fill_values(queries.catalogue(db, held=True)), after)
        if filled is None:
            return changed
        changed, done, after = changed + filled.changed, done + filled.customers, filled.last


def _customers(begin: Begin) -> int:
    with begin() as db:
        return loading.customers(db)
