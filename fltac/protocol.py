"""What the round loop asks of the place where a federation runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fltac.model.training import Score
from fltac.orders import Job, Ledger, Order
from fltac.server.state import Post, Step


class Runtime(Protocol):
    """Local or Ray: the same calls, the same bytes, the same records.

    Updates and the payloads of a post are opaque here: encoded bytes, or references to them. Nothing decodes them
    but clients and the aggregator.
    """

    workers: int  # that train and judge side by side

    def start(self, files: Mapping[str, bytes]) -> Post:
        """The server's first post: v0, or what the files of a snapshot hold."""

    def train(self, round: int, orders: Sequence[Order], post: Post) -> tuple[Mapping[int, Any], Ledger]:
        """The updates of each ordered client whose work was not lost, in order, and the ledger of all."""

    def aggregate(self, updates: Mapping[int, Any], late: Mapping[int, str]) -> tuple[Post, Step]:
        """The server's step on a round's updates, by who sent them; of some it is told why they are late."""

    def evaluate(self, jobs: Sequence[Job], post: Post) -> list[Score]:
        """A score a job, in order."""

    def snapshot(self, whole: bool) -> dict[str, bytes]:
        """The server's state as files; or its clusters alone, from which nothing can be gone on."""
