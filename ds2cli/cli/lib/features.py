"""The settings of stored features: next to the manifest that `ds2 featurize` wrote, and those made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ds2cli import ui
from ds2cli.config.base import MADE_BY, read_toml
from ds2cli.config.features import FeatureConfig
from ds2cli.errors import UsageError

FeaturesFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="TOML file of feature settings, as for ds2 featurize [default: TRAIN.config.toml]."
    ),
]


def saved_features(train: str, features: str | None = None) -> dict[str, Any]:
    """The feature settings in the file `features`, else those saved next to the manifest `train`, else the defaults."""
    if features:
        return FeatureConfig.from_saved(read_toml(features), features).features()
    return _find_settings(train) or FeatureConfig().features()


def inherited_features(*sources: str) -> dict[str, Any]:
    """What a manifest made from `sources` saves of their feature settings: {"features": settings}, {} without any.

    UsageError if the sources have different settings.
    """
    found = {source: settings for source in sources if (settings := _find_settings(source))}
    for source, settings in found.items():
        first = next(iter(found))
        if settings != found[first]:
            names = sorted(n for n in settings.keys() | found[first].keys() if settings.get(n) != found[first].get(n))
            raise UsageError(f"{source}: its features differ from those of {first} in {', '.join(names)}")
    return {"features": next(iter(found.values()))} if found else {}


def warn_of_other_features(bins: int, features: dict[str, Any]) -> None:
    """Warn if features of `bins` bins cannot have these settings: recordings could not be recognized."""
    from ds2cli.feats import kinds

    config = FeatureConfig.from_saved(features, "features")
    if bins != kinds.num_bins(config):
        ui.warn(
            f"train: the features have {bins} bins, {config.kind} features with the settings known have "
            f"{kinds.num_bins(config)}: the network will not recognize recordings (give the settings with --features)"
        )


def _find_settings(path: str) -> dict[str, Any] | None:
    """The feature settings saved next to a manifest by `ds2 featurize` or `ds2 data`; None if there are none."""
    file = f"{path}.config.toml"
    if path == "-" or not Path(file).is_file():
        return None
    saved = read_toml(file)
    inherited = saved.get(MADE_BY, {}).get("features")
    if inherited is None and "window_ms" not in saved:
        return None
    return FeatureConfig.from_saved(saved if inherited is None else inherited, file).features()
