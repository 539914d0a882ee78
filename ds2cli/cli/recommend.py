"""`ds2 recommend ROWS [OUT.toml]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from ds2cli import ui
from ds2cli.cli.lib.options import with_config
from ds2cli.config.recommend import RecommendConfig

if TYPE_CHECKING:
    from ds2cli.recommend.rule import Start


@with_config(RecommendConfig)
def recommend(
    config: RecommendConfig,
    rows: Annotated[str, typer.Argument(metavar="ROWS", help="Manifest of the training set; - is standard input.")],
    out: Annotated[
        str | None,
        typer.Argument(metavar="OUT", help="TOML file to write for ds2 train --config; - is standard output."),
    ] = None,
) -> None:
    """Look at a training set; print what it has, settings that suit it, and which error rate to expect.

    Units, network, batches, epochs, learning rate and augmentation follow from the amount of speech, the speakers, the
    texts and their speed by a fixed rule. The rows may have features or not; no recording is read.

    Example: ds2 recommend data/train.jsonl exp/mine/train.toml
    """
    from dataclasses import asdict
    from json import dumps

    from ds2cli import __version__, io, manifest_lines
    from ds2cli.cli.lib.features import saved_features
    from ds2cli.config.features import FeatureConfig
    from ds2cli.recommend import describe, figures, rule
    from ds2cli.recommend.facts import FIELDS, choose_sample_rate, measure

    start = None if config.init is None else _read_start(config.init)
    saved = FeatureConfig.from_saved(saved_features(rows, config.features), rows)
    features = None if saved == FeatureConfig() else saved
    if start is not None and features is None:
        features = FeatureConfig.from_saved(start.features, start.path)
    facts = measure(manifest_lines.read(rows, fields=FIELDS), features, "IN" if rows == "-" else rows)
    settings, split = rule.choose(facts, start), rule.choose_split(facts)
    expected = figures.expect(facts)
    rate = choose_sample_rate(facts.sample_rates) if start is None or features is None else features.sample_rate
    chosen = FeatureConfig(sample_rate=rate) if features is None else features
    if out is not None:
        head = (f"Settings for ds2 train, chosen by ds2 recommend {__version__} for {rows}.", *expected)
        text = describe.to_toml(settings, head)
        with io.open_out(out) as f:
            f.write(text)
    if config.json:
        found = {
            "facts": {**asdict(facts), "is_closed": facts.is_closed},
            "settings": {s.name: s.value for s in settings},
            "split": split._asdict(),
        }
        # what `ds2 featurize --set` needs
        defaults = {**type(chosen)().features(), "kind": FeatureConfig.kind}
        changed = {name: value for name, value in chosen.features().items() if value != defaults.get(name)}
        ui.echo_data(dumps({**found, "sample_rate": rate, "features": changed, "expect": expected}))
        return
    # the settings go to standard output, the report to people
    echo = ui.log if out == "-" else ui.echo
    _print_pairs(echo, "data", describe.fact_lines(facts))
    split_line = ("split", f"--by {split.by} --parts {split.parts}: {split.reason}")
    rate_line = (
        "sample rate",
        f"{rate} Hz of the features" + (" (ds2 featurize --sample-rate)" if rate != 16000 else ""),
    )
    _print_pairs(echo, "settings", [*describe.setting_lines(settings), split_line, rate_line])
    _print_pairs(echo, "what to expect", [("", line) for line in expected])


def _print_pairs(echo: Callable[[str], None], title: str, pairs: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in pairs)
    echo(title)
    for name, value in pairs:
        echo(f"  {name:{width}}  {value}" if width else f"  {value}")


def _read_start(path: str) -> Start:
    """The settings of a trained network."""
    from ds2cli.config.base import as_dict
    from ds2cli.recommend.rule import Start
    from ds2cli.runtime.file import read_network

    network = read_network(path)
    return Start(path, as_dict(network.config), network.config.stride, network.features)
