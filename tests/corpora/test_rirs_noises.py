import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from ds2cli.corpora import rirs_noises
from ds2cli.corpora.rirs_noises import Options, fetch, prepare
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.stages import prepare as stage

REAL = "real_rirs_isotropic_noises"
SIMULATED = {
    size: [f"simulated_rirs/{size}/{room}/{room}-{i:05d}.wav" for room in rooms for i in (1, 2)]
    for size, rooms in {
        "smallroom": ("Room001", "Room002"),
        "mediumroom": ("Room001",),
        "largeroom": ("Room001",),
    }.items()
}
RESPONSES = {
    f"{REAL}/RVB2014_type1_rir_largeroom1_far_angla.wav": "RVB2014_largeroom1",
    f"{REAL}/RWCP_type4_rir_r1.wav": "RWCP_r1.wav",
    f"{REAL}/air_type1_air_binaural_aula_carolina_0_1_90_3.wav": "air_binaural_aula_carolina_0_1_90",
}
NOISES = {f"{REAL}/RVB2014_type1_noise_largeroom1_1.wav": "RVB2014_largeroom1"}
POINTS = {"noise-free-sound-0000": "foreground", "noise-free-sound-0001": "background"}


@pytest.fixture
def tree(tmp_path, shared_data):
    """The published layout, of other responses and noises; those of REAL have two channels."""
    folder = tmp_path / "RIRS_NOISES"
    rooms = sorted((shared_data / "rir").glob("*.wav"))
    noise, rate = soundfile.read(sorted((shared_data / "noise").glob("*.flac"))[0], dtype="float32", frames=32000)

    def write(name, samples):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, samples, rate)

    def listing(name, lines):
        (folder / name).write_text("".join(f"{line}\n" for line in lines))

    for number, (size, names) in enumerate(SIMULATED.items()):
        lines = []
        for name in names:
            write(name, soundfile.read(rooms[number])[0])
            room, stem = name.split("/")[2], name.rpartition("/")[2][:-4]
            lines.append(f"--rir-id {size}-{stem} --room-id {size}-{room} RIRS_NOISES/{name}")
        listing(f"simulated_rirs/{size}/rir_list", lines)
    for name in (*RESPONSES, *NOISES):
        first = soundfile.read(rooms[3])[0] if name in RESPONSES else noise
        write(name, np.stack([first, -first], axis=1))
    lines = enumerate(RESPONSES.items(), start=1)
    listing(f"{REAL}/rir_list", [f"--rir-id {n:05d} --room-id {room} RIRS_NOISES/{name}" for n, (name, room) in lines])
    kind = "--noise-type isotropic --room-linkage"
    lines = [f"--noise-id 00001 {kind} {room} RIRS_NOISES/{name}" for name, room in NOISES.items()]
    listing(f"{REAL}/noise_list", lines)
    for name in POINTS:
        write(f"pointsource_noises/{name}.wav", noise)
    kind = "--noise-type point-source --bg-fg-type"
    lines = [f'--noise-id {n} {kind} {fg} "RIRS_NOISES/pointsource_noises/{n}.wav"' for n, fg in POINTS.items()]
    listing("pointsource_noises/noise_list", lines)
    return folder


def run(source, **settings):
    ledger = Ledger()
    return list(stage.run("rirs_noises", str(source), Options(**settings), ledger)), ledger


def test_the_published_layout(tree):
    rows, ledger = run(tree)
    assert len(rows) == 11 and not ledger.rows
    found = {row["id"]: row for row in rows}
    row = found["smallroom-Room002-00001"]
    assert row["audio_filepath"].endswith("RIRS_NOISES/simulated_rirs/smallroom/Room002/Room002-00001.wav")
    assert (row["kind"], row["room"], row["channel"]) == ("smallroom", "smallroom-Room002", 0)
    assert found["RWCP_type4_rir_r1"]["room"] == "RWCP_r1.wav" and "text" not in row
    assert {"largeroom-Room001-00001", "mediumroom-Room001-00001", "smallroom-Room001-00001"} < found.keys()
    rows, ledger = run(tree, part="noises")
    assert [row["id"] for row in rows] == ["RVB2014_type1_noise_largeroom1_1", *POINTS] and not ledger.rows


@pytest.mark.parametrize(
    ("part", "number"),
    [
        ("simulated", 8),
        ("smallroom", 4),
        ("smallroom, real", 7),
        ("rirs,real", 11),
        ("isotropic", 1),
        ("pointsource", 2),
    ],
)
def test_parts(tree, part, number):
    assert len(run(tree, part=part)[0]) == number


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("real,pointsource", "responses and noises need a manifest each: one for rir, one for noise"),
        (
            "hugeroom",
            "--part hugeroom: expected any of simulated, rirs, noises, smallroom, mediumroom, largeroom, real",
        ),
    ],
)
def test_parts_that_are_refused(tree, part, message):
    with pytest.raises(UsageError, match=message):
        run(tree, part=part)


def test_a_room_is_in_one_split(tree):
    rows = [row for part in ("rirs", "noises") for row in run(tree, part=part)[0]]
    splits = {}
    for row in rows:
        splits.setdefault(row.get("room"), set()).add(row["split"])
    splits.pop(None)
    assert all(len(found) == 1 for found in splits.values()) and len(splits) == 7
    found = [len(run(tree, split=split)[0]) for split in ("train", "dev", "test")]
    assert sum(found) == 11


