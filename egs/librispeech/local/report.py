#!/usr/bin/env python3
"""Print the error rates of an experiment as Markdown, from the certificates of `ds2 score --json`.

local/report.py EXP --sets 'dev-clean test-clean' --passes 'greedy lm' [--models 'lm=4-gram'] [--full 'test-clean=2620']
"""

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import Any


def cells(rate: dict[str, Any]) -> list[str]:
    """The rate and its 95 % interval, which a single utterance does not have."""
    interval = "{:.2f} to {:.2f}".format(*rate["interval_95"]) if "interval_95" in rate else ""
    return [f"{rate['rate']:.2f}", interval]


def rates_table(exp: Path, sets: list[str], passes: list[str], full: dict[str, str]) -> tuple[list[str], list[str]]:
    """The table of all sets and passes, and that of what the rates refer to."""
    table = ["| set | decoding | WER % | 95 % interval | CER % | 95 % interval |", "|:--|:--|--:|:--|--:|:--|"]
    about = ["| set | utterances | words | references | rules |", "|:--|--:|--:|:--|:--|"]
    for name in sets:
        for kind in passes:
            score = json.loads((exp / f"{name}.{kind}.json").read_text("utf-8"))
            word, char, made = score["rates"]["word"], score["rates"]["char"], score["certificate"]
            table.append(f"| {name} | {kind} | {' | '.join([*cells(word), *cells(char)])} |")
            if kind == passes[0]:
                whole = full.get(name, "")
                count = f"{made['utterances']:,}"
                if whole and int(whole) != made["utterances"]:
                    count += f" of {int(whole):,}"
                rules = f"alignment {made['alignment']}, normalizer {made['normalizer']}"
                about.append(f"| {name} | {count} | {word['total']:,} | `{made['references'][:16]}` | {rules} |")
    return table, about


def describe_training(exp: Path) -> list[str]:
    """What was trained: its command, epochs and best epoch."""
    config = tomllib.loads((exp / "config.toml").read_text("utf-8"))
    epochs = [json.loads(line) for line in (exp / "train.jsonl").read_text("utf-8").splitlines()]
    # an epoch without a dev set has no error rate
    scored = [epoch for epoch in epochs if epoch.get("dev_cer") is not None]
    lines = [f"    {config['made_by']['command']}", ""]
    if scored:
        best = min(scored, key=lambda epoch: float(epoch["dev_cer"]))
        rates = f"WER {best['dev_wer']:.2f} %, CER {best['dev_cer']:.2f} %"
        lines += [f"{len(epochs)} epochs; the best one on dev, without a language model: {rates}.", ""]
    return lines


def main() -> None:
    """Parse the arguments, and print."""
    parser = argparse.ArgumentParser(description="Print the error rates of an experiment as Markdown.")
    parser.add_argument("exp", type=Path)
    parser.add_argument("--sets", required=True, type=str.split)
    parser.add_argument("--passes", required=True, type=str.split)
    parser.add_argument("--models", default="", help="language model of each pass: lm=NAME …")
    parser.add_argument("--full", default="", help="utterances of the complete sets: NAME=N …")
    args = parser.parse_args()
    models = dict(pair.split("=", 1) for pair in args.models.split())
    table, about = rates_table(args.exp, args.sets, args.passes, dict(pair.split("=") for pair in args.full.split()))
    used = [f"- {kind}: language model {models[kind]}" for kind in args.passes if kind in models]
    note = "References with the same hash are the same texts; `EXP/SET.DECODING.json` has the whole certificates."
    training = describe_training(args.exp)
    lines = [f"# Results of {args.exp}", "", *training, *table, "", *used, "", note, "", *about]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    try:
        main()
    except (OSError, KeyError, ValueError) as e:
        sys.exit(f"local/report.py: {e!r} (stage 11 writes what the report needs)")
