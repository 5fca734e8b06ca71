"""How values are bound to statements."""

from sqlalchemy import TextClause, bindparam
from sqlalchemy.dialects.postgresql import JSONB


def with_json(statement: TextClause, *names: str) -> TextClause:
    """`statement`, with the parameters `names` sent as JSON; None is SQL's null."""
    return statement.bindparams(*(bindparam(name, type_=JSONB(none_as_null=True)) for name in names))
