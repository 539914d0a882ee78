"""What a score says of itself: hashes of the texts that were compared, and how they were counted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

REFERENCES, HYPOTHESES, NORMALIZER = "references", "hypotheses", "normalizer"


@dataclass
class TextHash:
    """SHA-256 over ids and texts in the order of the ids; a missing text differs from an empty one."""

    _digest: Any = field(default_factory=hashlib.sha256)

    def add(self, texts: Iterable[tuple[str, str | None]]) -> None:
        """Add ids with their texts."""
        lines = "".join(f"{name}\n" if text is None else f"{name}\t{text}\n" for name, text in texts)
        self._digest.update(lines.encode("utf-8", "surrogatepass"))

    def hex(self) -> str:
        """The hash so far."""
        return str(self._digest.hexdigest())


@dataclass
class Certificate:
    """The hashes of the references and of the hypotheses as they were compared, after normalization.

    settings: what else decides the counts, such as the normalizer and the alignment.
    """

    settings: dict[str, str]
    references: TextHash = field(default_factory=TextHash)
    hypotheses: TextHash = field(default_factory=TextHash)
    utterances: int = 0

    def add(self, ids: list[str], refs: list[str], hyps: list[str | None]) -> None:
        """Add utterances."""
        self.utterances += len(ids)
        self.references.add(zip(ids, refs, strict=True))
        self.hypotheses.add(zip(ids, hyps, strict=True))

    def as_fields(self) -> dict[str, Any]:
        """For a file: `references` and `hypotheses` (hashes), `utterances` and the settings."""
        hashes = {REFERENCES: self.references.hex(), HYPOTHESES: self.hypotheses.hex()}
        return {**hashes, "utterances": self.utterances, **self.settings}
