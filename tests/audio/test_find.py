import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2cli.audio.find import find_audio, pair_texts, walk_files
from ds2cli.audio.read import is_audio
from ds2cli.errors import DataError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A function that writes files into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(*names, content=b""):
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(content)

    return write


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).normal(size=8000), 8000)
    return path


def recordings(folder):
    return [str(recording.path) for recording in find_audio(folder)[0]]


def left(folder):
    """The reason of each thing that is no recording; `(reason)` if it does not count as bad."""
    return {str(i.path): i.error.reason if i.bad else f"({i.error.reason})" for i in find_audio(folder)[1]}


def test_endings_are_known_in_any_case(tree):
    names = ["in/a.WAV", "in/b/c.Flac", "in/b/d.MP3", "in/e.WmA", "in/f.m4A", "in/g.AMR", "in/h.aifc", "in/i.SPX"]
    tree(*names)
    assert recordings("in") == sorted(names)
    assert left("in") == {}


@pytest.mark.parametrize("name", ["noending", "call.rec", "1.0", "video.xyz", "a.TS"])
def test_ffmpeg_is_tried_last_on_what_is_not_known(tree, wav, name):
    tree("in/notes.pdf", "in/x.zip", content=b"no recording\n" * 99)
    shutil.copy(wav, f"in/{name}")
    assert recordings("in") == [f"in/{name}"]
    assert left("in") == {"in/notes.pdf": "(other-file)", "in/x.zip": "(other-file)"}


def test_real_files_of_other_kinds_are_no_recordings():
    """Compiled code, arrays, sources and pictures of the installed packages."""
    import matplotlib

    files = [path for path in Path(matplotlib.__file__).parent.rglob("*") if path.is_file()][::40]
    assert len({path.suffix for path in files}) > 3
    assert not any(is_audio(path) for path in [*files, Path(os.sys.executable)])


def test_an_archive_of_recordings_is_no_recording(tree, shared_data):
    """FFmpeg finds MP3 frames in it."""
    clips = sorted((shared_data / "commonvoice").rglob("*.mp3"))[:5]
    tree("in/a.mp3", content=clips[0].read_bytes())
    tree("in/b", content=clips[1].read_bytes())
    with zipfile.ZipFile("in/c.zip", "w") as packed, tarfile.open("in/d.tar", "w") as taped:
        for clip in clips:
            packed.write(clip, clip.name)
            taped.add(clip, clip.name)
    tree("in/e.parquet", content=b"PAR1" + b"".join(clip.read_bytes() for clip in clips))
    assert recordings("in") == ["in/a.mp3", "in/b"]
    assert left("in") == {f"in/{name}": "(other-file)" for name in ("c.zip", "d.tar", "e.parquet")}


def test_a_playlist_is_no_recording(tree, wav):
    shutil.copy(wav, "a.wav")
    tree("in/list", content=b"ffconcat version 1.0\nfile ../a.wav\n")
    with pytest.raises(DataError, match="in this folder, only in/list: expected"):
        find_audio("in")


def test_files_of_the_system_are_not_even_counted(tree):
    tree("in/a.wav", "in/._a.wav", "in/.DS_Store", "in/__MACOSX/._a.wav", "in/__MACOSX/b.wav", "in/Thumbs.db")
    tree("in/.git/objects/a1", "in/.git/x.wav", "in/lost+found/y.wav", "in/@eaDir/a.wav/SYNO.mp3", "in/.hidden")
    # what ds2 writes there, and has not finished writing
    tree("in/all.jsonl", "in/all.jsonl.config.toml", "in/all.jsonl.dropped.jsonl", "in/b.jsonl.gz")
    tree("in/.123.part.all.jsonl")
    assert recordings("in") == ["in/a.wav"]
    assert left("in") == {}


def test_a_hidden_recording_is_a_recording(tree):
    tree("in/.a.wav", "in/.b/c.wav")
    assert recordings("in") == ["in/.a.wav", "in/.b/c.wav"]


