"""Utterances as they are seen in one epoch. Letters: N samples, T frames, F bins.

Recording -> speed -> shift -> room -> noise -> one level -> log power -> `spec_augment`, which bends and masks the spectrogram.
Stored features, where there are some, serve what needs no recording, and the utterances that draw nothing that does.

Every choice follows from (seed, epoch, id of the utterance) alone: not from its place in the manifest, the batch, the
process or the thread, nor from what was drawn for others. So a run that is resumed, or has more workers or ranks, sees
the same bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ds2cli.audio.noise import mix, noise_for
from ds2cli.audio.perturb import shifted
from ds2cli.audio.pool import RecordingPool
from ds2cli.audio.recording import Recording, num_samples, samples
from ds2cli.audio.reverb import reverberate
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.featurize import SpectrogramConfig
from ds2cli.errors import BadUtterance
from ds2cli.feats.spectrogram import log_power, num_frames
from ds2cli.train.spec_augment import spec_augment, speed_of

Features = NDArray[np.float32]


class Example(Protocol):
    """What is asked of an utterance."""

    @property
    def id(self) -> str:
        """Its name, which the draws follow from."""

    @property
    def feats(self) -> str | None:
        """A reference to stored features; None or "" where only the recording is known."""

    @property
    def num_frames(self) -> int:
        """Of its features; of those to come by `frames_in`, where there are none."""

    @property
    def recording(self) -> Recording | None:
        """None where only features are known."""

    @property
    def least(self) -> int:
        """Frames that its label needs."""


@dataclass(frozen=True)
class AugmentPlan:
    """What one utterance gets in one epoch. snr_db, room: None for neither noise nor room; room: 0 … 1, which one.

    seed: of what cannot be drawn beforehand.
    """

    speed: float
    shift_s: float
    room: float | None
    snr_db: float | None
    seed: tuple[int, ...]

    @property
    def needs_audio(self) -> bool:
        """Whether stored features will not do this time."""
        return self.speed != 1 or self.shift_s != 0 or self.room is not None or self.snr_db is not None

    def pieces(self) -> np.random.Generator:
        """Draws the pieces of noise."""
        return np.random.default_rng((*self.seed, 0))

    def masks(self) -> np.random.Generator:
        """Draws what is done to the spectrogram."""
        return np.random.default_rng((*self.seed, 1))


def draw(config: AugmentConfig, seed: int, epoch: int, utterance: str) -> AugmentPlan:
    """What follows from (seed, epoch, utterance); a setting that changes leaves what the others draw as it was."""
    # a hash is a generator already, and ten times as quick to make as numpy's: a plan asks for every utterance
    words = struct.unpack("<8Q", hashlib.blake2b(f"{seed} {epoch} {utterance}".encode()).digest())
    which, shift, has_room, room, has_noise, snr = ((word >> 11) / (1 << 53) for word in words[:6])
    return AugmentPlan(
        speed=config.speeds[int(which * len(config.speeds))],
        shift_s=config.shift_ms / 1000 * (2 * shift - 1),
        room=room if config.rir and has_room < config.rir_share else None,
        snr_db=config.snr_low + snr * (config.snr_high - config.snr_low)
        if config.noise and has_noise < config.noise_share
        else None,
        seed=words[6:],
    )


@dataclass(frozen=True)
class Augmenter:
    """Gives the features of utterances. One serves all threads of a process, and it can be sent to others.

    features: the settings of those that are stored, or would be.  fill: (F,), what a mask leaves.
    read: stored features (T, F) by their reference.  noise, rooms: the banks of config.noise and config.rir.
    channel: of files with several, None is their mean.
    """

    config: AugmentConfig
    features: SpectrogramConfig
    seed: int
    fill: Features
    read: Callable[[str], Features]
    noise: RecordingPool | None = None
    rooms: RecordingPool | None = None
    channel: int | None = None

    def __post_init__(self) -> None:
        assert self.noise or not self.config.noise, "config.noise needs its bank"
        assert self.rooms or not self.config.rir, "config.rir needs its bank"

    def __call__(self, utterance: Example, epoch: int) -> Features:
        """The features (T, F) float32 of an utterance in that epoch, a writable copy.

        BadUtterance: what reading the recording or its features says, "no-audio", "too-short", "not-a-number".
        """
        drawn = draw(self.config, self.seed, epoch, utterance.id)
        if utterance.feats and not drawn.needs_audio:
            x = self.read(utterance.feats)
        else:
            x = log_power(self._sound(utterance, drawn), self.features)
        return spec_augment(x, self.fill, self.config, drawn.masks(), utterance.least)

    def plain(self, utterance: Example) -> Features:
        """The features (T, F) of an utterance as it is: those stored, else what `ds2 featurize` would store."""
        if utterance.feats:
            return self.read(utterance.feats)
        return log_power(samples(_recording(utterance), self.features.sample_rate, 1.0, self.channel), self.features)

    def sound(self, utterance: Example, epoch: int) -> Features:
        """The samples (N,) at features.sample_rate that the features of that epoch are made of, at whatever level."""
        return self._sound(utterance, draw(self.config, self.seed, epoch, utterance.id))

    def frames(self, utterance: Example, epoch: int) -> int:
        """How many frames the call will give, without reading anything; batches are planned with it.

        Right to the frame for rows of `ds2 prepare`. For rows without a duration it follows from num_frames, and can be
        one off.
        """
        drawn = draw(self.config, self.seed, epoch, utterance.id)
        frames = utterance.num_frames
        if drawn.speed != 1:
            frames = self._frames(utterance, self._speed(utterance, drawn))
        if not self.config.speed:
            return frames
        speed = speed_of(self.config, drawn.masks(), frames, utterance.least)
        return frames if speed == 1 else max(1, round(frames / speed))

    def _sound(self, utterance: Example, drawn: AugmentPlan) -> Features:
        rate = self.features.sample_rate
        x = samples(_recording(utterance), rate, self._speed(utterance, drawn), self.channel)
        if drawn.shift_s:
            x = shifted(x, round(drawn.shift_s * rate))
        if (response := self.room(drawn)) is not None:
            x = reverberate(x, response)
        if drawn.snr_db is not None and (noise := self.pieces(drawn, len(x))) is not None:
            x = mix(x, noise, drawn.snr_db)
        return x

    def room(self, drawn: AugmentPlan) -> Features | None:
        """The impulse response (M,) that was drawn; None without one, or where it cannot be read."""
        if drawn.room is None or self.rooms is None:
            return None
        return self.rooms.response(int(drawn.room * len(self.rooms)), self.features.sample_rate)

    def pieces(self, drawn: AugmentPlan, num_samples: int) -> Features | None:
        """The noise (num_samples,) that was drawn; None without one, or where none can be read."""
        if drawn.snr_db is None or self.noise is None:
            return None
        return noise_for(self.noise, num_samples, self.features.sample_rate, drawn.pieces())

    def _speed(self, utterance: Example, drawn: AugmentPlan) -> float:
        """The speed that was drawn; 1 where it would leave too few frames for the label."""
        enough = drawn.speed <= 1 or self._frames(utterance, drawn.speed) >= utterance.least
        return drawn.speed if enough else 1.0

    def _frames(self, utterance: Example, speed: float) -> int:
        known = None if utterance.recording is None else frames_in(utterance.recording, self.features, speed)
        if known is not None:
            return known
        # in the middle between the shortest and the longest recording of as many frames
        size = self.features.window_samples + (utterance.num_frames - 0.5) * self.features.hop_samples
        return num_frames(round(size / speed), self.features)


def frames_in(recording: Recording, features: SpectrogramConfig, speed: float = 1.0) -> int | None:
    """Frames of a recording, by its row: whole windows that fit, 1 + (N - window) // hop; None without a duration.

    The num_frames of a row that has a duration and no features. N is that of `audio.recording.num_samples`.
    """
    total = num_samples(recording, features.sample_rate, speed)
    return None if total is None else num_frames(total, features)


def _recording(utterance: Example) -> Recording:
    if utterance.recording is None:
        raise BadUtterance("no-audio", "its row has no audio_filepath, which noise, rooms, speeds and shifts need")
    return utterance.recording
