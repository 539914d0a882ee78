"""Print the results of the recipe as Markdown: report.py EXP DATA. Error rates, a verdict on the training, advice."""

import json
import re
import sys
from pathlib import Path

from ds2cli import manifest, ui
from ds2cli.manifest_lines import read
from ds2cli.recommend.facts import FIELDS, measure
from ds2cli.recommend.verdict import decide

RATE = re.compile(r"%(WER|CER) ([\d.]+|inf) \[ (\d+) / (\d+)")


def read_rates(path: Path) -> dict[str, tuple[float, int]]:
    """WER and CER of a report of `ds2 score`: percent, and words or characters."""
    return {unit: (float(rate), int(total)) for unit, rate, _, total in RATE.findall(path.read_text("utf-8"))}


def read_texts(path: Path) -> list[str]:
    """The texts of a manifest."""
    return [row["text"] for row in manifest.read(str(path), ("id", "text"))]


def main(exp: Path, data: Path) -> None:
    """Print the report."""
    train = data / "train.good.jsonl"
    facts = measure(read(str(train), fields=FIELDS), None, str(train))
    dev = read_texts(exp / "dev.greedy.jsonl")
    speakers = f"speakers: {facts.speakers or 'unknown'}"
    ui.echo(f"Training: {facts.utterances} utterances, {facts.minutes:.1f} minutes; {speakers}.\n")
    ui.echo("| set | search | WER | CER | words |\n|:--|:--|--:|--:|--:|")
    for part in ("dev", "test"):
        for kind, name in (("greedy", "greedy"), ("lm", "language model")):
            file = exp / f"{part}.{kind}.wer"
            if file.exists():
                rates = read_rates(file)
                ui.echo(f"| {part} | {name} | {rates['WER'][0]:.1f} | {rates['CER'][0]:.1f} | {rates['WER'][1]} |")
    epochs = [json.loads(line) for line in (exp / "train.jsonl").read_text("utf-8").splitlines()]
    verdict = decide(epochs, read_rates(exp / "dev.greedy.wer")["CER"][0], read_texts(train), dev)
    ui.echo(f"\n{verdict.describe()}")
    if advice := verdict.advice(is_closed=facts.is_closed, minutes=facts.minutes):
        ui.echo("\nWhat may help:\n")
        for line in advice:
            ui.echo(f"- {line}")
    step = max(1, len(epochs) // 8)
    shown = sorted({*range(0, len(epochs), step), len(epochs) - 1})
    ui.echo("\n| epoch | " + " | ".join(str(epochs[i]["epoch"]) for i in shown) + " |")
    ui.echo("|:--|" + "--:|" * len(shown))
    for name, title in (("loss", "loss (nats per symbol)"), ("dev_cer", "dev CER (%)")):
        cells = ("" if epochs[i].get(name) is None else f"{epochs[i][name]:.2f}" for i in shown)
        ui.echo(f"| {title} | " + " | ".join(cells) + " |")
    ui.echo(
        f"\nUse it: `ds2 transcribe {exp} FILE… --lm {exp}/lm.arpa`; `ds2 export {exp} mine.ds2` makes one file of it."
    )


main(*map(Path, sys.argv[1:]))
