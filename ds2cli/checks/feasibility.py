"""Whether CTC can align the labels of a text with the steps that a network makes of a recording, at every speed.

A path needs a step for each label, and one for the blank between two equal labels (`kernels.viterbi.steps_needed`). A
network of stride s makes ceil(T / s) steps of T frames. L labels.
"""

from __future__ import annotations

import numpy as np

from ds2cli.audio.recording import Recording, count_samples
from ds2cli.checks.faults import Finding
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import BadUtterance
from ds2cli.feats import kinds
from ds2cli.kernels.viterbi import steps_needed
from ds2cli.text.vocab import Vocab


class Feasibility:
    """Checks rows for a network, and remembers the one with the fewest steps to spare.

    vocab: the symbols; None for characters.  stride: frames per step.  features: of frames that are not stored.
    speeds: factors that training plays recordings at.
    """

    def __init__(
        self, vocab: Vocab | None, stride: int, features: FeatureConfig, speeds: tuple[float, ...] = (1.0,)
    ) -> None:
        self.vocab, self.stride, self.features = vocab, stride, features
        self.fast = tuple(sorted(speed for speed in speeds if speed > 1))
        self.tightest: tuple[int, int, int, str] | None = None
        """Steps to spare, needed and there, and the id of the row with the fewest to spare among those that fit."""

    def __call__(self, id: str, text: str, num_frames: int | None, recording: Recording | None) -> list[Finding]:
        """What does not fit. num_frames: of stored features; else that of the recording is computed from its duration.

        Nothing is found for a row of unknown duration, without a text, or with one that cannot be spelled.
        """
        frames = num_frames
        if frames is None:
            frames = self._frames_at(recording, None, 1.0)
        text = " ".join(text.split())
        if frames is None or not text:
            return []
        if frames < 1:
            detail = f"the recording is shorter than a window of {self.features.window_ms:g} ms"
            return [("too-short", detail)]
        steps = self._steps(frames)
        # no text of L characters needs more than 2 L - 1 steps: most rows are far from it
        least = self._steps(int(frames / self.fast[-1]) - 2) if self.fast else steps
        if 2 * len(text) - 1 <= least and self.tightest and steps - 2 * len(text) + 1 >= self.tightest[0]:
            return []
        need = self._steps_needed(text)
        if need is None:
            return []
        if need > steps:
            return [("label-too-long", f"{self._explain(need, steps, frames)}{self._advise(text, need, frames)}")]
        if self.tightest is None or steps - need < self.tightest[0]:
            self.tightest = (steps - need, need, steps, id)
        return self._check_speeds(need, num_frames, recording)

    def describe(self) -> str:
        """`the tightest row that fits is u1: 40 of 45 steps needed, 5 to spare`; "" if there is none."""
        if self.tightest is None:
            return ""
        spare, need, steps, name = self.tightest
        return f"the tightest row that fits is {name}: {need} of {steps} steps needed, {spare} to spare"

    def _check_speeds(self, need: int, num_frames: int | None, recording: Recording | None) -> list[Finding]:
        for speed in self.fast:
            at_speed = self._frames_at(recording, num_frames, speed)
            if at_speed is not None and need > self._steps(at_speed):
                detail = f"at speed {speed:g}, {self._explain(need, self._steps(at_speed), at_speed)}"
                highest = int(100 * self._highest_speed(need, recording, num_frames)) / 100
                detail += f": it fits up to a speed of {highest:g}, training plays it at 1 instead"
                return [("label-too-long-at-speed", detail)]
        return []

    def _steps(self, frames: int) -> int:
        return -(-max(frames, 0) // self.stride)

    def _steps_needed(self, text: str) -> int | None:
        try:
            labels = [ord(c) for c in text] if self.vocab is None else self.vocab.encode(text)
        except BadUtterance:
            return None
        return steps_needed(np.array(labels, np.int32))

    def _frames_at(self, recording: Recording | None, num_frames: int | None, speed: float) -> int | None:
        """Frames at a speed: of the recording if its duration is known, else estimated from those at speed 1."""
        total = self._samples_at(recording, num_frames, speed)
        return None if total is None else kinds.num_frames(total, self.features)

    def _samples_at(self, recording: Recording | None, num_frames: int | None, speed: float) -> int | None:
        total = None if recording is None else count_samples(recording, self.features.sample_rate, speed)
        if total is None and num_frames is not None:
            size = self.features.window_samples + (num_frames - 0.5) * self.features.hop_samples
            total = round(size / speed)
        return total

    def _highest_speed(self, need: int, recording: Recording | None, num_frames: int | None) -> float:
        """The highest speed that leaves as many steps as are needed."""
        samples = self.features.window_samples + (need - 1) * self.stride * self.features.hop_samples
        return (self._samples_at(recording, num_frames, 1.0) or 0) / samples

    def _explain(self, need: int, steps: int, frames: int) -> str:
        return f"{need} steps needed, {frames} frames give {steps} (stride {self.stride}), {need - steps} too few"

    def _advise(self, text: str, need: int, frames: int) -> str:
        """What would help."""
        if frames >= need:
            fits = (frames - 1) // (need - 1) if need > 1 else frames
            return f": a stride of {fits} fits" + (", or longer units" if self.vocab is None else "")
        seconds = frames * self.features.hop_ms / 1000
        return f": {len(text) / seconds:.0f} characters per second, the text is not that of this recording"
