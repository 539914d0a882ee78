import shutil
from dataclasses import replace

import pytest
import soundfile

from ds2cli.corpora import musan
from ds2cli.corpora.musan import Options, fetch, prepare
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.stages import prepare as stage

FILES = {
    **{f"noise/free-sound/noise-free-sound-{i:04d}.wav": "noise" for i in range(8)},
    "noise/sound-bible/noise-sound-bible-0000.wav": "noise",
    "music/fma/music-fma-0000.wav": "music",
    "music/hd-classical/music-hd-0000.wav": "music",
    "speech/us-gov/speech-us-gov-0000.wav": "speech",
}


@pytest.fixture
def tree(tmp_path, shared_data):
    """The published layout with its lists and licenses, of other noises."""
    folder = tmp_path / "musan"
    noises = sorted((shared_data / "noise").glob("*.flac"))
    for i, name in enumerate(FILES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples, rate = soundfile.read(noises[i % len(noises)], dtype="int16", frames=16000)
        soundfile.write(path, samples, rate)
        (path.parent / "LICENSE").write_text("public domain\n")
        (path.parent / "ANNOTATIONS").write_text("noise-free-sound-0000\n")
    (folder / "music/fma/ANNOTATIONS").write_text("music-fma-0000 pop,folk Y Some_Artist\n\n")
    (folder / "music/hd-classical/ANNOTATIONS").write_text("music-hd-0000 baroque N Some_Composer\n")
    (folder / "README").write_text("MUSAN\n")
    return folder


def run(source, **settings):
    ledger = Ledger()
    return list(stage.run("musan", str(source), Options(**settings), ledger)), ledger


def test_the_published_layout(tree):
    rows, ledger = run(tree)
    assert [row["id"] for row in rows] == sorted(name.rpartition("/")[2][:-4] for name in FILES if "noise" in name)
    assert not ledger.rows
    assert all("text" not in row and row["kind"] == "noise" and row["duration"] == 1.0 for row in rows)
    assert rows[0]["audio_filepath"].endswith("musan/noise/free-sound/noise-free-sound-0000.wav")


@pytest.mark.parametrize(
    ("part", "kinds"),
    [("all", {"noise", "music", "speech"}), ("music", {"music"}), ("speech, noise", {"speech", "noise"})],
)
def test_kinds(tree, part, kinds):
    rows, _ = run(tree, part=part)
    assert {row["kind"] for row in rows} == kinds
    assert len(rows) == sum(kind in kinds for kind in FILES.values())
    with pytest.raises(UsageError, match="--part noises: expected noise, music, speech or all"):
        run(tree, part="noises,music")


def test_music_without_singing(tree):
    rows, ledger = run(tree, part="music", vocals=False)
    assert [row["id"] for row in rows] == ["music-hd-0000"]
    assert [(row["id"], row["reason"], row["bad"]) for row in ledger.rows] == [("music-fma-0000", "vocals", False)]


def test_splits_are_disjoint_and_complete(tree):
    parts = {split: {row["id"] for row in run(tree, split=split)[0]} for split in ("train", "dev", "test", "all")}
    assert parts["train"] | parts["dev"] | parts["test"] == parts["all"]
    assert sum(map(len, parts.values())) == 2 * len(parts["all"])
    assert parts["test"] == {"noise-free-sound-0002", "noise-free-sound-0004"}


def test_whatever_is_wrong_costs_its_recording(tree):
    broken = tree / "noise/free-sound/noise-free-sound-0001.wav"
    broken.write_bytes(broken.read_bytes()[:400])
    shutil.copy(tree / "noise/free-sound/noise-free-sound-0002.wav", tree / "noise/sound-bible")
    (tree / "noise/lost").symlink_to("/missing/lost")
    rows, ledger = run(tree)
    assert len(rows) == 8
    assert {row["id"].rpartition("/")[2]: row["reason"] for row in ledger.rows} == {
        "noise-free-sound-0001": "truncated-audio",
        "noise-free-sound-0002": "duplicate-id",
        "lost": "broken-link",
    }


@pytest.mark.parametrize("source", [".", "musan/noise", "musan/noise/free-sound"])
def test_a_wrong_source_names_the_right_one(tree, source):
    with pytest.raises(DataError, match=rf"expected the folder musan with noise \(pass {tree}\)"):
        list(prepare(str(tree.parent / source), Options(), Ledger()))


def test_folders_that_are_missing_or_empty(tree):
    shutil.rmtree(tree / "music")
    with pytest.raises(DataError, match=r"no music in this folder, expected the folder musan with noise and music"):
        run(tree, part="noise,music")
    (tree / "music").mkdir()
    with pytest.raises(DataError, match=r"musan/music: no recordings such as"):
        run(tree, part="music")


def test_the_archive_is_downloaded(tree, tmp_path, site, packed, monkeypatch):
    files = {f"musan/{p.relative_to(tree)}": p for p in sorted(tree.rglob("*")) if p.is_file()}
    archive = replace(musan.ARCHIVE, md5=site.put("17/musan.tar.gz", packed["tar"](files)))
    monkeypatch.setattr(musan, "ARCHIVE", archive)
    for _ in range(2):
        fetch(str(tmp_path / "new"), Options(download=True, mirror=site.address))
    assert len(site.requests) == 1
    assert [row["id"] for row in run(tmp_path / "new", part="all")[0]] == [
        row["id"] for row in run(tree, part="all")[0]
    ]


def test_the_manifest_is_the_noise_of_an_augmentation(ds2, jsonl, tree, shared_data, tmp_path):
    assert ds2("prepare", "musan", tree, tmp_path / "noise.jsonl").returncode == 0
    speech = next((shared_data / "LibriSpeech/dev-clean").rglob("*.flac"))
    source = jsonl(tmp_path / "in.jsonl", [{"id": "a", "audio_filepath": str(speech), "text": "x"}])
    options = ("--set", f"augment.noise={tmp_path}/noise.jsonl", "--set", "augment.noise_share=1.0")
    done = ds2("data", "augment", source, tmp_path / "out", *options)
    assert done.returncode == 0 and "noise at" in done.stdout and "was not used" not in done.stderr
    clean, noisy = soundfile.read(speech)[0], soundfile.read(tmp_path / "out/a.wav")[0]
    assert len(clean) == len(noisy) and abs(noisy - clean).max() > 1e-3


@pytest.mark.peer
def test_the_recordings_are_those_of_lhotse(tree):
    recipes = pytest.importorskip("lhotse.recipes")
    for part in ("noise", "speech", "music"):
        expected = recipes.prepare_musan(tree, parts=part, use_vocals=part != "music")[part]
        expected = expected.get("supervisions", expected["recordings"])
        rows, _ = run(tree, part=part, vocals=part != "music")
        assert [(row["id"], row["duration"]) for row in rows] == sorted((r.id, r.duration) for r in expected)
