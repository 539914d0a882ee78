"""What augmenting on the fly costs one core, step by step, on real recordings.

    python native/bench/bench_augment.py --data ../shared/data [--seconds 3]

Microseconds a second of audio, and how many times as fast as it is spoken. DATA has LibriSpeech/train-clean-100, noise
and rir (DS2_TEST_DATA names it, too).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from timing import in_turn

from ds2cli.audio.noise import draw_noise, mix
from ds2cli.audio.perturb import change_speed, shift_samples
from ds2cli.audio.pool import open_pool
from ds2cli.audio.read import read
from ds2cli.audio.recording import Recording
from ds2cli.audio.reverb import reverberate
from ds2cli.config.augment import AugmentConfig
from ds2cli.config.featurize import SpectrogramConfig
from ds2cli.feats.spectrogram import log_power
from ds2cli.train.augmenter import Augmenter, frames_in
from ds2cli.train.spec_augment import spec_augment

RATE = 16000


@dataclass(frozen=True)
class Clip:
    """What an augmenter asks of an utterance."""

    id: str
    recording: Recording
    num_frames: int
    feats: str | None = None
    least: int = 1


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("DS2_TEST_DATA", "../shared/data")))
    parser.add_argument("--seconds", type=float, default=3.0, help="Time for each row.")
    parser.add_argument("--clips", type=int, default=40)
    args = parser.parse_args()
    torch.set_num_threads(1)

    files = sorted((args.data / "LibriSpeech/train-clean-100").rglob("*.flac"))[: args.clips]
    waves = [read(path)[0] for path in files]
    seconds = sum(map(len, waves)) / RATE
    noise, impulse_responses = (
        open_pool([{"audio_filepath": str(path)} for path in sorted((args.data / name).iterdir())], name)
        for name in ("noise", "rir")
    )
    spectrogram = SpectrogramConfig()
    recordings = [
        Recording(str(path), duration_s=len(x) / RATE, rate=RATE) for path, x in zip(files, waves, strict=True)
    ]
    clips = [Clip(path.stem, r, frames_in(r, spectrogram) or 0) for path, r in zip(files, recordings, strict=True)]
    features = [log_power(x, spectrogram) for x in waves]
    fill = features[0].mean(0)
    masks = AugmentConfig(freq_masks=2, time_masks=2)
    bend = AugmentConfig(speed=0.1, warp=0.1)
    rng = np.random.default_rng(0)

    def each(items: list, work: Callable) -> Callable[[], None]:
        def run() -> None:
            for item in items:
                work(item)

        return run

    def all_of(config: AugmentConfig) -> Callable[[], None]:
        make = Augmenter(config, spectrogram, 0, fill, lambda ref: features[0], noise, impulse_responses)
        epoch = count()
        return lambda: each(clips, lambda clip, at=next(epoch): make(clip, at))()

    three = (0.9, 1.0, 1.1)
    paper = AugmentConfig(noise="n")
    works = {
        "read FLAC": each(files, read),
        "speed 0.9": each(waves, lambda x: change_speed(x, 0.9, RATE, RATE)),
        "speed 1.1": each(waves, lambda x: change_speed(x, 1.1, RATE, RATE)),
        "shift": each(waves, lambda x: shift_samples(x, 80)),
        "room": each(waves, lambda x: reverberate(x, impulse_responses.read_response(int(rng.integers(4)), RATE))),
        "noise: read from FLAC": each(waves, lambda x: draw_noise(noise, len(x), RATE, rng)),
        "noise: mix": each(waves, lambda x: mix(x, x, 10.0)),
        "features": each(waves, lambda x: log_power(x, spectrogram)),
        "masks": each(features, lambda x: spec_augment(x, fill, masks, rng, 1)),
        "speed and warp of the spectrogram": each(features, lambda x: spec_augment(x, fill, bend, rng, 1)),
        "ALL: nothing, from the recording": all_of(AugmentConfig()),
        "ALL: noise on 40 % (the paper)": all_of(paper),
        "ALL: noise on all, 3 speeds": all_of(replace(paper, noise_share=1.0, speeds=three)),
        "ALL: noise and room on all, 3 speeds, shift, masks": all_of(
            replace(masks, noise="n", noise_share=1.0, rir="r", rir_share=1.0, speeds=three, shift_ms=5, gain_db=3)
        ),
    }  # fmt: skip
    print(f"{len(files)} clips, {seconds / len(files):.1f} s on average, one thread\n")
    print("| step | µs a second of audio, best | median | times real time |\n|---|---|---|---|")
    for name, time in in_turn(works, args.seconds).items():
        best, median = (1e3 * t / seconds for t in time)
        print(f"| {name} | {best:.0f} | {median:.0f} | {1e6 / median:.0f} |")


if __name__ == "__main__":
    main()
