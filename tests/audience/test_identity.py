"""Addresses: one form, one keyed hash, and recognised where they do not belong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audience.identity import address_hash, holds_contact_data, normalised_email, normalised_phone


@pytest.mark.parametrize(
    ("written", "normalised"),
    [
        ("ada@example.com", "ada@example.com"),
        ("  Ada.Lovelace@EXAMPLE.Com\n", "ada.lovelace@example.com"),
        ("ａｄａ@example.com", "ada@example.com"),
        ("straße@example.com", "strasse@example.com"),
    ],
)
def test_an_address_has_one_form(written, normalised):
    assert normalised_email(written) == normalised


@pytest.mark.parametrize("written", ["", "ada", "ada@", "@example.com", "a b@example.com", "ada@example", "a@b@c.com"])
def test_what_is_no_address_is_refused(written):
    with pytest.raises(ValueError, match="e-mail"):
        normalised_email(written)


@pytest.mark.parametrize("written", ["+33 6 12 34 56 78", "0033612345678", "+33-(6)-12.34.56.78", "＋33612345678"])
def test_a_number_has_one_form(written):
    assert normalised_phone(written) == "+33612345678"


@pytest.mark.parametrize("written", ["", "0612345678", "+0612345678", "+33", "+336123456789012345", "six", "+33 6 x"])
def test_a_number_without_its_country_is_refused(written):
    with pytest.raises(ValueError, match="telephone"):
        normalised_phone(written)


def test_the_hash_is_keyed_and_knows_its_kind():
    own = address_hash("secret", "email", "ada@example.com")
    assert len(own) == 32
    assert own == address_hash("secret", "email", " ADA@example.com")
    assert own != address_hash("another", "email", "ada@example.com")
    assert own != address_hash("secret", "email", "bob@example.com")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ada@example.com", True),
        ("write to <ada@example.com> soon", True),
        ("+33 6 12 34 56 78", True),
        ("0033612345678", True),
        ("Lyon", False),
        ("meet @ 5", False),
        ("75001", False),
        ("+5 points", False),
        ("2024-02-29", False),
        ("order 1234567890", False),
    ],
)
def test_contact_data_is_recognised_where_it_does_not_belong(text, expected):
    assert holds_contact_data(text) is expected


@given(st.emails(), st.text(max_size=10))
def test_every_address_that_can_be_normalised_is_recognised(address, around):
    try:
        normalised_email(address)
    except ValueError:
        return
    assert holds_contact_data(address)
    assert holds_contact_data(f"{around} {address} {around}")
