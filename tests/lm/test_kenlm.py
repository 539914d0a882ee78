"""KenLM's binary files: layout, refused files, and memory shared between processes."""

import gzip
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ds2cli.errors import DataError
from ds2cli.kernels.ngram import ngram_sentence
from ds2cli.lm import arpa, kenlm, lmplz
from ds2cli.lm.query import NgramLm

ROOT = Path(__file__).parents[2]
ORDER, MULTIPLIER, TYPE, WORDS, VERSION, COUNTS = 88, 92, 96, 100, 104, 108
"""Byte offsets in the header."""


@pytest.fixture
def model(estimate_lm):
    return estimate_lm("ü b c\nb c d\nd e ü b\n" * 2, 3)


@pytest.fixture
def binary(model, tmp_path):
    """A valid binary file."""
    path = tmp_path / "x.bin"
    NgramLm.from_arpa(model).model.write(str(path))
    return path


def test_round_trip(model, binary):
    lm, mapped = NgramLm.from_arpa(model), NgramLm.load(str(binary))
    assert mapped.words == lm.words == ["<unk>", "<s>", "</s>", "ü", "b", "c", "d", "e"]
    assert mapped.counts == lm.counts == model.counts
    assert mapped.order == 3
    assert mapped.sentence_log10("ü b nie") == lm.sentence_log10("ü b nie")
    assert "ü" in mapped
    assert "ﬁ" not in mapped


def test_the_format_is_found_by_content_not_by_name(model, binary, tmp_path):
    binary.rename(tmp_path / "x.arpa")
    assert NgramLm.load(str(tmp_path / "x.arpa")).counts == model.counts
    (tmp_path / "x.bin").write_bytes(gzip.compress("".join(arpa.lines(model)).encode()))
    assert NgramLm.load(str(tmp_path / "x.bin")).counts == model.counts


def test_mapped_and_built_models_have_one_compiled_type(model, binary):
    NgramLm.load(str(binary)).sentence_log10("b c")
    before = len(ngram_sentence.signatures)
    for lm in (NgramLm.load(str(binary)), NgramLm.from_arpa(model), NgramLm.none()):
        lm.sentence_log10("b c")
    assert len(ngram_sentence.signatures) == before == 1


def test_a_mapped_file_is_read_only(binary):
    tables = NgramLm.load(str(binary)).tables
    for array in (tables.data, tables.floats, tables.starts, tables.buckets):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def patch(path, position, value):
    raw = bytearray(path.read_bytes())
    raw[position : position + len(value)] = value
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (TYPE, b"\1", "expected probing, got probing with rest costs "),
        (TYPE, b"\2", "expected probing, got trie "),
        (TYPE, b"\3", "expected probing, got quantized trie "),
        (TYPE, b"\5", "expected probing, got quantized trie with compressed pointers "),
        (TYPE, b"\x63", "expected probing, got 99 "),
        (49, b"4", "format version: expected 5, got 4"),
        (34, b"incomplete\n\0", "not completely written"),
        (56, struct.pack(">3f", 0.0, 1.0, -0.5), "another byte order"),
        (WORDS, b"\0", "without its vocabulary strings"),
        (ORDER, b"\1", "invalid header: order 1"),
        (VERSION, b"\1", "invalid header: order 3, version 1"),
        (MULTIPLIER, struct.pack("<f", 0.5), "invalid header: order"),
        (MULTIPLIER, struct.pack("<f", np.nan), "invalid header: order"),
        (COUNTS + 8, struct.pack("<Q", 1 << 60), "invalid header: 1152921504606846976 n-grams"),
    ],
)
def test_other_kenlm_binaries_are_refused_with_the_command_to_run(binary, offset, value, message):
    patch(binary, offset, value)
    with pytest.raises(
        DataError, match=rf"x\.bin: a KenLM binary .*{message}.*build_binary probing model\.arpa x\.bin"
    ) as e:
        NgramLm.load(str(binary))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("kind", [["trie"], ["-q", "8", "-b", "8", "trie"], ["-a", "22", "trie"], ["-v", "probing"]])
