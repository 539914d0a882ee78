import numpy as np
import pytest
import soundfile

from ds2cli.config.augment import AugmentConfig
from ds2cli.config.featurize import SpectrogramConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.feats.spectrogram import gain
from ds2cli.stages.augment import hear, listener
from ds2cli.train.augmenter import draw
from ds2cli.train.pools import open_pools


@pytest.fixture
def rows(tmp_path):
    out = []
    for name in ("a", "b/c", "é"):
        path = tmp_path / f"{len(out)}.wav"
        soundfile.write(path, 0.3 * np.random.default_rng(len(out)).standard_normal(16000), 16000)
        out.append({"id": name, "audio_filepath": str(path), "duration": 1.0})
    return out


def test_files_are_what_training_hears(tmp_path, rows, jsonl):
    noise = jsonl(tmp_path / "noise.jsonl", [{"id": "n", "audio_filepath": rows[2]["audio_filepath"]}])
    config = AugmentConfig(noise=noise, noise_share=0.5, speeds=(0.9, 1.0, 1.1))
    make, ledger = listener(config, 3, SpectrogramConfig()), Ledger()
    lost = {"id": "z", "audio_filepath": str(tmp_path / "none.wav")}
    for epoch in (0, 1, 2):
        warned = dict(hear(make, epoch, rows, str(tmp_path / "heard"), ledger))
        assert sorted(p.name for p in (tmp_path / "heard").iterdir()) == ["a.wav", "b_c.wav", "é.wav"]
        for row in rows:
            drawn = draw(config, 3, epoch, row["id"])
            heard, rate = soundfile.read(tmp_path / "heard" / (row["id"].replace("/", "_") + ".wav"), dtype="float32")
            assert rate == 16000
            assert len(heard) == pytest.approx(16000 / drawn.speed, abs=1)
            assert 20 * np.log10(1 / gain(heard, 0.0)) == pytest.approx(-20, abs=0.1)
            assert ("noise" in warned[row["id"]]) == (drawn.snr_db is not None)
            assert ("speed" in warned[row["id"]]) == (drawn.speed != 1)
    assert ledger.kept == 9
    assert not list(hear(make, 0, [lost, {"id": "y"}], str(tmp_path / "heard"), ledger))
    assert ledger.reasons == {"missing-audio": 1, "no-audio-filepath": 1}


def test_a_room_that_cannot_be_read_is_not_said_to_be_heard(tmp_path, rows, jsonl):
    soundfile.write(tmp_path / "silent.wav", np.zeros(1600), 16000)
    rir = jsonl(tmp_path / "rooms.jsonl", [{"id": "r", "audio_filepath": str(tmp_path / "silent.wav")}])
    make = listener(AugmentConfig(rir=rir, rir_share=1.0), 3, SpectrogramConfig())
    warned = dict(hear(make, 0, rows, str(tmp_path / "heard"), Ledger()))
    assert set(warned.values()) == {"as it is"} and make.rooms.failed


def test_what_is_loud_is_made_quieter_not_clipped(tmp_path):
    click = np.zeros(16000)
    click[100] = 0.5
    soundfile.write(tmp_path / "a.wav", click, 16000)
    make = listener(AugmentConfig(), 0, SpectrogramConfig())
    list(hear(make, 0, [{"id": "a", "audio_filepath": str(tmp_path / "a.wav")}], str(tmp_path), Ledger()))
    assert soundfile.read(tmp_path / "a.wav")[0].max() == pytest.approx(0.99, abs=1e-3)


def test_banks_are_those_asked_for_and_name_what_they_miss(tmp_path, rows, jsonl):
    assert open_pools(AugmentConfig()) == (None, None)
    path = jsonl(tmp_path / "x.jsonl", [rows[0], {"id": "b"}, {"id": "c", "audio_filepath": "none.wav"}])
    none, rooms = open_pools(AugmentConfig(rir=path))
    assert none is None
    assert len(rooms) == 1
    assert [said.split(":")[0] for said in rooms.failed.values()] == ["missing-audio", "no-audio-filepath"]
    empty = jsonl(tmp_path / "empty.jsonl", [])
    with pytest.raises(DataError, match=r"augment\.noise .*empty\.jsonl: none of 0 recordings can be used"):
        open_pools(AugmentConfig(noise=empty))
