"""Settings of the mixture of several corpora, a section of `ds2 train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ds2cli.config.base import Config, setting
from ds2cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class MixConfig(Config):
    """Further corpora, of which each epoch has a share besides all of TRAIN; none by default."""

    no_effect: ClassVar = {"weights": ("manifests", ((),))}

    manifests: tuple[str, ...] = setting((), help="Manifests of further corpora, with the same features as TRAIN.")
    weights: tuple[float, ...] = setting(
        (), help="Share of each of these corpora in the utterances of an epoch, for example [0.3].", min=0, max=0.999
    )

    def __post_init__(self) -> None:
        """Raises UsageError when weights and manifests contradict each other."""
        if len(self.manifests) != len(self.weights):
            found = f"{len(self.manifests)} manifests and {len(self.weights)} weights"
            raise UsageError(f"mix: expected a weight for each manifest, got {found}")
        if sum(self.weights) > 0.999:
            raise UsageError(f"mix: weights: expected a sum below 1, got {sum(self.weights):g} (the rest is TRAIN's)")
