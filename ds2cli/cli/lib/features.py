"""The feature settings of a manifest, saved next to it by `ds2 featurize`, or by a `ds2 data` command after it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from ds2cli import ui
from ds2cli.config.base import MADE_BY, build, read_toml
from ds2cli.config.features import FeatureConfig
from ds2cli.config.featurize import FeaturizeConfig
from ds2cli.errors import DataError

FEATURES = "features"
"""Table of `made_by` in which a command that selects or merges rows saves the settings of their features."""


def saved_features(manifest: str, file: str | None = None) -> dict[str, Any]:
    """The settings in `file`, as for `ds2 featurize`, else those saved next to the manifest, else the defaults.

    UsageError for an unknown setting in `file`, or an unknown kind.
    """
    if file:
        return build(FeaturizeConfig, (file, read_toml(file))).features()
    found = _features_next_to(manifest)
    return FeatureConfig().features() if found is None else found


def inherit_features(manifests: Iterable[str]) -> dict[str, Any]:
    """What a command that selects or merges rows records of them: {"features": settings}, {} if they have none.

    DataError if the manifests have features of different settings, which one network cannot use.
    """
    first, settings = "", None
    for path in manifests:
        found = _features_next_to(path)
        if found is None:
            continue
        if settings is not None and found != settings:
            names = [n for n in sorted({*found, *settings}) if found.get(n) != settings.get(n)]
            raise DataError(f"{path}: its features have other settings than those of {first}: {', '.join(names)}")
        first, settings = first or path, found
    return {} if settings is None else {FEATURES: settings}


def warn_of_other_features(bins: int, features: dict[str, Any]) -> None:
    """Warn if features of `bins` bins cannot have these settings: the network could not recognize recordings."""
    from ds2cli.feats import kinds

    config = FeatureConfig.from_saved(features, "features")
    if (expected := kinds.num_bins(config)) != bins:
        ui.warn(
            f"train: the features have {bins} bins, {config.kind} features with the settings known have {expected}: "
            "the network will not recognize recordings (give the settings with --features)"
        )


def _features_next_to(manifest: str) -> dict[str, Any] | None:
    path = f"{manifest}.config.toml"
    if manifest == "-" or not Path(path).is_file():
        return None
    values = read_toml(path)
    made_by = values.get(MADE_BY, {})
    inherited = made_by.get(FEATURES) if isinstance(made_by, dict) else None
    if isinstance(inherited, dict):
        return FeatureConfig.from_saved(inherited, path).features()
    # a manifest without features has none of these settings
    has_features = any(f.name in values for f in fields(FeatureConfig))
    return FeatureConfig.from_saved(values, path).features() if has_features else None
