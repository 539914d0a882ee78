"""What the dispatcher tells others: the results of a stream, and what it measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ds2cli.recognizer.utterances import Result


@dataclass(frozen=True)
class Delivery:
    """What is new in a stream.

    heard: samples recognized so far.  ended: nothing follows.
    error: why the stream ended early: BadUtterance for its samples, another exception for a fault of the server.
    """

    results: Sequence[Result] = ()
    heard: int = 0
    ended: bool = False
    error: Exception | None = None


class Observer(Protocol):
    """Gets the measurements of the dispatcher, called by its threads."""

    def batch(self, streams: int, audio_s: float, seconds: float) -> None:
        """A batch with pieces of that many streams was computed in `seconds`."""
        ...

    def searched(self, seconds: float) -> None:
        """The results of a piece are ready, `seconds` after it arrived."""
        ...


class Unobserved:
    """An Observer that does nothing."""

    def batch(self, streams: int, audio_s: float, seconds: float) -> None:
        """See `Observer`."""

    def searched(self, seconds: float) -> None:
        """See `Observer`."""
