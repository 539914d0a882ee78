"""Settings of `ds2 segment`."""

from __future__ import annotations

from dataclasses import dataclass

from ds2cli.config.base import StageConfig, setting
from ds2cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SegmentConfig(StageConfig):
    """Cut aligned recordings into segments at pauses (paper, section 5.1)."""

    mean_duration: float = setting(7.0, help="Mean length of the segments to aim for (s).", min=0.1, max=1000000)
    min_duration: float = setting(0.5, help="Drop segments shorter than this (s).", min=0, max=1000000)
    max_duration: float = setting(20.0, help="Length that no segment exceeds (s).", min=0.1, max=1000000)
    # Cuts in long pauses cost less. Those of 0.2 to 0.3 s, one in five of which has sound in it, are for where one
    # pauses little: with 0.3 s, up to 2 % of the good speech of egs/asterisk/long.sh was in segments longer than 20 s.
    min_pause: float = setting(
        0.2, help="Shortest pause between two words at which a segment may end (s).", min=0, max=1000000
    )
    max_pause: float = setting(
        2.0, help="Longest pause within a segment: a longer one is always cut (s).", min=0, max=1000000
    )
    # the network writes the last symbol of a word before the sound of it ends: of a word before a pause up to 0.4 s
    padding: float = setting(
        0.5,
        help="Audio to keep before the first and after the last word, at most half of the pause (s).",
        min=0,
        max=1000000,
    )

    def check(self) -> None:
        """UsageError when settings contradict each other."""
        if not self.min_duration <= self.mean_duration <= self.max_duration:
            raise UsageError(
                f"--mean-duration {self.mean_duration:g}: expected a length from --min-duration {self.min_duration:g} "
                f"to --max-duration {self.max_duration:g}"
            )
        if self.min_pause > self.max_pause:
            raise UsageError(
                f"--min-pause {self.min_pause:g}: expected at most --max-pause {self.max_pause:g}, where it always cuts"
            )