def test_channels(tree):
    assert {row["channel"] for row in run(tree, part="real", channel="1")[0]} == {1}
    assert not any("channel" in row for row in run(tree, part="real", channel="mix")[0])
    rows, _ = run(tree, part="isotropic", channel="each")
    assert [(row["id"][-4:], row["channel"]) for row in rows] == [("-ch0", 0), ("-ch1", 1)]


def test_whatever_is_wrong_costs_its_line(tree):
    (tree / "simulated_rirs/smallroom/Room001/Room001-00001.wav").unlink()
    (tree / "simulated_rirs/smallroom/Room001/Room001-00002.wav").write_bytes(b"")
    path = tree / "simulated_rirs/smallroom/rir_list"
    lines = path.read_text().splitlines()
    lines += [
        "",
        lines[2],
        "--rir-id 1 --room-id",
        '--rir-id 1 --room-id "open RIRS_NOISES/x.wav',
        "--rir-id 1 --room-id 1 sox RIRS_NOISES/x.wav -t wav - |",
        "RIRS_NOISES/pointsource_noises/noise-free-sound-0000.wav",
        "/lists/RIRS_NOISES/none.wav",
    ]
    path.write_text("\n".join(lines) + "\n")
    rows, ledger = run(tree, part="smallroom")
    assert [row["id"] for row in rows] == [
        "smallroom-Room002-00001",
        "smallroom-Room002-00002",
        "smallroom-noise-free-sound-0000",
    ]
    assert [(row["id"].rpartition("/")[2], row["reason"]) for row in ledger.rows] == [
        ("rir_list:1", "missing-audio"),
        ("rir_list:7", "bad-line"),
        ("rir_list:8", "bad-line"),
        ("rir_list:9", "bad-line"),
        ("rir_list:11", "missing-audio"),
        ("smallroom-Room001-00002", "empty-file"),
        ("smallroom-Room002-00001", "duplicate-id"),
    ]


def test_lists_that_are_empty_or_missing(tree):
    (tree / "pointsource_noises/noise_list").write_text("\n")
    with pytest.raises(DataError, match=r"pointsource_noises/noise_list: the list is empty"):
        run(tree, part="pointsource")
    shutil.rmtree(tree / "simulated_rirs/largeroom")
    with pytest.raises(DataError, match=r"no simulated_rirs/largeroom/rir_list in this folder, expected .*RIRS_NOISES"):
        run(tree)


@pytest.mark.parametrize("source", [".", "RIRS_NOISES/simulated_rirs", "RIRS_NOISES/simulated_rirs/smallroom"])
def test_a_wrong_source_names_the_right_one(tree, source):
    with pytest.raises(DataError, match=rf"expected the folder RIRS_NOISES with .* \(pass {tree}\)"):
        list(prepare(str(tree.parent / source), Options(), Ledger()))


def test_the_archive_is_downloaded(tree, tmp_path, site, packed, monkeypatch):
    files = {f"RIRS_NOISES/{p.relative_to(tree)}": p for p in sorted(tree.rglob("*")) if p.is_file()}
    archive = replace(rirs_noises.ARCHIVE, md5=site.put("28/rirs_noises.zip", packed["zip"](files)))
    monkeypatch.setattr(rirs_noises, "ARCHIVE", archive)
    for _ in range(2):
        fetch(str(tmp_path / "new"), Options(download=True, mirror=site.address))
    assert len(site.requests) == 1 and len(run(tmp_path / "new")[0]) == 11


def test_the_manifests_are_the_rooms_and_the_noise_of_an_augmentation(ds2, jsonl, tree, shared_data, tmp_path):
    for part, out in (("real", "rir.jsonl"), ("noises", "noise.jsonl")):
        done = ds2("prepare", "rirs_noises", tree, tmp_path / out, "--part", part)
        assert done.returncode == 0, done.stderr
    speech = next((shared_data / "LibriSpeech/dev-clean").rglob("*.flac"))
    source = jsonl(tmp_path / "in.jsonl", [{"id": "a", "audio_filepath": str(speech), "text": "x"}])
    options = [f"rir={tmp_path}/rir.jsonl", "rir_share=1.0", f"noise={tmp_path}/noise.jsonl", "noise_share=1.0"]
    settings = [word for option in options for word in ("--set", f"augment.{option}")]
    done = ds2("data", "augment", source, tmp_path / "out", *settings)
    assert done.returncode == 0, done.stderr
    assert "noise at" in done.stdout and "was not used" not in done.stderr
    # both channels of a response cancel each other: only one of them was taken
    clean, changed = soundfile.read(speech)[0], soundfile.read(tmp_path / "out/a.wav")[0]
    assert len(clean) == len(changed) and np.abs(changed).max() > 0.01 and not np.allclose(clean, changed, atol=1e-3)


@pytest.mark.peer
def test_the_recordings_are_those_of_lhotse(tree):
    recipes = pytest.importorskip("lhotse.recipes")
    for part, theirs in (
        ("simulated", "sim_rir"),
        ("real", "real_rir"),
        ("noises", "iso_noise"),
        ("noises", "point_noise"),
    ):
        expected = recipes.prepare_rir_noise(tree, parts=theirs)[theirs]["recordings"]
        names = {r.id.replace("-Room", "room-Room", 1): round(r.duration, 6) for r in expected}
        rows = {row["id"]: row["duration"] for row in run(tree, part=part)[0]}
        assert names.items() <= rows.items()
        # lhotse takes files by their names, and those of Aachen do not say what they are
        rest = rows.keys() - names.keys()
        assert part == "noises" or rest <= {"air_type1_air_binaural_aula_carolina_0_1_90_3"}
