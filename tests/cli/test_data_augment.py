import numpy as np
import soundfile


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
