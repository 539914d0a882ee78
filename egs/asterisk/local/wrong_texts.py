"""Exchange the texts of some utterances, or say how well a ranking finds those whose text was exchanged.

usage: wrong_texts.py plant TRAIN.jsonl OUT.jsonl [--share 0.05] [--seed 1]
       wrong_texts.py measure PLANTED.jsonl SUSPECTS.jsonl

plant marks the rows that it changes (`true_text`). measure prints a row of a table: how many utterances were changed,
how many of them are among as many first ones of the ranking, and how often a changed utterance has a higher score than
another one (the area under the ROC curve, percent).
"""

import argparse
import random

from ds2cli import manifest, ui


def plant(rows: list[manifest.Row], share: float, seed: int) -> list[manifest.Row]:
    """The rows, of which a share got the text of another one, which has other words."""
    rng = random.Random(seed)
    chosen = sorted(rng.sample(range(len(rows)), round(share * len(rows))))
    texts = {i: rows[i]["text"] for i in chosen}
    taken = dict(zip(chosen, chosen[1:] + chosen[:1], strict=True))
    changed = {i: {**rows[i], "text": texts[taken[i]], "true_text": texts[i]} for i in chosen}
    return [changed.get(i, row) if changed.get(i, {}).get("text") != row["text"] else row for i, row in enumerate(rows)]


def measure(planted: list[manifest.Row], ranked: list[manifest.Row]) -> str:
    """A row of a Markdown table."""
    wrong = {row["id"] for row in planted if "true_text" in row}
    score = {row["id"]: row["suspicion"] for row in ranked}
    first = sorted(score, key=lambda name: -score[name])[: len(wrong)]
    found = sum(name in wrong for name in first)
    scores = [(score.get(row["id"], 0.0), row["id"] in wrong) for row in planted]
    higher = sum((a > b) + 0.5 * (a == b) for a, is_wrong in scores if is_wrong for b, other in scores if not other)
    pairs = len(wrong) * (len(scores) - len(wrong))
    return f"| {len(planted)} | {len(wrong)} | {found} | {100 * found / len(wrong):.1f} | {100 * higher / pairs:.2f} |"


def main() -> None:
    """Run `plant` or `measure`."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=["plant", "measure"])
    options.add_argument("first", metavar="IN.jsonl")
    options.add_argument("second", metavar="OUT.jsonl")
    options.add_argument("--share", type=float, default=0.05)
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args()
    rows = list(manifest.read(args.first))
    if args.what == "plant":
        manifest.write(args.second, plant(rows, args.share, args.seed))
    else:
        ui.echo(measure(rows, list(manifest.read(args.second))))


if __name__ == "__main__":
    main()
