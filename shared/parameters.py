"""Query parameters: those a call does not know are refused, as unknown fields of bodies are."""

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.params import Query


def known_to(dependant: Dependant) -> frozenset[str]:
    """Names of the query parameters that an endpoint and what it depends on read."""
    return frozenset(field.alias for field in get_flat_params(dependant) if isinstance(field.field_info, Query))


def refuse_unknown(request: Request, known: frozenset[str]) -> None:
    """Raises `RequestValidationError` at each unknown name: a misspelt filter would answer another question."""
    if not request.scope["query_string"]:
        return
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        told = f"is no parameter of this call; it knows {', '.join(sorted(known)) or 'none'}"
        raise RequestValidationError(
            [{"type": "extra_forbidden", "loc": ("query", name[:100]), "msg": told, "input": None} for name in unknown]
        )
