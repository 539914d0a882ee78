"""The bounds of the settings of searches and language models, which are inclusive."""

import pytest

from ds2cli.config.align import AlignConfig
from ds2cli.config.base import build
from ds2cli.config.decode import DecodeConfig
from ds2cli.config.lm import InfoConfig, LmConfig
from ds2cli.errors import UsageError


@pytest.mark.parametrize(
    ("config_type", "name", "allowed", "refused"),
    [
        (DecodeConfig, "alpha", [0.0, 9.0], [-0.01]),
        (DecodeConfig, "beta", [-9.0, 9.0], []),
        (DecodeConfig, "unknown", [-9.0, 9.0], []),
        (DecodeConfig, "unknown_letter", [-9.0, 9.0], []),
        (DecodeConfig, "hotword_weight", [-9.0, 9.0], []),
        (DecodeConfig, "beam", [1, 100000], [0, 100001]),
        (DecodeConfig, "beam_gap", [0.0, 99.0], [-0.01]),
        (DecodeConfig, "prune_mass", [0.0, 1.0], [-0.01, 1.01]),
        (DecodeConfig, "prune_top", [1, 9999], [0]),
        (DecodeConfig, "prune_logp", [-99.0, 0.0], [0.01]),
        (DecodeConfig, "nbest", [0, 100000], [-1, 100001]),
        (DecodeConfig, "partials", [0.001, 99.0], [0.0]),
        (DecodeConfig, "nj", [1], [0]),
        (DecodeConfig, "seed", [0], [-1]),
        (AlignConfig, "nj", [1], [0]),
        (LmConfig, "order", [1, 6], [0, 7]),
        (LmConfig, "vocab_size", [1, 999999], [0]),
        (InfoConfig, "most", [0], [-1]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_bounds(config_type, name, allowed, refused):
    for value in allowed:
        assert getattr(build(config_type, ("x", {name: value})), name) == value
    for value in refused:
        with pytest.raises(UsageError, match=f"x: {name}: expected "):
            build(config_type, ("x", {name: value}))