def test_other_types_made_by_build_binary_are_refused(model, tmp_path, kind):
    program = lmplz.find_program("build_binary")
    if program is None:
        pytest.skip("no build_binary (utils/install_kenlm.sh builds it)")
    (tmp_path / "x.arpa").write_text("".join(arpa.lines(model)), "utf-8")
    command = [program, "-T", f"{tmp_path}/", *kind, str(tmp_path / "x.arpa"), str(tmp_path / "x.bin")]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(
        DataError, match=r"a KenLM binary .*(trie|without its vocabulary strings).*build_binary probing"
    ):
        NgramLm.load(str(tmp_path / "x.bin"))


@pytest.mark.parametrize("keep", [40, 60, 90, 110, 200, 0.5, -12, -1])
def test_a_truncated_file_is_refused(binary, keep):
    raw = binary.read_bytes()
    binary.write_bytes(raw[: int(keep * len(raw)) if isinstance(keep, float) else keep])
    with pytest.raises(DataError, match=r"x\.bin: .*(truncated|is the file complete)"):
        NgramLm.load(str(binary))


def test_an_invalid_vocabulary_is_refused(binary):
    layout = NgramLm.load(str(binary)).model.layout
    good = binary.read_bytes()
    patch(binary, 4 * layout.starts[0], bytes(12 * layout.buckets[0]))
    with pytest.raises(DataError, match=r"x\.bin: no 1-gram <s>"):
        NgramLm.load(str(binary))
    binary.write_bytes(good)
    patch(binary, 4 * layout.starts[0] - 4, struct.pack("<I", 1000))
    with pytest.raises(DataError, match=r"x\.bin: invalid vocabulary: 1000 words, at most 9 expected"):
        NgramLm.load(str(binary))
    binary.write_bytes(good)
    patch(binary, 4 * layout.starts[0] - 8, b"\1")  # its version
    with pytest.raises(DataError, match=r"x\.bin: invalid vocabulary: 8 words"):
        NgramLm.load(str(binary))
    binary.write_bytes(good)
    patch(binary, 4 * layout.end, b"<unx>")
    with pytest.raises(DataError, match=r"x\.bin: expected 8 words at the end, <unk> first"):
        NgramLm.load(str(binary))


def test_the_empty_bucket_of_a_table_may_be_in_any_block(binary, monkeypatch):
    monkeypatch.setattr(kenlm, "BLOCK", 1)
    layout = NgramLm.load(str(binary)).model.layout
    first_buckets = [layout.starts[0], *layout.starts[2:]]
    data = np.frombuffer(binary.read_bytes(), np.uint32, count=layout.end)
    assert any(data[start : start + 2].any() for start in first_buckets)


def test_a_word_with_an_id_behind_the_last_one_is_refused(binary):
    model = NgramLm.load(str(binary)).model
    start, end = (4 * start for start in model.layout.starts[:2])
    ids = np.frombuffer(binary.read_bytes()[start:end], np.uint32)[2::3]
    assert ids.max() == model.size - 1
    patch(binary, start + 12 * int(ids.argmax()) + 8, struct.pack("<I", model.size))
    with pytest.raises(DataError, match=rf"x\.bin: invalid vocabulary: {model.size} words"):
        NgramLm.load(str(binary))


@pytest.mark.parametrize(("table", "size"), [(0, 12), (2, 16), (-1, 12)])
def test_a_table_without_an_empty_bucket_is_refused(binary, table, size):
    """Looking up a missing key would never end."""
    layout = NgramLm.load(str(binary)).model.layout
    buckets = layout.buckets[table]
    patch(binary, 4 * layout.starts[table], b"\x01" * (size * buckets))
    with pytest.raises(DataError, match=rf"x\.bin: a hash table of {buckets} buckets has no empty one"):
        NgramLm.load(str(binary))


def test_a_word_that_is_not_utf_8_keeps_its_id(binary):
    raw = binary.read_bytes()
    assert raw.endswith(b"\0d\0e\0")
    binary.write_bytes(raw[:-4] + b"\xff\0e\0")
    assert NgramLm.load(str(binary)).words[-2:] == ["\udcff", "e"]


