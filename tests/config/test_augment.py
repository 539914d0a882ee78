import pytest

from ds2cli.config.augment import AugmentConfig
from ds2cli.config.base import build
from ds2cli.errors import UsageError


def test_augmentation_is_off_by_default():
    assert not AugmentConfig().needs_audio


@pytest.mark.parametrize(
    "settings", [{"noise": "n.jsonl"}, {"rir": "r.jsonl"}, {"speeds": [0.9, 1.0]}, {"shift_ms": 5}]
)
def test_settings_that_need_the_recording(settings):
    assert build(AugmentConfig, ("x", settings)).needs_audio


def test_settings_that_work_on_stored_features():
    assert not AugmentConfig(speed=0.1, warp=0.1, freq_masks=2, time_masks=2, gain_db=6).needs_audio


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"snr_low": 20, "snr_high": 10}, "snr_low 20 is above snr_high 10"),
        ({"speeds": []}, "speeds is empty"),
        ({"speeds": [1.0, 3.0]}, "speeds: expected 0.5 to 2, got 3.0"),
        ({"noise_share": 1.5}, "noise_share: expected 0 to 1"),
        ({"snr": 10}, "did you mean"),
    ],
)
def test_wrong_settings_are_one_error_line(settings, message):
    with pytest.raises(UsageError, match=message):
        build(AugmentConfig, ("conf.toml", settings))


def test_a_single_ratio_is_a_range_too():
    assert AugmentConfig(snr_low=10, snr_high=10).snr_high == 10
