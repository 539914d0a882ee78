"""Align recordings with texts of which a tenth was removed, changed or added in blocks, and see what is reported.

usage: altered.py EXP CLIPS.jsonl… [--pool TRAIN.jsonl] [--gap-costs 20] [--skip-costs 3] [--lengths 3,20] [--seeds 6]

The clips, of which the network has learned none, are joined with pauses of 0.3 s, in another order for each seed. A
word of the right text has moved if it starts or ends more than 0.5 s from where it is in the alignment of the right
text without gaps; each is listed, with the edges of its clip. An altered span is reported by a gap at most 0.3 s away.
"""

import argparse

from ds2cli import manifest, ui
from ds2cli.config.align import AlignConfig
from ds2cli.drops import Ledger
from ds2cli.metrics.altered_text import KINDS, Tally, alter
from ds2cli.recognizer.experiment import Experiment
from ds2cli.search.align import align
from ds2cli.search.trellis import GapCosts
from ds2cli.stages import junctions


def main() -> None:
    """Parse the arguments and print a table."""
    defaults = AlignConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp")
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--pool")
    parser.add_argument("--gap-costs", default=f"{defaults.gap_cost:g}")
    parser.add_argument("--skip-costs", default=f"{defaults.skip_cost:g}")
    parser.add_argument("--lengths", default="3,20")
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=6)
    args = parser.parse_args()
    experiment, needs = Experiment(args.exp), ("id", "text")
    rows = [row for path in args.clips for row in manifest.read(path, needs)]
    pool = [word for row in (manifest.read(args.pool, needs) if args.pool else rows) for word in row["text"].split()]
    recordings = [
        (seed, recording)
        for seed in range(args.seeds)
        for recording in junctions.run(rows, Ledger(), experiment, seed=seed)
    ]
    short, long = map(int, args.lengths.split(","))
    ui.echo("| gap_cost, skip_cost | text | correct words | moved | in gaps | altered spans | reported | other gaps |")
    ui.echo("|---|---|---|---|---|---|---|---|")
    moves = []
    for gap in map(float, args.gap_costs.split(",")):
        for skip in map(float, args.skip_costs.split(",")):
            for kind in ("right", *KINDS):
                tally = Tally()
                for seed, recording in recordings:
                    true = recording.alignment.words
                    share = 0.0 if kind == "right" else args.share
                    text = alter([word.word for word in true], pool, (kind,), share, (short, long), seed)
                    spelled = " ".join(text.words)
                    found = align(recording.log_probs, spelled, experiment.vocab, recording.step_s, GapCosts(gap, skip))
                    for place in tally.add(text, true, found.words, found.gaps):
                        moves.append((gap, skip, kind, seed, describe(place, recording, found.words)))
                counts = f"{tally.spans} | {tally.reported} | {tally.false}"
                ui.echo(
                    f"| {gap:g}, {skip:g} | {kind} | {tally.correct} | {tally.moved} | {tally.lost} | {counts} |",
                )
    for gap, skip, kind, seed, text in moves:
        ui.echo(f"moved, gap_cost {gap:g}, skip_cost {skip:g}, {kind}, seed {seed}: {text}")


def describe(place, recording, found):
    """A word that moved: with its neighbours, where it was, where words of the same writing are now, and its clip."""
    words, word, before = recording.alignment.words, recording.alignment.words[place], 0
    for edges in recording.edges:
        before += edges.words
        if place < before:
            break
    context = " ".join(w.word for w in words[max(0, place - 3) : place + 4])
    now = min((w for w in found if w.word == word.word), key=lambda w: abs(w.start - word.start))
    clip = f"its clip is at {edges.start:.2f} to {edges.end:.2f} s"
    return f"'{word.word}' in '{context}' from {word.start:.2f} s, nearest now {now.start:.2f} s; {clip}"


if __name__ == "__main__":
    main()
