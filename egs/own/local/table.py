"""Print the runs of seeds.sh as a Markdown table: table.py EXP CORPORA SEEDS, of runs with a report."""

import json
import re
import sys
from pathlib import Path
from statistics import mean

from ds2cli import ui

COLUMNS = ("dev CER", "dev WER", "dev WER with LM", "test CER", "test WER", "test WER with LM")
FILES = (("dev.greedy", "CER"), ("dev.greedy", "WER"), ("dev.lm", "WER"))
STATE = re.compile(r"^The network has ([a-z ]+):", re.MULTILINE)


def read_rate(run: Path, name: str, unit: str) -> float | None:
    """A rate of a report of `ds2 score` (percent); None without a report."""
    file = run / f"{name}.wer"
    return float(re.search(rf"%{unit} ([\d.]+|inf)", file.read_text("utf-8"))[1]) if file.exists() else None


def format_rate(rate: float | None) -> str:
    """A cell of the table."""
    return "" if rate is None else f"{rate:.1f}"


def main(exp: Path, corpora: str, seeds: str) -> None:
    """Print a row for each run, and one for each corpus with means and ranges."""
    ui.echo(f"| corpus, seed | loss | {' | '.join(COLUMNS)} | verdict |")
    ui.echo(f"|:--|{'--:|' * (len(COLUMNS) + 1)}:--|")
    for corpus in corpora.split():
        rows, states = [], []
        for seed in seeds.split():
            run = exp / f"{corpus}.{seed}"
            if not (run / "report.md").exists():
                continue
            loss = json.loads((run / "train.jsonl").read_text("utf-8").splitlines()[-1])["loss"]
            states.append(STATE.search((run / "report.md").read_text("utf-8"))[1])
            pairs = [*FILES, *((name.replace("dev", "test"), unit) for name, unit in FILES)]
            rows.append([read_rate(run, name, unit) for name, unit in pairs])
            cells = " | ".join(map(format_rate, rows[-1]))
            ui.echo(f"| {corpus}, {seed} | {'' if loss is None else f'{loss:.3f}'} | {cells} | {states[-1]} |")
        spans = []
        for column in zip(*rows, strict=True):
            known = [rate for rate in column if rate is not None]
            spans.append(f"{mean(known):.1f} ({min(known):.1f}-{max(known):.1f})" if known else "")
        if rows:
            learned = f"{states.count('learned')} of {len(states)} learned"
            ui.echo(f"| **{corpus}, mean and range** | | {' | '.join(spans)} | {learned} |")


main(Path(sys.argv[1]), *sys.argv[2:])