def test_a_compressed_binary_is_refused(binary, tmp_path):
    (tmp_path / "x.bin.gz").write_bytes(gzip.compress(binary.read_bytes()))
    with pytest.raises(DataError, match=r"a KenLM binary: expected ARPA text .*uncompressed"):
        NgramLm.load(str(tmp_path / "x.bin.gz"))


def test_a_binary_in_a_pipe_is_refused_with_a_command_that_helps(binary, tmp_path, piped):
    path = piped(binary.read_bytes())
    with pytest.raises(DataError, match=rf"^{path}: a KenLM binary: .*not a pipe: gunzip, or COMMAND > FILE"):
        NgramLm.load(path)


def test_arpa_is_read_from_a_pipe(model):
    if not Path("/dev/fd").is_dir():
        pytest.skip("no /dev/fd")
    read, write = os.pipe()
    try:
        os.write(write, "".join(arpa.lines(model)).encode())
        os.close(write)
        assert NgramLm.load(f"/dev/fd/{read}").counts == model.counts
    finally:
        os.close(read)


def test_two_spellings_of_the_unknown_word_are_refused(estimate_lm):
    model = estimate_lm("a b <UNK>\n", 2)
    with pytest.raises(DataError, match="both <unk> and <UNK>"):
        NgramLm.from_arpa(model)


@pytest.mark.parametrize("counts", [(5, 0), (100, 7, 3), (47190, 618303, 263616), (9, 8, 7, 6, 5, 4)])
@pytest.mark.parametrize("multiplier", [1.5, 1.1, 3.0])
def test_layout(counts, multiplier):
    layout = kenlm.Layout.for_counts(counts, multiplier)
    assert len(layout.header()) % 8 == 0
    assert 4 * layout.starts[0] == len(layout.header()) + 8
    ends = [*layout.starts[1:], layout.end]
    sizes = [(b - a) / n for a, b, n in zip(layout.starts, ends, layout.buckets, strict=True)]
    assert sizes == [3, 2, *[4] * (len(counts) - 2), 3]
    tables = (layout.buckets[0], *layout.buckets[2:])
    assert all(b > n for b, n in zip(tables, counts, strict=True))


READER = """
import json, sys
from ds2cli.lm.query import NgramLm
lm = NgramLm.load(sys.argv[1])
lm.sentence_log10("a b")
print(int(lm.tables.data.astype("uint8").sum()), flush=True)
sys.stdin.readline()
memory, inside = {}, False
for line in open("/proc/self/smaps"):
    name, _, rest = line.partition(" ")
    if not name.endswith(":"):
        inside = sys.argv[1] in line
    elif inside and rest.strip().endswith("kB"):
        memory[name[:-1]] = memory.get(name[:-1], 0) + int(rest.split()[0])
print(json.dumps(memory), flush=True)
sys.stdin.readline()
"""


@pytest.mark.long
def test_processes_share_a_mapped_file(tmp_path):
    if not Path("/proc/self/smaps").exists():
        pytest.skip("no /proc/self/smaps (Linux has it)")
    path = tmp_path / "big.bin"
    V = 300_000
    unigrams = arpa.Section(np.arange(V, dtype=np.int32)[:, None], *np.full((2, V), -1.0, dtype=np.float32))
    words = ["<unk>", "<s>", "</s>", *(f"w{i}" for i in range(3, V))]
    NgramLm.from_arpa(arpa.Arpa(words, [unigrams])).model.write(str(path))
    mapped = path.stat().st_size / 1024
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", READER, str(path)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) for _ in range(2)
    ]
    assert len({w.stdout.readline() for w in workers}) == 1
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    memory = [json.loads(w.stdout.readline()) for w in workers]
    for worker in workers:
        worker.communicate("\n")
        assert worker.returncode == 0
    for used in memory:
        # the pages of the tables are resident, none of them private
        assert used["Rss"] > 0.6 * mapped
        assert used["Private_Dirty"] == used["Shared_Dirty"] == used["Anonymous"] == 0
    assert sum(used["Pss"] for used in memory) < 1.1 * mapped
