"""The feature settings of a manifest, saved next to it by `ds2 featurize`, or by a `ds2 data` command after it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ds2cli import ui
from ds2cli.config.base import MADE_BY, build, read_toml
from ds2cli.config.features import FeatureConfig
from ds2cli.config.featurize import FeaturizeConfig
from ds2cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from ds2cli.recognizer.experiment import Experiment

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
    first: str = ""
    settings: dict[str, Any] | None = None
    for path in manifests:
        values = _read_settings(path)
        if values is None:
            continue
        try:
            found = FeatureConfig.from_saved(values, path).features()
        except UsageError:
            # passed on as they are: selecting rows does not need the plugin of their features
            found = values
        if settings is not None and found != settings:
            names = _differences(found, settings)
            raise DataError(f"{path}: its features have other settings than those of {first}: {names}")
        first, settings = first or path, found
    return {} if settings is None else {FEATURES: settings}


def warn_of_unknown_features(bins: int, features: dict[str, Any]) -> None:
    """Warn if features of `bins` bins cannot have these settings: the network could not recognize recordings."""
    from ds2cli.feats import kinds

    config = FeatureConfig.from_saved(features, "features")
    if (expected := kinds.num_bins(config)) != bins:
        ui.warn(
            f"train: the features have {bins} bins, {config.kind} features with the settings known have {expected}: "
            "the network will not recognize recordings (give the settings with --features)"
        )


def warn_of_other_features(manifest: str, experiment: Experiment) -> None:
    """`warn_of_other_settings` for the network of an experiment."""
    warn_of_other_settings(manifest, lambda: experiment.network.features, experiment.path)


def warn_of_other_settings(manifest: str, trained_on: Callable[[], dict[str, Any]], name: str) -> None:
    """Warn if the features of a manifest have other settings than those that the network was trained on.

    With the same number of bins nothing else shows it.
    trained_on: returns the settings of the latter; called if those of the manifest are known. name: of the network.
    """
    # without the plugin of the features, stored ones can be decoded, but not compared
    with contextlib.suppress(UsageError):
        found = _features_next_to(manifest)
        if found is None:
            return
        trained = FeatureConfig.from_saved(trained_on(), name).features()
        if found != trained:
            names = _differences(found, trained)
            ui.warn(f"{manifest}: its features have other settings than the network was trained on: {names}")


def _differences(first: dict[str, Any], second: dict[str, Any]) -> str:
    return ", ".join(name for name in sorted({*first, *second}) if first.get(name) != second.get(name))


def _features_next_to(manifest: str) -> dict[str, Any] | None:
    values = _read_settings(manifest)
    return None if values is None else FeatureConfig.from_saved(values, f"{manifest}.config.toml").features()


def _read_settings(manifest: str) -> dict[str, Any] | None:
    """The settings of features saved next to a manifest, unchecked; None if it has no features."""
    path = f"{manifest}.config.toml"
    # that of Path raises for some names; opening the manifest reports the error
    if manifest == "-" or not os.path.isfile(path):
        return None
    values = read_toml(path)
    made_by = values.get(MADE_BY, {})
    inherited = made_by.get(FEATURES) if isinstance(made_by, dict) else None
    if isinstance(inherited, dict):
        return inherited
    names = {f.name for f in fields(FeatureConfig)}
    if not names & values.keys():
        return None
    of_the_command = {MADE_BY, *(f.name for f in fields(FeaturizeConfig))} - names
    return {name: value for name, value in values.items() if name not in of_the_command}
