"""Audience as its peers see it."""

from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import Depends, Request

from shared.clients.peer import Peer
from shared.contracts.audience import AttributeDefinition, TraitsPull, TraitsPulled
from shared.contracts.permissions import SendCheckAnswer, SendCheckRequest
from shared.contracts.segments import Preview, PreviewRequest, Revision, Segment
from shared.contracts.targeting import Campaign, TargetList
from shared.pages import Page


class AudienceClient(Peer):
    """Calls to audience. Each raises the domain error that its refusal stands for, or `PeerUnavailable`."""

    def target_list(self, list_id: UUID) -> TargetList:
        return self._call("GET", f"/v1/target-lists/{list_id}", TargetList)

    def campaign(self, reference: str) -> Campaign:
        """By key or id."""
        return self._call("GET", f"/v1/campaigns/{quote(reference, safe='')}", Campaign)

    def segment(self, reference: str) -> Segment:
        """By key or id, with the definition that is in force."""
        return self._call("GET", f"/v1/segments/{quote(reference, safe='')}", Segment)

    def preview_segment(self, request: PreviewRequest) -> Preview:
        """Whom a definition would mean; nothing is stored."""
        return self._call("POST", "/v1/segments:preview", Preview, request)

    def revise_segment(self, reference: str, revision: Revision) -> Segment:
        """Make a new version; with `based_on`, `Conflict` when another came in between."""
        return self._call("PUT", f"/v1/segments/{quote(reference, safe='')}", Segment, revision)

    def attributes(self) -> list[AttributeDefinition]:
        """The whole catalogue, by name."""
        found: list[AttributeDefinition] = []
        cursor: str | None = ""
        while cursor is not None:
            asked = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
            page = self._call("GET", "/v1/attributes", Page[AttributeDefinition], params=asked)
            found, cursor = [*found, *page.items], page.next_cursor
        return found

    def send_checks(self, request: SendCheckRequest) -> SendCheckAnswer:
        """Who of up to 1,000 customers may be sent to now."""
        return self._call("POST", "/v1/send-checks", SendCheckAnswer, request)

    def pull_traits(self, request: TraitsPull) -> TraitsPulled:
        """Have audience take over what a model run published."""
        return self._call("POST", "/v1/traits:pull", TraitsPulled, request)


def _audience(request: Request) -> AudienceClient:
    client: AudienceClient = request.app.state.peers["audience"]
    return client


AudienceDep = Annotated[AudienceClient, Depends(_audience)]