def test_links_to_folders_and_files_are_followed(tree):
    tree("in/a/1.wav", "out/b/2.wav", "out/b/deep/3.wav", "out/4.wav", "out/5")
    Path("in/b").symlink_to("../out/b")
    Path("in/a/more").symlink_to(Path("out").resolve())
    Path("in/linked.wav").symlink_to("../out/4.wav")
    assert recordings("in") == [
        "in/a/1.wav",
        "in/a/more/4.wav",
        "in/b/2.wav",
        "in/b/deep/3.wav",
        "in/linked.wav",
    ]
    # each folder once: out/b by its first link
    assert left("in") == {"in/a/more/5": "(other-file)", "in/a/more/b": "(repeated-folder)"}


def test_the_folder_itself_may_be_a_link(tree):
    tree("out/b/2.wav")
    Path("in").symlink_to("out")
    assert recordings("in") == recordings("in/") == ["in/b/2.wav"]


@pytest.mark.parametrize("target", [".", "..", "../..", "/", "../a", "../a/b"])
def test_loops_of_links_end(tree, target):
    tree("in/a/1.wav", "in/a/b/2.wav", "other/3.wav")
    Path("in/a/b/loop").symlink_to(target)
    expected = ["in/a/1.wav", "in/a/b/2.wav"]
    assert recordings("in") == expected
    assert list(left("in").values()) in (["(repeated-folder)"], ["broken-link"])


def test_a_folder_proper_wins_over_links_to_it(tree):
    tree("in/z/1.wav")
    Path("in/a").symlink_to("z")
    Path("in/b").symlink_to("z")
    assert recordings("in") == ["in/z/1.wav"]
    assert left("in") == {"in/a": "(repeated-folder)", "in/b": "(repeated-folder)"}


def test_links_to_nothing_are_named(tree):
    tree("in/a.wav")
    for name in ("speaker", "b.wav", "c.txt"):
        Path("in", name).symlink_to(f"/missing/{name}")
    for name in ("self", "self.wav", "self.txt"):
        Path("in", name).symlink_to(name)
    assert recordings("in") == ["in/a.wav"]
    assert left("in") == {
        "in/b.wav": "missing-audio",
        "in/c.txt": "(no-recording)",
        "in/self": "broken-link",
        "in/self.txt": "(no-recording)",
        "in/self.wav": "missing-audio",
        "in/speaker": "broken-link",
    }
    details = [item.error.detail for item in find_audio("in")[1]]
    assert "in/speaker -> /missing/speaker: no such file or directory" in details


def test_pipes_are_not_opened(tree):
    tree("in/a.wav")
    for name in ("b.wav", "c", "d.txt"):
        os.mkfifo(f"in/{name}")
    assert recordings("in") == ["in/a.wav"]
    assert left("in") == {"in/b.wav": "unreadable-audio", "in/c": "(other-file)", "in/d.txt": "(other-file)"}


def test_a_folder_that_cannot_be_entered_is_named(tree, monkeypatch):
    tree("in/a/1.wav", "in/b/2.wav")
    scandir = os.scandir

    def refuse(path):
        """For root, who may enter any folder."""
        if str(path) == "in/b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert recordings("in") == ["in/a/1.wav"]
    assert left("in") == {"in/b": "unreadable-folder"}
    # nothing is said about a folder that may be full of recordings
    shutil.rmtree("in/a")
    assert left("in") == {"in/b": "unreadable-folder"}


def test_a_file_that_may_be_a_recording_and_cannot_be_opened_is_named(tree, monkeypatch):
    tree("in/a.wav", "in/b", "in/c.txt", "in/d.wav")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "b")
    assert recordings("in") == ["in/a.wav", "in/d.wav"]
    assert left("in") == {"in/b": "unreadable-file", "in/c.txt": "(no-recording)"}


def test_the_current_folder_may_be_gone(tree, monkeypatch):
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path("../gone").rmdir()
    with pytest.raises(DataError, match=r"^\.: no audio files in this folder"):
        find_audio(".")


