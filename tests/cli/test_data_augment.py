import errno

import numpy as np
import pytest
import soundfile
import typer

from ds2cli.cli.main import app
from ds2cli.config.augment import AugmentConfig
from ds2cli.errors import Ds2Error
from ds2cli.train.augmenter import plan_augmentation


def recordings(tmp_path, jsonl):
    rows = []
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * np.random.default_rng(1).standard_normal(8000), 16000)
        rows.append({"id": name, "audio_filepath": f"{name}.wav"})
    return jsonl(tmp_path / "in.jsonl", rows)


def test_one_line_per_file_and_unreadable_noise_is_reported(ds2, jsonl, tmp_path):
    source = recordings(tmp_path, jsonl)
    noise = jsonl(
        tmp_path / "n.jsonl", [{"id": "x", "audio_filepath": "none.wav"}, {"id": "y", "audio_filepath": "a.wav"}]
    )
    (tmp_path / "t.toml").write_text(f'epochs = 3\n[augment]\nnoise = "{noise}"\nnoise_share = 1.0\n')
    done = ds2("data", "augment", source, tmp_path / "augmented", "--config", tmp_path / "t.toml", "--first", 2)
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["a", "b"]
    assert all("noise at" in line for line in done.stdout.splitlines())
    assert sorted(p.name for p in (tmp_path / "augmented").iterdir()) == ["a.wav", "b.wav"]
    assert "none.wav was not used: missing-audio" in done.stderr
    assert "augment: 2 in = 2 kept + 0 dropped" in done.stderr


def test_mistakes_are_reported_in_one_line(ds2, jsonl, tmp_path):
    source = recordings(tmp_path, jsonl)
    for setting, code, message in (
        ("augment.nois=x", 2, "did you mean 'noise'"),
        ("augment.noise=none.jsonl", 3, "none.jsonl"),
        ("augment.snr_low=40", 2, "snr_low 40 is above snr_high 30"),
    ):
        done = ds2("data", "augment", source, tmp_path / "augmented", "--set", setting)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        assert message in done.stderr
    assert not (tmp_path / "augmented").exists()


def augment(*arguments):
    """`ds2 data augment ARGUMENTS` in this process."""
    typer.main.get_command(app).main(["data", "augment", *map(str, arguments)], standalone_mode=False)


@pytest.mark.parametrize(("epoch", "seed"), [(0, 1), (4, 7)])
def test_the_epoch_the_seed_and_the_rate_are_those_given(jsonl, tmp_path, capsys, epoch, seed):
    source, speeds = recordings(tmp_path, jsonl), (0.8, 0.9, 1.1, 1.2)
    options = ("--set", "augment.speeds=[0.8, 0.9, 1.1, 1.2]", "--set", f"seed={seed}", "--rate", 8000)
    augment(source, tmp_path / "augmented", "--epoch", epoch, *options)
    drawn = {name: plan_augmentation(AugmentConfig(speeds=speeds), seed, epoch, name).speed for name in "abc"}
    assert capsys.readouterr().out.splitlines() == [f"{name}\tspeed {speed:g}" for name, speed in drawn.items()]
    for name, speed in drawn.items():
        info = soundfile.info(tmp_path / "augmented" / f"{name}.wav")
        assert info.samplerate == 8000 and abs(info.frames - 4000 / speed) <= 1


@pytest.mark.parametrize(("max_bad", "refused"), [(50, False), (49, True)])
def test_too_many_unreadable_recordings_are_an_error(jsonl, tmp_path, capsys, max_bad, refused):
    recordings(tmp_path, jsonl)
    rows = [{"id": "a", "audio_filepath": "a.wav"}, {"id": "b", "audio_filepath": "none.wav"}]
    arguments = (jsonl(tmp_path / "two.jsonl", rows), tmp_path / "augmented", "--set", f"max_bad={max_bad}")
    if refused:
        with pytest.raises(Ds2Error, match="augment: refused: 1 of 2 utterances are bad"):
            augment(*arguments)
    else:
        augment(*arguments)
    assert capsys.readouterr().out == "a\tunchanged\n"


def test_an_unreadable_impulse_response_is_reported(jsonl, tmp_path, capsys):
    source = recordings(tmp_path, jsonl)
    soundfile.write(tmp_path / "silent.wav", np.zeros(1600), 16000)
    rooms = jsonl(tmp_path / "rooms.jsonl", [{"id": "r", "audio_filepath": "silent.wav"}])
    augment(source, tmp_path / "augmented", "--set", f"augment.rir={rooms}", "--set", "augment.rir_share=1.0")
    out, err = capsys.readouterr()
    assert out == "a\tunchanged\nb\tunchanged\nc\tunchanged\n"
    assert "silent.wav was not used: " in err


def test_a_reader_that_leaves_is_noted_with_the_folder(tmp_path, jsonl, monkeypatch):
    def lose_reader(_):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("ds2cli.stages.augment.write_augmented", lambda *_: iter([("a", "no effect")]))
    monkeypatch.setattr("ds2cli.ui.echo", lose_reader)
    source = jsonl(tmp_path / "rows.jsonl", [{"id": "a", "audio_filepath": "a.wav"}])
    with pytest.raises(SystemExit) as end:
        typer.main.get_command(app).main(["data", "augment", source, "folder"], standalone_mode=False)
    assert end.value.__context__.__notes__ == ["the rest of folder"]
