"""Measure streams of a forward-only network: speed, memory, delay and error rate with each kind of weights.

usage: stream_speed.py EXP ROWS.jsonl [--lm LM] [--chunk 0.1] [--streams 20] [--repeat 3]

ROWS have `text`, and word times of any network (ds2 align). Recordings are passed on in pieces of --chunk seconds, in
one thread; the search gives a partial result after each. Columns:

x real time    audio / processor time, of all and of the network with its features alone; the median of --repeat runs
WER            of the texts at the end of the recordings
first (95 %)   when the first partial text is there, after the end of the first word and the look-ahead (ms): it waits
               for the end of a piece, and is computed
MB per stream  growth of the memory of the process per stream, after 10 s of audio
"""

import argparse
import gc
import os
import statistics
import threading
import time
from pathlib import Path

import numpy as np  # noqa: TID253

from ds2cli import manifest, ui
from ds2cli.audio.read import read
from ds2cli.audio.resample import resample
from ds2cli.config.base import build
from ds2cli.config.decode import DecodeConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.metrics.alignment import align_words
from ds2cli.recognizer.decoder import build_search, resolve_settings
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.stream import EmissionStream, RecognizerStream
from ds2cli.recognizer.utterances import UtteranceStream
from ds2cli.search.endpoint import EndpointRules

NO_RULES = EndpointRules(0, 0, 0)
WARM_UP_S = 10.0


class Measurement:
    """One kind of weights."""

    def __init__(self, exp: str, weights: str, lm: str | None) -> None:
        self.experiment = Experiment(exp, device="cpu", precision=weights, avoid_torch=True)
        self.config = resolve_settings(build(DecodeConfig, ("--lm", {"lm": lm})), exp, ui.warn)
        self.search = build_search(self.config, self.experiment, lambda _: None)
        self.network = self.experiment.network

    def stream(self) -> RecognizerStream:
        """A new one."""
        utterances = UtteranceStream(self.config, self.search, self.experiment.vocab, self.network.step_s, NO_RULES)
        return RecognizerStream(EmissionStream(self.experiment), utterances)

    def listen(self, samples: np.ndarray, size: int) -> tuple[str, list[tuple[float, float, str]]]:
        """The final text, and after each piece its end (s), its processor time (s), and the text so far."""
        stream, text, shown = self.stream(), "", []
        rate = FeatureConfig.from_saved(self.network.features, "EXP").sample_rate
        for begin in range(0, len(samples), size):
            start = time.thread_time()
            for result in stream.advance(samples[begin : begin + size]):
                text = result.text
            shown.append((min(begin + size, len(samples)) / rate, time.thread_time() - start, text))
        for result in stream.finish():
            text = result.text
        return text, shown

    def emit(self, samples: np.ndarray, size: int) -> None:
        """Compute features and network alone."""
        stream = EmissionStream(self.experiment)
        for begin in range(0, len(samples), size):
            stream.advance(samples[begin : begin + size])
        stream.finish()


def seconds(work: object, *arguments: object) -> float:
    """Processor time of a call in this thread."""
    start = time.thread_time()
    work(*arguments)  # type: ignore[operator]
    return time.thread_time() - start


def measure_memory(measured: Measurement, samples: np.ndarray, size: int, streams: int) -> float:
    """MB per stream."""

    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    rate = FeatureConfig.from_saved(measured.network.features, "EXP").sample_rate
    part, before, kept = samples[: 10 * rate], resident(), []
    for _ in range(streams):
        stream = measured.stream()
        for begin in range(0, len(part), size):
            stream.advance(part[begin : begin + size])
        kept.append(stream)
    return (resident() - before) / streams / 1e6


def main() -> None:
    """Parse the arguments and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp")
    parser.add_argument("rows")
    parser.add_argument("--lm")
    parser.add_argument("--chunk", type=float, default=0.1)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    rows = list(manifest.read(args.rows, ("id", "audio_filepath", "text", "words")))
    all_measured = {weights: Measurement(args.exp, weights, args.lm) for weights in ("float32", "bfloat16", "int8")}
    network = next(iter(all_measured.values())).network
    rate = FeatureConfig.from_saved(network.features, args.exp).sample_rate
    size = round(args.chunk * rate)
    look_ahead_s = (network.config.look_ahead or 0) * network.step_s / network.config.stride
    recordings = [resample(*read(row["audio_filepath"]), rate) for row in rows]
    audio_s = sum(map(len, recordings)) / rate
    everything = np.concatenate(recordings)
    for measured in all_measured.values():
        measured.listen(everything[: round(WARM_UP_S * rate)], size)
    times = {weights: ([], []) for weights in all_measured}
    lines = {}
    for _ in range(args.repeat):
        # the kinds in turn, so that all of them see the same of what else the machine does
        for weights, measured in all_measured.items():
            start = time.thread_time()
            found = [measured.listen(samples, size) for samples in recordings]
            times[weights][0].append(time.thread_time() - start)
            times[weights][1].append(sum(seconds(measured.emit, samples, size) for samples in recordings))
            alignment = align_words([row["text"] for row in rows], [text for text, _ in found])
            delays = []
            for row, (_, shown) in zip(rows, found, strict=True):
                first = next(((end_s + busy_s) for end_s, busy_s, text in shown if text), None)
                if first is not None and row["words"]:
                    delays.append(1000 * (first - row["words"][0]["end"] - look_ahead_s))
            lines[weights] = alignment, delays
    table = []
    for weights, measured in all_measured.items():
        alignment, delays = lines[weights]
        errors = alignment.total().rate
        speed, alone = (audio_s / statistics.median(found) for found in times[weights])
        megabytes = measure_memory(measured, everything, size, args.streams)
        delay = f"{np.median(delays):.0f} ({np.percentile(delays, 95):.0f})"
        table.append([weights, f"{speed:.0f}", f"{alone:.0f}", f"{errors:.2f}", delay, f"{megabytes:.2f}"])
    ui.echo(f"{audio_s:.0f} s of audio in pieces of {args.chunk:g} s, look-ahead {1000 * look_ahead_s:.0f} ms")
    head = ["weights", "x real time", "network alone", "WER %", "first ms (95 %)", "MB per stream"]
    ui.table("", head, table, to_stdout=True)


if __name__ == "__main__":
    # kernels that are called in the main thread change to another one each time (kernels/apart.py)
    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
