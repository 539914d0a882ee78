"""Lines that are copied are what reading, changing and writing the rows gives; the kernel and Python agree."""

import json
import math
import os
import random
from pathlib import Path

import pytest

from ds2cli import manifest, manifest_lines
from ds2cli.drops import Ledger
from ds2cli.errors import DataError
from ds2cli.manifest_lines import BadLine, Line

LINES = [
    '{"id":"a"}',
    '{"id":"b","audio_filepath":"x/y.wav","duration":1.5,"text":"hello world","speaker":"s1"}',
    '{"text": "spaces",\t"id" : "c", "duration":  2 }',
    '{"id":"d","duration":1.50,"text":"a zero at the end"}',
    '{"id":"e","duration":1e3}',
    '{"id":"f","duration":0.00001}',
    '{"id":"g","duration":0.0001,"x":-0.0,"y":-0,"z":0.1000000000000000055}',
    '{"id":"h","text":"caf\\u00e9 \\"quoted\\" \\\\ \\n","duration":null}',
    '{"id":"i","text":"café 日本 \U0001f600","speaker":"é"}',
    '{"id":"j","words":[{"word":"a","start":0.1,"end":0.20}],"more":{"b":[1,2]}}',
    '{"id":"k","audio_filepath":"../up/./z.wav","feats":"f.ark:12","emission":"/abs/e.ark:5"}',
    '{"id":"l","audio_filepath":"out/z.wav","feats":"","unknown":true,"other":false,"third":null}',
    '{"id":"m","n":12345678901234567890,"x":123456789.123456789,"duration":999999999.5}',
    '{"id":"n","sample_rate":16000,"channel":0,"speed":1.1,"num_frames":100,"pred_score":-3.25}',
    '  {"id":"o","text":""}  ',
    '{"id":"p","text":"crlf"}\r',
    "",
    "   ",
    "\ufeff" + '{"id":"q"}',
    '{"id":"é"}',
    '{"id":"\U0001f600"}',
]
BAD = [
    "not json", "[1]", '{"id":"x"', '{"id":""}', '{"id":"a b"}', '{"id":5}', '{"id":null}', '{"text":"no id"}',
    '{"id":"x","id":"y"}', '{"id":"x","text":5}', '{"id":"x","duration":-1}', '{"id":"x","duration":NaN}',
    '{"id":"x","duration":1e400}', '{"id":"x","duration":2000000000}', '{"id":"x","channel":1.0}', '{"id":"x"} {}',
    '{"id":"x","channel":-1}', '{"id":"x","speed":0}', '{"id":"x","duration":01}', '{"id":"x","duration":1.}',
    '{"id":"x","text":"\\ud800"}', '{"id":"x","text":"a\tb"}', '{"id":"x","feats":"a\\u0000b"}',
    '{"id":"x","words":5}', '{"id":"x","a":tru}', "{'id':'x'}", '{"id":"x",}', "{}", '{"id":true}',
    '{"id":"x","a":1,"a":1}', '{"id":"x","a":nul',
    '{"id":"x","duration":"1"}', '{"id":"\x7f"}', '{"id":"x","text":"\udce9"}', '{"id":"x","sample_rate":16000.0}',
]  # fmt: skip
FIELDS = ("speaker", "text", "audio_filepath", "id", "unknown")


@pytest.fixture(params=["kernel", "python"])
def reader(request, monkeypatch):
    """Small files are read by the kernel, or all of them by Python."""
    monkeypatch.setattr(manifest_lines, "LITTLE", 0 if request.param == "kernel" else 1 << 40)


def reference(path, out):
    """What `manifest.read` and `manifest.write` make of each line."""
    found = []
    folder, target = manifest.base_folder(path), manifest.output_folder(out)
    for location, text in manifest.read_lines(path):
        try:
            row = manifest.rebase_paths(manifest.parse(text), folder)
        except manifest.BadUtterance as e:
            found.append((location, e.reason, e.detail))
            continue
        if target:
            row = manifest.map_paths(row, lambda p: manifest.path_from(target, p))
        values = tuple(row.get(name) for name in FIELDS)
        found.append((location, row["id"], manifest.format_row(row), row.get("duration"), values))
    return found


def scanned(path, out, **options):
    found = []
    for line in manifest_lines.scan(path, out, FIELDS, **options):
        location = f"{path}:{line.number}"
        if isinstance(line, BadLine):
            found.append((location, line.error.reason, line.error.detail))
        else:
            duration = None if math.isnan(line.duration) else line.duration
            found.append((location, line.id, line.text, duration, line.values))
    return found


