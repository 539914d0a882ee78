"""The correction of word times in an experiment."""

from __future__ import annotations

import tomllib

import pytest

from ds2cli.config.align import AlignConfig
from ds2cli.config.decode import DecodeConfig
from ds2cli.errors import UsageError
from ds2cli.recognizer.decoder import resolve_settings
from ds2cli.recognizer.timing import read_timing, resolve_timing, save_timing, timing_of
from ds2cli.search.timing import Timing


def test_what_is_stored_is_the_default(tmp_path):
    assert timing_of(resolve_timing(AlignConfig(), str(tmp_path))) == Timing()
    stored = save_timing(str(tmp_path), Timing(0.03746, 0.0501), made_on="dev.jsonl")
    assert stored == Timing(0.0375, 0.0501)
    values = tomllib.loads((tmp_path / "align.toml").read_text())
    assert (values["shift_ms"], values["extend_ms"], values["made_by"]["made_on"]) == (37.5, 50.1, "dev.jsonl")
    assert timing_of(resolve_timing(AlignConfig(), str(tmp_path))) == stored
    assert timing_of(resolve_timing(AlignConfig(shift_ms=0.0), str(tmp_path))) == Timing(0.0, 0.0501)
    assert timing_of(resolve_timing(AlignConfig(shift_ms=-5.0, extend_ms=0.0), str(tmp_path))) == Timing(-0.005, 0.0)


def test_the_search_needs_it_for_timestamps_only(tmp_path):
    save_timing(str(tmp_path), Timing(0.02, 0.03))
    assert resolve_settings(DecodeConfig(timestamps=True), str(tmp_path)).shift_ms == 20.0
    (tmp_path / "align.toml").write_text("broken")
    assert resolve_settings(DecodeConfig(), str(tmp_path)).shift_ms is None
    with pytest.raises(UsageError, match=r"align\.toml"):
        resolve_settings(DecodeConfig(timestamps=True), str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shift_ms = 5\nshifts = 3", "align.toml: unknown setting 'shifts', did you mean 'shift_ms'?"),
        ('shift_ms = "5"', "align.toml: shift_ms: expected a number, got '5'"),
        ("shift_ms = nan", "align.toml: shift_ms: expected a finite number, got nan"),
        ("shift_ms = 1e9", "align.toml: shift_ms: expected -1000 to 1000, got 1000000000.0"),
        ("extend_ms = -1", "align.toml: extend_ms: expected 0 to 1000, got -1.0"),
        ("shift_ms = \n", "align.toml:1: not valid TOML"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, text, message):
    (tmp_path / "align.toml").write_text(text)
    with pytest.raises(UsageError) as error:
        read_timing(str(tmp_path))
    assert message in str(error.value)
    # not needed where both are given
    assert timing_of(resolve_timing(AlignConfig(shift_ms=1.0, extend_ms=2.0), str(tmp_path))) == Timing(0.001, 0.002)
