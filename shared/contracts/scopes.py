"""What messages are about: their channel and purpose. One list for every door, in whatever case they are written."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator

from shared.contracts.base import Key

ChannelName = Literal["app", "email", "fax", "messenger", "phone", "post", "push", "sms", "web", "whatsapp"]
PurposeName = Literal["marketing", "service"]
CHANNELS: tuple[str, ...] = get_args(ChannelName)
WITHOUT_ADDRESS = ("app", "web")
"""Channels that reach whoever has signed in there: the customer's id is all the address they need."""
PURPOSES: tuple[str, ...] = get_args(PurposeName)


def _folded(given: Any) -> Any:
    return given.strip().lower() if isinstance(given, str) else given


Channel = Annotated[ChannelName, BeforeValidator(_folded)]
ChannelOrEvery = Annotated[Literal["*", ChannelName], BeforeValidator(_folded)]
Purpose = Annotated[PurposeName, BeforeValidator(_folded)]
"""`service` messages (a recall, a delivery notice) bypass contact caps and the global control."""

# For what is stored and read again: a word that is no longer known must be told, not make the record unreadable.
FoldedKey = Annotated[Key, BeforeValidator(_folded)]
