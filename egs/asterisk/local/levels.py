"""Error rates of recordings that are louder or quieter than those from which a streaming network has learned.

usage: levels.py EXP ROWS.jsonl [--gains="-30 -20 -10 0 10"] [--initial-s "1 0.1 0.01"]

Each recording is a stream of its own, in pieces of 100 ms; the search is greedy. --gains: in dB; with --initial-s, the
initial level of the features counts as this many seconds instead of those of training.
"""

import argparse

import numpy as np  # noqa: TID253

from ds2cli import manifest, ui
from ds2cli.audio.read import read
from ds2cli.audio.resample import resample
from ds2cli.config.features import FeatureConfig
from ds2cli.metrics.alignment import align_words
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.stream import EmissionStream
from ds2cli.search.greedy import greedy


def recognize(experiment: Experiment, samples: np.ndarray, size: int) -> str:
    """The text of samples (N,), passed on in pieces of `size`."""
    stream = EmissionStream(experiment)
    parts = [stream.advance(samples[begin : begin + size]) for begin in range(0, len(samples), size)]
    return greedy(np.concatenate([*parts, stream.finish()]), experiment.vocab).text


def main() -> None:
    """Parse the arguments and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp")
    parser.add_argument("rows")
    parser.add_argument("--gains", default="-30 -20 -10 0 10")
    parser.add_argument("--initial-s", default="")
    args = parser.parse_args()
    rows, gains = (
        list(manifest.read(args.rows, ("id", "audio_filepath", "text"))),
        [float(g) for g in args.gains.split()],
    )
    ui.echo(f"| initial_s | {' | '.join(f'{gain:+g} dB' for gain in gains)} |\n|:--|{'--:|' * len(gains)}")
    for initial_s in args.initial_s.split() or [None]:
        experiment = Experiment(args.exp, device="cpu", avoid_torch=True)
        features = experiment.network.features
        if initial_s is not None:
            features["initial_s"] = float(initial_s)
        rate = FeatureConfig.from_saved(features, args.exp).sample_rate
        recordings = [resample(*read(row["audio_filepath"]), rate) for row in rows]
        rates = []
        for gain in gains:
            factor = np.float32(10 ** (gain / 20))
            texts = [recognize(experiment, samples * factor, rate // 10) for samples in recordings]
            hits, subs, ins, dels = align_words([row["text"] for row in rows], texts).counts.sum(axis=0)
            rates.append(100 * (subs + ins + dels) / (hits + subs + dels))
        ui.echo(f"| {features['initial_s']:g} | {' | '.join(f'{rate:.1f}' for rate in rates)} |")


if __name__ == "__main__":
    main()
