"""Clients that send events and try again until they are answered, as real clients do."""

import threading
import time
import uuid
from datetime import UTC, datetime

import httpx

from tests.faults.installation import KEY

SENDERS = 4
BATCH = 100


class Load:
    """Senders in threads of their own; `acknowledged` are the ids of the events that were answered for."""

    def __init__(self, url: str, customers: list[str]) -> None:
        self._url = url
        self._customers = customers
        self._run = uuid.uuid4().hex[:8]
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,), daemon=True) for number in range(SENDERS)]
        self.acknowledged: set[tuple[str, str]] = set()
        self.resent = 0
        self.refused: list[str] = []

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, more: int, seconds: float = 60) -> None:
        """Return when so many more events were acknowledged."""
        goal, end = len(self.acknowledged) + more, time.monotonic() + seconds
        while len(self.acknowledged) < goal:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{len(self.acknowledged)} of {goal} events acknowledged; refused: {self.refused[:3]}"
                )
            time.sleep(0.005)

    def _send(self, sender: int) -> None:
        number = 0
        with httpx.Client(headers={"Authorization": f"Bearer {KEY}"}, timeout=20) as client:
            while not self._stop.is_set():
                batch = [self._event(sender, number * BATCH + index) for index in range(BATCH)]
                number += 1
                if not self._until_answered(client, batch):
                    return
                with self._lock:
                    self.acknowledged |= {(event["customer_id"], event["event_id"]) for event in batch}

    def _until_answered(self, client: httpx.Client, batch: list[dict[str, str]]) -> bool:
        """Send the same batch until a 2xx; false where the load ended before."""
        first = True
        while first or not self._stop.is_set():
            self.resent += 0 if first else 1
            first = False
            try:
                answer = client.post(f"{self._url}/v1/events", json=batch)
            except httpx.TransportError:
                time.sleep(0.1)
                continue
            if answer.is_success:
                report = answer.json()
                if report["accepted"] + report["duplicates"] != BATCH:
                    self.refused.append(answer.text[:500])
                return True
            if answer.status_code not in (429, 503):
                self.refused.append(f"{answer.status_code}: {answer.text[:300]}")
            time.sleep(0.1)
        return False

    def _event(self, sender: int, number: int) -> dict[str, str]:
        return {
            "event_id": f"{self._run}-{sender}-{number}",
            "customer_id": self._customers[(sender * 31 + number) % len(self._customers)],
            "kind": "order",
            "occurred_at": datetime.now(UTC).isoformat(),
            "value": "10.00",
            "currency": "EUR",
        }