def write(path, lines, end="\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode("utf-8", "surrogateescape"))


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("out", ["-", "out.jsonl", "in/out.jsonl", "in/out/o.jsonl", "in/x/o.jsonl", "else/o.jsonl"])
def test_lines_are_those_that_reading_and_writing_gives(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    lines = [line for pair in zip(LINES, BAD, strict=False) for line in pair] + BAD[len(LINES) :]
    write(tmp_path / "in/a.jsonl", lines)
    write(tmp_path / "b.jsonl", lines)
    for path in ("in/a.jsonl", str(tmp_path / "in/a.jsonl"), "b.jsonl", "./b.jsonl", "in/../b.jsonl"):
        expected = reference(path, out)
        assert len(expected) == len(LINES) + len(BAD) - 2
        for chunk in (1 << 20, 100, 7):
            assert scanned(path, out, chunk=chunk) == expected, (path, chunk)


def test_most_lines_are_copied_by_the_kernel(tmp_path, monkeypatch):
    """Those that this package writes, and those with spaces."""
    monkeypatch.setattr(manifest_lines, "LITTLE", 0)
    write(tmp_path / "a.jsonl", LINES)
    parsed = []
    parse = manifest.parse
    monkeypatch.setattr(manifest, "parse", lambda text: parsed.append(text) or parse(text))
    assert len(scanned(str(tmp_path / "a.jsonl"), str(tmp_path / "o.jsonl"))) == len(LINES) - 2
    copied = {json.loads(line.removeprefix("\ufeff"))["id"] for line in LINES if line.strip()} - {
        json.loads(line)["id"] for line in parsed
    }
    # l has a literal where a string is asked for
    assert copied == set("abcinop")


def random_row(rng):
    def number():
        return rng.choice([rng.randint(0, 9), rng.random() * 100, round(rng.random() * 30, rng.randint(0, 8)), 1e-7])

    row = {"id": "".join(rng.choices("abcé😀-_/", k=rng.randint(1, 4)))}
    values = {
        "text": lambda: "".join(rng.choices('ab é😀"\\\n\t\u2028\x7f', k=rng.randint(0, 6))),
        "duration": number, "offset": number, "pred_score": lambda: -number(), "x": number, "y": lambda: None,
        "speaker": lambda: rng.choice(["s", "", "t u", None]), "channel": lambda: rng.choice([0, 1, True]),
        "audio_filepath": lambda: rng.choice(["a.wav", "/b.wav", "../c.wav", "out/d.wav", "x//y", "", "./e", "f/.."]),
        "words": list, "z": lambda: rng.choice([{}, [1], True, "q", 10**30]),
    }  # fmt: skip
    for name in rng.sample(list(values), rng.randint(0, len(values))):
        row[name] = values[name]()
    return row


@pytest.mark.usefixtures("reader")
def test_random_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = random.Random(1)
    options = [
        {},
        {"ensure_ascii": False},
        {"separators": (",", ":")},
        {"ensure_ascii": False, "separators": (",", ":")},
    ]
    write(tmp_path / "in/a.jsonl", [json.dumps(random_row(rng), **rng.choice(options)) for _ in range(2000)])
    for out in ("in/b.jsonl", "in/out/b.jsonl", "-"):
        assert scanned("in/a.jsonl", out, chunk=1000) == reference("in/a.jsonl", out)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cr", "gz", "no-end"])
def test_every_text_file_can_be_read(tmp_path, encoding):
    import gzip

    lines = [line for line in LINES if "\ufeff" not in line]
    text = "".join(line.rstrip("\r") + ("\r" if encoding == "cr" else "\r\n") for line in lines)
    text = text.removesuffix("\r\n") if encoding == "no-end" else text
    data = text.encode(encoding if encoding.startswith("utf") else "utf-8")
    path = tmp_path / ("a.jsonl.gz" if encoding == "gz" else "a.jsonl")
    path.write_bytes(gzip.compress(data) if encoding == "gz" else data)
    assert scanned(str(path), "-", chunk=50) == reference(str(path), "-")


@pytest.mark.usefixtures("reader")
def test_order_and_repeats_are_those_of_manifest_read(tmp_path):
    path = str(tmp_path / "a.jsonl")
    write(tmp_path / "a.jsonl", ['{"id":"a"}', '{"id":"b"}', '{"id":"b","text":"x"}', "{", '{"id":"c","text":5}'])
    ledgers = Ledger(), Ledger()
    lines = list(manifest_lines.read(path, path, ledger=ledgers[0]))
    assert [line.id for line in lines] == [row["id"] for row in manifest.read(path, ledger=ledgers[1])]
    assert ledgers[0].rows == ledgers[1].rows and ledgers[0].dropped == 3
    for text in ('{"id":"b"}\n{"id":"a"}\n', '{"id":"a"}\n{"id":"a"}\n', "{\n", '[{"id":"a"},\n'):
        (tmp_path / "a.jsonl").write_text(text)
        with pytest.raises(DataError) as old:
            list(manifest.read(path))
        with pytest.raises(DataError) as new:
            list(manifest_lines.read(path))
        assert str(new.value) == str(old.value)


def test_written_lines_have_to_be_sorted(tmp_path):
    out = str(tmp_path / "o.jsonl")
    line = Line("a", 1, '{"id":"a"}\n', 0.0, ())
    with pytest.raises(DataError, match="id 'a' comes after 'a', expected unique sorted ids"):
        manifest_lines.write(out, [line, line])
    assert list(tmp_path.iterdir()) == []
    assert manifest_lines.write(out, [line]) == 1


def test_a_folder_that_json_has_to_escape(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest_lines, "LITTLE", 0)
    write(tmp_path / 'a"b/in.jsonl', ['{"id":"a","audio_filepath":"x.wav"}'])
    out = str(tmp_path / "o.jsonl")
    assert scanned(str(tmp_path / 'a"b/in.jsonl'), out) == reference(str(tmp_path / 'a"b/in.jsonl'), out)


def test_a_pipe_can_be_read_twice(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    pid = os.fork()
    if not pid:
        (tmp_path / "pipe").write_bytes(b'{"id":"a"}\r\n{"id":"\xe9"}\n')
        os._exit(0)
    with manifest_lines.rereadable(str(tmp_path / "pipe")) as copy:
        os.waitpid(pid, 0)
        for _ in range(2):
            lines = list(manifest_lines.scan(str(tmp_path / "pipe"), "-", source=copy))
            assert [line.number for line in lines] == [1, 2] and lines[1].error.reason == "not-utf8"
    assert not Path(copy).exists()