def test_a_path_that_is_too_long_is_an_unreadable_folder(tree):
    tree("in/a.wav")
    descriptor = os.open("in", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=descriptor)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    assert recordings("in") == ["in/a.wav"]
    (item,) = find_audio("in")[1]
    assert item.error.reason == "unreadable-folder" and "too long" in item.error.detail and item.bad


@pytest.mark.parametrize(
    "folder, message",
    [
        ("missing", r"^missing: no such folder$"),
        ("a.wav", r"^a\.wav: this is a file, expected a folder$"),
        ("loop", r"^loop: too many levels of symbolic links$"),
        ("n" * 300, r"^n{300}: file name too long$"),
        ("empty", r"^empty: no audio files in this folder: expected \.wav"),
    ],
)
def test_a_folder_that_cannot_be_searched(tree, folder, message):
    tree("a.wav")
    Path("loop").symlink_to("loop")
    Path("empty").mkdir()
    with pytest.raises(DataError, match=message):
        find_audio(folder)


def test_texts_are_paired_in_any_case():
    def paired(recordings, texts):
        return {str(a): str(b) for a, b in pair_texts(map(Path, recordings), map(Path, texts)).items()}

    assert paired(["a.WAV", "b.wav"], ["a.TXT", "b.Txt"]) == {"a.WAV": "a.TXT", "b.wav": "b.Txt"}
    assert paired(["x/REC.wav"], ["x/rec.txt", "rec.txt"]) == {"x/REC.wav": "x/rec.txt"}
    # the same name, before those that differ in case
    assert paired(["a.wav", "A.wav"], ["a.txt", "A.txt"]) == {"a.wav": "a.txt", "A.wav": "A.txt"}
    assert paired(["aB.wav"], ["ab.txt", "AB.txt"]) == {}
    assert paired(["a.wav"], ["a.TXT", "a.txt"]) == {"a.wav": "a.txt"}
    assert paired(["a.b.wav"], ["a.txt", "a.b.txt"]) == {"a.b.wav": "a.b.txt"}
    # one recording in two formats
    assert paired(["a.wav", "a.mp3"], ["a.txt"]) == {"a.wav": "a.txt", "a.mp3": "a.txt"}


def test_a_text_without_a_recording_is_counted(tree):
    tree("in/a.wav", "in/a.txt", "in/b.txt", "in/README.txt", "in/c/a.txt")
    assert [str(recording.text) for recording in find_audio("in")[0]] == ["in/a.txt"]
    assert left("in") == {
        "in/README.txt": "(no-recording)",
        "in/b.txt": "(no-recording)",
        "in/c/a.txt": "(no-recording)",
    }


def test_everything_in_a_tree_is_found_or_left_once(tree, wav):
    """Trees of random files, folders and links: each file proper is a recording, a text, or left over."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        root = Path(f"tree{seed}")
        folders = [root]
        root.mkdir()
        files = []
        for number in range(30):
            parent = folders[random.integers(len(folders))]
            kind = random.integers(4)
            path = parent / f"{number}{['', '.wav', '.txt', '.dat'][random.integers(4)]}"
            if kind == 0:
                path.mkdir()
                folders.append(path)
            elif kind == 1:
                targets = [*folders, *files, Path("missing"), path]
                path.symlink_to(targets[random.integers(len(targets))].absolute())
            else:
                path.touch()
                files.append(path)
        if not any(path.suffix == ".wav" for path in files):
            continue
        found, rest = walk_files(root)
        proper = [path for path in found if not path.is_symlink()]
        assert sorted(proper) == sorted(files)
        assert len({*found, *(item.path for item in rest)}) == len(found) + len(rest)
        results, rest = find_audio(root)
        paths = [item.path for item in [*results, *rest]]
        assert len(set(paths)) == len(paths)
        texts = {recording.text for recording in results} - {None}
        assert {*paths, *texts} >= set(files)
