import subprocess

import pytest

from ds2cli.encoding import convert_command, decode, describe_binary, detect, explain_undecodable
from ds2cli.io import read_lines


@pytest.mark.parametrize(
    ("head", "codec"),
    [
        (b"", "utf-8"),
        (b"a", "utf-8"),
        ("你好".encode(), "utf-8"),
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xff\xfea\0", "utf-16"),
        (b"\xfe\xff\0a", "utf-16"),
        (b"\xff\xfe\0\0a\0\0\0", "utf-32"),
        (b"\0\0\xfe\xff", "utf-32"),
        (b"a\0b\0", "utf-16-le"),
        (b"\0a\0b", "utf-16-be"),
        (b"\0\0\0\0", "utf-8"),
    ],
)
def test_detect(head, codec):
    assert detect(head) == codec


@pytest.mark.parametrize("text", ["naïve", "don’t – “go”", "10 €"])
@pytest.mark.parametrize("name", ["a.csv", "my table.v2.csv", "noending", ".hidden", "it's.txt"])
def test_the_command_of_the_message_converts_the_file(tmp_path, monkeypatch, text, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(f"{text}\n".encode("windows-1252"))
    ((_, line),) = read_lines(name)
    message = explain_undecodable(line, name)
    command = message[message.index("(") + 1 : -1]
    assert message.startswith("not UTF-8, perhaps Windows-1252 for ") and command == convert_command(
        "windows-1252", name
    )
    subprocess.run(["bash", "-c", command], check=True)
    (new,) = {p.name for p in tmp_path.iterdir()} - {name}
    assert list(read_lines(new)) == [(1, text)]


def test_a_conversion_never_overwrites_the_file():
    for path in ("a.b/c", "./.x", "x.", "a.csv.gz", ".csv"):
        assert not convert_command("windows-1252", path).endswith(f"> {path}")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("Grüße".encode("latin-1"), "perhaps Windows-1252 for 'Grüße'"),
        (b"\x93quoted\x94", "perhaps Windows-1252 for '“quoted'"),
        (
            b"\x81\x8d",
            "not UTF-8 (iconv -f ENCODING -t utf-8 FILE > FILE.utf8, with the encoding that it was written in)",
        ),
        ("é".encode() + b"\xe9", "it was damaged, or joined from files in different encodings"),
    ],
)
def test_what_is_not_utf8_is_named(data, message):
    with pytest.raises(UnicodeError) as e:
        decode(data, "FILE")
    assert message in str(e.value)


def test_text_is_not_binary():
    for text in ("", "plain\n", "\ufeff", "你好\n" * 999, "a\0" + "b" * 99):
        assert describe_binary(text.encode()) == ""
    assert describe_binary("plain".encode("utf-16-le")) == ""
