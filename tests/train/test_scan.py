"""Manifests read by the kernel are what `manifest.read` and the checks of texts make of them, row by row."""

from __future__ import annotations

import gzip
import json
import random

import numpy as np
import pytest

from ds2cli import manifest
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.kernels import row_json
from ds2cli.train import scan
from ds2cli.train.scan import ManifestRows, character_classes, collect, field_table, read_candidate

NEEDS = ("id", "text")
PLAIN = {"id": "a", "audio_filepath": "wav/a.flac", "duration": 1.5, "text": "it's a test", "feats": "f.ark:12"}


def candidates(found):
    for _, pool, sizes in found.chunks():
        data, at = pool.tobytes(), 0
        for row in sizes:
            end = at + int(row.sum())
            yield read_candidate(data[at:end], row)
            at = end


def read_both(path):
    """What the kernel, then Python reads from a manifest; the error, if any, is part of it."""
    results = []
    for make in (ManifestRows, manifest.read):
        ledger, warnings = Ledger(), []
        try:
            found = collect(make(str(path), NEEDS, ledger), ledger, warnings.append)
            results.append((list(candidates(found)), found.letters, list(found.texts()), warnings, ledger.rows))
        except DataError as e:
            results.append((str(e), ledger.rows))
    return results


def write(path, rows):
    lines = [
        row if isinstance(row, str) else json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows
    ]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    return path


@pytest.fixture
def left_to_python(monkeypatch):
    """The lines that the kernel has left to Python."""
    lines, read_line = [], scan._Scan._read_line

    def note(self, data):
        lines.append(data.decode("utf-8", "replace"))
        read_line(self, data)

    monkeypatch.setattr(scan._Scan, "_read_line", note)
    return lines


CHANGES = [
    {}, {"text": ""}, {"text": "a  b"}, {"text": " a"}, {"text": "a "}, {"text": "tab\tb"}, {"text": 'say "a"'},
    {"text": None}, {"text": 3}, {"text": "naïve café"}, {"text": "中文字"}, {"text": "e\u0301"}, {"text": "a\u200bb"},
    {"text": "it’s"}, {"text": "a\u0007"}, {"text": "\ufffd"}, {"text": "𠀀 x"}, {"text": "ก็"}, {"text": "각 한글"},
    {"text": "a`b ü"}, {"text": "back\\slash"}, {"offset": 0}, {"offset": 1.25, "channel": 1}, {"channel": -1},
    {"channel": 1.0}, {"sample_rate": 16000}, {"sample_rate": 10**30}, {"speed": 0.9}, {"speed": 0}, {"speed": "x"},
    {"duration": None}, {"duration": -1}, {"duration": 1e30}, {"duration": 12345678901}, {"duration": True},
    {"feats": ""}, {"feats": None}, {"feats": "/abs/f.ark:3"}, {"feats": "../f.ark:3"}, {"feats": "a//f.ark:3"},
    {"feats": "..a/.b./f.ark:3"}, {"feats": "./f.ark:3"}, {"feats": "x/"}, {"feats": "ä/f.ark:1"}, {"feats": 3},
    {"audio_filepath": "/abs/ä.wav", "offset": 2}, {"audio_filepath": "a/../b.wav"}, {"audio_filepath": None},
    {"gender": "f"}, {"gender": None}, {"gender": True, "age": 31, "x": -1.5, "y": 0.0}, {"age": 10**40},
    {"words": [{"word": "a"}]}, {"words": 3}, {"info": {"a": 1}}, {"ctc_cost": -3.25}, {"ctc_cost": 1e300},
    {"num_frames": 7}, {"num_frames": 7.5}, {"hits": -1}, {"align_logprob": "x"}, {"speaker": 3}, {"speaker": "ß"},
    {"recording": "a b"}, {"recording": "ab"}, {"feld ä": 1}, {"step_s": 0.02},
    {f"k{n}": n for n in range(40)},
]  # fmt: skip


