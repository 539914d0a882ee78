"""Settings in words: `--print-config` and the texts of accepted values."""

import tomllib
from dataclasses import dataclass
from typing import Literal

import pytest

from ds2cli.config.base import Config, StageConfig, build, section, setting
from ds2cli.config.describe import annotated_toml, ordered_fields, toml_value, values_text


@dataclass(frozen=True, kw_only=True)
class Optim(Config):
    """Learning rate and epochs.

    More about them.
    """

    lr: float = setting(1e-3, help="Learning rate.", min=0.0)


@dataclass(frozen=True, kw_only=True)
class Settings(StageConfig):
    """Settings for these tests."""

    optim: Optim = section(Optim)
    note: str | None = setting(None, help="Note.")
    kind: Literal["a", "b"] = setting("a", help="Kind.")
    sizes: tuple[float, ...] = setting((1.0, 2.0), help="Sizes.", min=0.5)


TEXT = """\
# Note.
# text
# note = …

# Kind.
# "a" or "b"; default "a"
kind = "b"

# Sizes.
# list of numbers, at least 0.5
sizes = [1.0, 2.0]

# Refuse the result if more than this share of the utterances is bad (percent).
# number, 0 to 100
max_bad = 1.0

# File for the dropped utterances [default: OUT.dropped.jsonl; EXP/dropped.jsonl].
# text
# dropped = …

# Learning rate and epochs.
[optim]

# Learning rate.
# number, at least 0.0; default 0.001
lr = 0.5
"""


def test_annotated_toml_has_help_values_and_overridden_defaults():
    config = build(Settings, ("test", {"kind": "b", "optim": {"lr": 0.5}}))
    assert annotated_toml(config) == TEXT
    assert build(Settings, ("printed", tomllib.loads(TEXT))) == config


def test_own_settings_come_before_shared_ones_and_sections():
    names = [f.name for f in ordered_fields(Settings)]
    assert names == ["note", "kind", "sizes", "max_bad", "dropped", "optim"]


@pytest.mark.parametrize(
    "value", ['a "quoted"\n\\ word ü', "", 0, -4.0, 1e-14, 1e300, True, ["x", "y"], (0.9, 1.0), []]
)
def test_toml_value_is_read_back_unchanged(value):
    expected = list(value) if isinstance(value, tuple) else value
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == expected
    assert "\n" not in toml_value(value)


@pytest.mark.parametrize(
    "hint, limits, text",
    [
        (int | None, {"min": 1, "max": None}, "integer, at least 1"),
        (float, {"max": 0}, "number, at most 0"),
        (bool, {}, "true or false"),
        (Literal["a"], {}, '"a"'),
        (Literal["a", "b", "c"], {}, '"a", "b" or "c"'),
        (tuple[int, ...], {"min": 1, "max": 3}, "list of integers, 1 to 3"),
    ],
)
def test_values_text(hint, limits, text):
    assert values_text(hint, limits) == text
