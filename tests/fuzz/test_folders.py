"""Fuzz the search of folders: any names, links and loops, texts in any encoding, and LibriSpeech's lists."""

import os
import wave
from pathlib import Path

from fuzzing import check_counts, ds2, fuzz
from hypothesis import strategies as st
from inputs import ENCODINGS, NAMES, TEXTS, damaged, encode

ENDINGS = st.sampled_from([".wav", ".WAV", ".flac", ".txt", ".TXT", ".mp3", ".jsonl", ".raw", "", ".", ".md"])
FILES = st.tuples(st.one_of(NAMES, st.sampled_from("abc")), ENDINGS).map("".join).filter(lambda n: n not in (".", ".."))
FOLDERS = st.lists(st.sampled_from(["x", "y", "é", "__MACOSX", ".hidden", "._x"]), max_size=2).map("/".join)
CONTENTS = st.one_of(
    st.sampled_from(["recording", "recording", "folder", "link", "loop", "broken link", "pipe", "closed", "no folder"]),
    st.tuples(TEXTS, ENCODINGS),
    st.binary(max_size=60),
)


def write_recording(path):
    with wave.open(str(path), "wb") as f:
        f.setparams((1, 2, 8000, 0, "NONE", ""))
        f.writeframes(bytes(8000))


def add(path, content):
    """Put something in a folder, unless something is there already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.exists():
            return
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, tuple):
            path.write_bytes(encode(*content))
        elif content == "recording":
            write_recording(path)
        elif content == "folder":
            path.mkdir()
        elif content == "link":
            path.symlink_to(Path("outside").absolute())
        elif content == "loop":
            path.symlink_to("..")
        elif content == "broken link":
            path.symlink_to("nothing")
        elif content == "pipe":
            os.mkfifo(path)
        elif content == "closed":
            path.mkdir(mode=0)
    except OSError:
        # a name that this file system does not take, or a file where a folder should be
        pass


@fuzz(
    st.lists(st.tuples(FOLDERS, FILES, CONTENTS), max_size=8),
    st.sampled_from([(), ("--no-text",), ("--speaker", "folder"), ("--speaker", "^(.)"), ("--numbers", "spell")]),
)
def test_any_folder(things, options):
    Path("in").mkdir()
    Path("outside").mkdir()
    write_recording("outside/far.wav")
    for folder, name, content in things:
        add(Path("in", folder, name), content)
    recordings = {p.resolve() for p in Path("in").rglob("*.wav") if p.is_file()}
    run = ds2("prepare", "folder", "in", "out.jsonl", "--max-bad", 100, "--nj", 1, *options)
    check_counts(run, "out.jsonl")
    visible = [
        p for p in recordings if not {"__MACOSX"} & set(p.parts) and not any(x.startswith("._") for x in p.parts)
    ]
    if run.status == 0 and visible:
        assert int(run.stderr.split(" in = ")[0].split()[-1]) >= len(visible), str(run)
    for path in Path("in").rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)


LINES = [
    *(
        "1-2-0000 HELLO WORLD",
        "1-2-0001 IT'S 10",
        "1-2-0002",
        "1-2-0003\tTAB",
        "",
        " ",
        "1-2-0000 AGAIN",
        "\ufeff1-2-0001 X",
    ),
    *("other TEXT", "../1-2-0000 UP", "1-2-0004 \udce9", "1-2-0000"),
]


@fuzz(st.lists(st.sampled_from(LINES), max_size=6), st.integers(0, 4), st.data(), ENCODINGS)
def test_the_lists_of_librispeech(lines, recordings, data, encoding):
    chapter = Path("LibriSpeech/dev/1/2")
    chapter.mkdir(parents=True)
    for i in range(recordings):
        write_recording(chapter / f"1-2-000{i}.flac")
    text = encode("\n".join(lines), encoding)
    (chapter / "1-2.trans.txt").write_bytes(data.draw(st.one_of(st.just(text), damaged(text))))
    check_counts(ds2("prepare", "librispeech", "LibriSpeech", "out.jsonl", "--max-bad", 100, "--nj", 1), "out.jsonl")