@pytest.mark.parametrize("folder", ["data", ".", ""])
def test_every_kind_of_value_is_read_as_python_reads_it(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    rows = [{**PLAIN, "id": f"u{n:03d}", **change} for n, change in enumerate(CHANGES)]
    path = write(tmp_path / folder / "m.jsonl", rows)
    kernel, python = read_both(path if not folder else f"{folder}/m.jsonl")
    assert kernel == python and len(kernel[0]) > 40


LINES = [
    "", "  ", "[]", "{}", "null", '{"id":"b1","text":"x"', '{"id":"b2","text":"x"} x',
    '{"id":"b3","text":"x","text":"y"}',
    '{"id":"b4","text":"x","x":1,"x":2}', '{"id":"b5","text":"x",}', "{'id':'b6','text':'x'}", '{"text":"x"}',
    '{ "id" : "c1" , "text" : "x y" , "duration" : 1.50 }\r', '{"id":"c2","text":"\\u0061\\n"}',
    '{"id":"c3","text":"x","n":01}',
    '{"id":"c4","text":"x","n":1.}', '{"id":"c5","text":"x","duration":1e2}', '{"id":"c6","text":"x","n":NaN}',
    '{"id":"c7","text":"x","n":-0}', '{"id":"c8","text":"x","duration":-0.0}', '{"id":"c9","text":"caf\udce9"}',
    '{"id":"d1","text":"x","s":"caf\udce9"}', '{"id":"d1","text":"again"}', '{"id":"d é","text":"x"}',
    '{"id":"d é1","text":"x"}', '{"id":"dé2","text":"x y"}', '\ufeff{"id":"dé3","text":"x"}', '{"id":"dé4","text":"x"}',
    '{"id":"dé5","text":"x","\\u0061":1}', '{"id":"dé6","text":"x","n":tru}', '{"id":"dé7","text":"x","n":truex}',
    '{"id":"dé8","text":"x","n":"\\ud800"}', '{"id":"dé9","text":"x"}\x00', '{"id":"' + "e" * 3000 + '","text":"x"}',
    '{"id":"' + "e" * 3000 + '","text":"again"}', '{"id":"f","text":"' + "long " * 50_000 + 'x"}',
    '{"id":"","text":"x"}',
]  # fmt: skip


@pytest.mark.parametrize("chunk", [4 << 20, 512])
def test_every_kind_of_line_is_read_as_python_reads_it(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(scan, "CHUNK", chunk)
    path = write(tmp_path / "m.jsonl", ['{"id":"a","text":"x y"}', *LINES, '{"id":"g","text":"the last"}'])
    kernel, python = read_both(path)
    assert kernel == python and len(kernel[-1]) > 15


@pytest.mark.parametrize("seed", range(8))
def test_damaged_lines_are_read_as_python_reads_them(tmp_path, seed):
    draw = random.Random(seed)
    lines = []
    for n in range(400):
        row = {**PLAIN, "id": f"u{n:03d}", **draw.choice(CHANGES)}
        data = bytearray(json.dumps(row, ensure_ascii=draw.random() < 0.2).encode())
        for _ in range(draw.randrange(3)):
            data[draw.randrange(len(data))] = draw.choice(b' "{}:,\\0-e.\xe9\xc3/tx')
        lines.append(bytes(data))
    path = tmp_path / "m.jsonl"
    path.write_bytes(b"\n".join(lines))
    kernel, python = read_both(path)
    assert kernel == python


@pytest.mark.parametrize("line", ['{"id":"a","text":"x"}', '{"id":"A","text":"x"}'])
def test_ids_out_of_order_are_refused_in_the_same_words(tmp_path, line):
    path = write(tmp_path / "m.jsonl", ['{"id":"a","text":"y"}', '{"id":"b","text":"z"}', line])
    kernel, python = read_both(path)
    assert kernel == python and "ds2 data sort" in kernel[0]


@pytest.mark.parametrize("data", [b"", b"\n", b'[{"id":"a"}]\n', b"[\n{}]", b'{"id":"a","text":"x"}', b"\xff\xfe{\0"])
def test_files_of_no_or_other_lines_are_read_as_python_reads_them(tmp_path, data):
    path = tmp_path / "m.jsonl"
    path.write_bytes(data)
    kernel, python = read_both(path)
    assert kernel == python


@pytest.mark.parametrize("encode", [gzip.compress, lambda data: data.decode().encode("utf-16")])
def test_packed_and_other_encodings_are_read(tmp_path, encode):
    path = tmp_path / "m.jsonl"
    path.write_bytes(encode(b'{"id":"a","text":"x"}\n{"id":"b","text":"y z"}\n'))
    kernel, python = read_both(path)
    assert kernel == python and [row.text for row in kernel[0]] == ["x", "y z"]


def test_plain_rows_are_not_left_to_python(tmp_path, left_to_python):
    texts = ["it's", "naïve café", "中文", "a b c", "", "Straße 12, 3–4 €"]
    rows = [{**PLAIN, "id": f"{n}", "text": text, "gender": "f", "age": 3} for n, text in enumerate(texts)]
    ledger = Ledger()
    found = collect(ManifestRows(str(write(tmp_path / "m.jsonl", rows)), NEEDS, ledger), ledger, print)
    assert list(found.texts()) == texts and len(found) == len(texts)
    # until there is a text that is not ASCII, only ASCII is plain
    assert [json.loads(line)["text"] for line in left_to_python] == ["naïve café"]


def test_plain_characters_are_those_that_no_check_of_texts_sees():
    from ds2cli.train.lint import TextLint, clean_text

    for point in np.flatnonzero(character_classes()):
        c, lint = chr(point), TextLint()
        lint.add(f"a{c}ä{c}")
        assert (lint.white_space, lint.decomposed, lint.with_invisible) == (0, 0, 0) or c == " "
        assert lint.apostrophes.keys() <= {"'"}
        assert c == " " or clean_text(f"a{c}ä{c}") == f"a{c}ä{c}"
        assert bool(lint.several_words) == (character_classes()[point] in (2, 4)) or c == " "


def test_each_field_is_found_by_its_hash():
    table, hashes, names, ends, roles = field_table()
    assert len(hashes) == len(roles) == len(manifest.FIELDS) and (table >= 0).sum() == len(hashes)
    for k, name in enumerate(manifest.FIELDS):
        data = np.frombuffer(name.encode(), np.uint8)
        digest = np.uint64(row_json.hash_name(name.encode()))
        assert row_json.find_name(data, 0, len(data), digest, table, hashes, names, ends) == k
