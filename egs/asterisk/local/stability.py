"""Measure how much the partial results of a stream change and how late words are shown, by what is shown of them.

usage: stability.py EXP ROWS.jsonl [--lm LM.bin] [--chunk 0.1] [--config decode.toml]

EXP is a forward-only network; ROWS have word times of any network (ds2 align). A recording and a second of silence are
passed on in pieces of --chunk seconds; the best text after each is a partial result. Delays are of the audio that has
been passed on: time for computing is not counted. A word of the final result whose reference word is the same has that
one's end. What may be shown of a partial result:

all             the best text as it is
complete        its words but for the last one
agreement S s   what the results of the last S seconds have in common at their beginning
within X nats   that of all hypotheses that score at most X nats less than the best one
certain         that of all hypotheses of the beam
"""

import argparse
import math
from collections.abc import Callable

import numpy as np  # noqa: TID253

from ds2cli import manifest, ui
from ds2cli.audio.read import read
from ds2cli.config.base import build, read_toml
from ds2cli.config.decode import DecodeConfig
from ds2cli.metrics.alignment import align_words
from ds2cli.metrics.stability import Changes, WordDelay, count_changes, summarize_delays, word_delays
from ds2cli.recognizer.decoder import build_beam_search, resolve_settings
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.stream import EmissionStream
from ds2cli.search.beam import BeamSearch, BeamStream
from ds2cli.search.stable import LocalAgreement, complete_words

GAPS = (1.0, 5.0, math.inf)
AGREEMENTS_S = (0.1, 0.2, 0.4)
SILENCE_S = 1.0
Show = Callable[[BeamStream, str, float], str]


def rules() -> dict[str, Show]:
    """What is shown after each chunk, by name; some look at what came before, in the same utterance."""

    def agree(span_s: float) -> Show:
        agreement = LocalAgreement(span_s)
        return lambda _, text, time_s: agreement.advance(text, time_s)

    def within(gap: float) -> Show:
        return lambda stream, *_: stream.shared(gap).rstrip()

    return {
        "all": lambda _, text, __: text,
        "complete": lambda _, text, __: complete_words(text),
        **{f"agreement {span_s:g} s": agree(span_s) for span_s in AGREEMENTS_S},
        **{"certain" if math.isinf(gap) else f"within {gap:g} nats": within(gap) for gap in GAPS},
    }


def listen(
    search: BeamSearch, emissions: EmissionStream, samples: np.ndarray, rate: int, chunk_s: float
) -> dict[str, list[tuple[float, str]]]:
    """The times (s) and texts that each rule shows of an utterance; the last is the final result.

    samples: (N,) float32.
    """
    stream, shows, text = search.stream(), rules(), ""
    shown: dict[str, list[tuple[float, str]]] = {name: [] for name in shows}
    samples = np.concatenate([samples, np.zeros(round(SILENCE_S * rate), np.float32)])
    size = max(round(chunk_s * rate), 1)
    for begin in range(0, len(samples), size):
        log_probs = emissions.advance(samples[begin : begin + size])
        if len(log_probs):
            stream.advance(log_probs)
            text, time_s = stream.best()[0].text, min(begin + size, len(samples)) / rate
            for name, show in shows.items():
                shown[name].append((time_s, show(stream, text, time_s)))
    stream.advance(emissions.finish())
    for results in shown.values():
        results.append((len(samples) / rate, stream.best()[0].text))
    return shown


def known_ends(text: str, words: list[dict[str, float | str]]) -> list[float | None]:
    """The end of each word of a text (s) that is the same in the reference."""
    ends, i = [], 0
    for ref, hyp in align_words([" ".join(str(word["word"]) for word in words)], [text]).edit_steps(0):
        if hyp is not None:
            ends.append(float(words[i]["end"]) if ref == hyp else None)
        i += ref is not None
    return ends


def main() -> None:
    """Parse the arguments and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp")
    parser.add_argument("rows")
    parser.add_argument("--lm")
    parser.add_argument("--config")
    parser.add_argument("--chunk", type=float, default=0.1)
    args = parser.parse_args()
    files = [(args.config, read_toml(args.config))] if args.config else []
    config = resolve_settings(build(DecodeConfig, *files, ("--lm", {"lm": args.lm})), args.exp, ui.warn)
    experiment = Experiment(args.exp, device="cpu", avoid_torch=True)
    search = build_beam_search(config, experiment, ui.warn)
    changes = {name: Changes() for name in rules()}
    delays: dict[str, list[WordDelay]] = {name: [] for name in changes}
    for row in manifest.read(args.rows, ("id", "audio_filepath", "words")):
        samples, rate = read(row["audio_filepath"])
        for name, shown in listen(search, EmissionStream(experiment, rate), samples, rate, args.chunk).items():
            changes[name] += count_changes([shown])
            delays[name] += word_delays(shown, known_ends(shown[-1][1], row["words"]))
    lines = []
    for name, found in changes.items():
        first, final = (
            (summarize_delays(times) for times in zip(*delays[name], strict=True)) if delays[name] else (None,) * 2
        )
        ratios = (found.unstable_ratio, found.unstable_share, found.edit_overhead)
        percent = ["" if ratio is None else f"{100 * ratio:.1f}" for ratio in ratios]
        times = ["" if q is None else f"{q.median_ms:.0f} / {q.p95_ms:.0f}" for q in (first, final)]
        lines.append([name, *percent, *times])
    head = ["shown", "unstable ratio %", "unstable words %", "edit overhead %", "first ms (95 %)", "for good ms (95 %)"]
    ui.table("", head, lines, to_stdout=True)


if __name__ == "__main__":
    main()
