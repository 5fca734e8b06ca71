"""API keys as operators make and list them."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from shared.auth import create_key, list_keys, revoke_key
from shared.db import transaction
from shared.errors import Invalid
from tests.conftest import SECRET


def test_a_key_that_was_made_without_a_name_is_still_shown(owner_engine: sa.Engine) -> None:
    with transaction(owner_engine) as db:
        identifier, _ = create_key(db, SECRET, "nameless", ["audience:read"])
        db.execute(sa.text("update access.api_key set name = '' where id = cast(:id as uuid)"), {"id": identifier})
        assert [one.name for one in list_keys(db) if one.id == identifier] == [""]
        revoke_key(db, identifier)


@pytest.mark.parametrize(
    ("name", "ends_in", "pointer"),
    [
        ("", timedelta(days=1), "/name"),
        (" ", timedelta(days=1), "/name"),
        ("x" * 201, timedelta(days=1), "/name"),
        ("crm", timedelta(seconds=-1), "/expires_at"),
    ],
)
def test_no_key_is_made_that_nobody_could_tell_or_use(
    owner_engine: sa.Engine, name: str, ends_in: timedelta, pointer: str
) -> None:
    with transaction(owner_engine) as db, pytest.raises(Invalid) as refused:
        create_key(db, SECRET, name, ["audience:read"], datetime.now(UTC) + ends_in)
    assert [error.pointer for error in refused.value.errors] == [pointer]
