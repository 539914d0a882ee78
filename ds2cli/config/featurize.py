"""Settings of `ds2 featurize`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal

from ds2cli.config.base import Config, StageConfig, setting
from ds2cli.config.features import FeatureConfig, restore
from ds2cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class FeaturizeConfig(FeatureConfig, StageConfig):
    """Compute features and their normalization statistics."""

    dir: str | None = setting(None, help="Folder for the archives [default: feats/ next to OUT].", same_result=True)
    nj: int = setting(1, help="Number of processes; the result does not depend on it.", min=1, max=1024, per_core=1)
    compress: bool = setting(
        False, help="Store one byte per bin instead of four (Kaldi's compressed matrices, slightly lossy)."
    )
    speeds: str = setting(
        "1.0", help='Speed factors, one copy each, such as "0.9 1.0 1.1"; ids at speeds other than 1 become sp0.9-ID.'
    )
    channel: str = setting(
        "mix", help="Channel of multi-channel files whose rows state none: mix (the mean of all) or a number from 0."
    )
    resample: Literal["yes", "no"] = setting("yes", help="Files with another sample rate: resample (yes) or drop (no).")
    min_duration: float = setting(0.0, help="Drop utterances shorter than this, after the change of speed (s).", min=0)
    max_duration: float | None = setting(
        None, help="Drop utterances longer than this, after the change of speed (s).", min=0
    )

    @classmethod
    def select(cls, values: Mapping[str, Any]) -> type[Config]:
        """This class with the settings of the kind in `values`; UsageError for an unknown one."""
        kind_config: Any = FeatureConfig.select(values)
        return _with_settings(kind_config)

    def __reduce__(self) -> tuple[Any, ...]:
        return restore, (FeaturizeConfig, vars(self))


@cache
def _with_settings(kind_config: Any) -> type[Config]:
    """FeaturizeConfig with the settings of a kind."""
    if kind_config is FeatureConfig:
        return FeaturizeConfig
    # `compress`, for one, is a likely name for a setting of features, and would change how they are stored
    own = {f.name for f in fields(kind_config)} - {f.name for f in fields(FeatureConfig)}
    if taken := own & {f.name for f in fields(FeaturizeConfig)}:
        names = ", ".join(sorted(taken))
        raise UsageError(f"{kind_config.__module__}: {names}: a setting of ds2 featurize has this name (rename it)")
    combined = type("FeaturizeConfig", (kind_config, FeaturizeConfig), {"__doc__": FeaturizeConfig.__doc__})
    return dataclass(frozen=True, kw_only=True)(combined)
