"""The files of an experiment, in a folder and in a bundle; bundles that are damaged or hostile."""

from __future__ import annotations

import contextlib
import io
import os
import random
import stat
import zipfile
from pathlib import Path

import pytest
import tomli_w

from ds2cli.config.base import parse_toml
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.experiment_files import CARD, LIMITS, LM, is_bundle, open_files, refuse_bundle
from ds2cli.stored_zip import read_members, write_stored

NAMES = [name for name in LIMITS if name != "pieces.model"]


@pytest.fixture
def bundle(shipped):
    return str(shipped / "é x.ds2")


@pytest.fixture
def parts(bundle):
    """The members of the bundle, as they can be written again."""
    files = open_files(bundle)
    return {name: files.read(name) for name in files.members}


def archive(parts):
    out = io.BytesIO()
    write_stored(out, [(name, [memoryview(content)]) for name, content in parts])
    return out.getvalue()


@pytest.fixture
def refused(tmp_path):
    """The message with which a bundle of these bytes is refused."""

    def refuse(data, name="bad.ds2"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError) as e:
            files = open_files(tmp_path / name)
            for member in files.members:
                files.read(member)
        assert str(e.value).startswith(str(tmp_path / name))
        return str(e.value)

    return refuse


def with_card(parts, **changes):
    card = {**parse_toml(parts[CARD], CARD), **changes}
    return archive({**parts, CARD: tomli_w.dumps(card).encode()}.items())


def test_a_folder_and_its_bundle_have_the_same_files(shipped, bundle):
    folder, files = open_files(shipped / "exp"), open_files(bundle)
    assert not folder.is_bundle and files.is_bundle and [*files.members] == NAMES
    for name in ("best.safetensors", "tokens.txt", "decode.toml", "align.toml", "filter.toml"):
        assert folder.read(name) == files.read(name) and folder.sha256(name) == files.sha256(name)
        assert folder.has(name) and files.has(name)
    assert folder.read_toml("decode.toml") == files.read_toml("decode.toml")
    for missing in (folder, files):
        assert missing.read("none") is None and missing.sha256("none") is None and missing.read_toml("none") == {}
    assert folder.where("decode.toml") == str(shipped / "exp" / "decode.toml")
    assert files.where("decode.toml") == f"{bundle}: decode.toml"


def test_the_language_model_is_mapped_where_it_lies(bundle):
    files = open_files(bundle)
    mapped = files.map(LM)
    assert mapped.readonly and bytes(mapped) == files.read(LM) and files.map("pieces.model") is None
    assert files.members[LM].offset % 4096 == 0


def test_the_card_lists_every_member_with_its_hash(bundle):
    with zipfile.ZipFile(bundle) as z:
        card = parse_toml(z.read(CARD), CARD)
        assert z.testzip() is None and [*card["members"]] == z.namelist()[1:]
    assert card["format"] == 1 and card["text"] == {"lang": "en", "profile": "english"}
    assert card["lm"]["source"] == "lm.arpa" and card["clip"] == {"source": "clip.wav", "seconds": 0.75}


def test_what_is_a_bundle(shipped, bundle, tmp_path):
    assert is_bundle(bundle) and not is_bundle(shipped / "exp") and not is_bundle("-")
    other = tmp_path / "renamed"
    other.write_bytes(open_files(bundle).read(CARD))
    assert not is_bundle(other)
    os.link(bundle, tmp_path / "by content")
    assert is_bundle(tmp_path / "by content")
    # also what is missing is reported as a bundle; a folder may have any name
    assert is_bundle(tmp_path / "none.ds2")
    (tmp_path / "folder.ds2").mkdir()
    assert not is_bundle(tmp_path / "folder.ds2")


def test_nothing_else_is_a_bundle(refused, tmp_path):
    assert "it is empty" in refused(b"")
    assert "not a zip archive" in refused(random.Random(0).randbytes(5000))
    assert "not a zip archive" in refused(b"\\data\\\nngram 1=5\n" * 50)
    with pytest.raises(DataError, match=r"no such file \(ds2 export EXP .*none.ds2 writes it\)"):
        open_files(tmp_path / "none.ds2")
    with pytest.raises(DataError, match="ile name too long"):
        open_files("x" * 300 + ".ds2")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.ds2")
    with pytest.raises(DataError, match="this is a pipe, expected a file"):
        open_files(tmp_path / "pipe.ds2")


def test_every_truncation_is_refused(bundle, refused):
    data = Path(bundle).read_bytes()
    with Path(bundle).open("rb") as f:
        members = read_members(f)
    for m in members:
        for size in (m.offset - 1, m.offset, m.offset + m.size // 2, m.offset + m.size):
            refused(data[:size])
    for size in range(len(data) - 30, len(data)):
        refused(data[:size])


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_in_any_member_is_found(bundle, refused, name):
    data = bytearray(Path(bundle).read_bytes())
    member = open_files(bundle).members[name]
    for pos in (member.offset, member.offset + member.size // 2, member.offset + member.size - 1):
        data[pos] ^= 4
        assert name in refused(data)
        data[pos] ^= 4


def test_a_flipped_bit_in_the_directory_changes_nothing_or_is_found(bundle, tmp_path):
    """Of dates, versions and permissions nothing is used."""
    data, expected = bytearray(Path(bundle).read_bytes()), open_files(bundle)
    for pos in range(data.index(b"PK\x01\x02"), len(data)):
        data[pos] ^= 1 << pos % 8
        (tmp_path / "x.ds2").write_bytes(data)
        with contextlib.suppress(DataError):
            assert open_files(tmp_path / "x.ds2").members == expected.members
        data[pos] ^= 1 << pos % 8


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/../../b", "C:\\x", "best.safetensors/", "é", "x" * 300, ""]
)
def test_any_other_name_is_refused(parts, refused, name):
    assert "it contains" in refused(archive([*parts.items(), (name, b"x")]))
    assert not os.path.lexists("evil")


def test_a_name_that_is_repeated_or_missing_is_refused(parts, refused):
    assert "it contains tokens.txt more than once" in refused(archive([*parts.items(), ("tokens.txt", b"<blank>\n")]))
    for name in ("best.safetensors", "tokens.txt", "clip.wav", "clip.safetensors"):
        assert f"it contains no {name}" in refused(archive((k, v) for k, v in parts.items() if k != name))
    assert "it begins with tokens.txt" in refused(archive(sorted(parts.items(), key=lambda p: p[0] != "tokens.txt")))
    assert "not those that" in refused(archive((k, v) for k, v in parts.items() if k != "decode.toml"))


def test_links_are_refused(bundle, refused):
    data = bytearray(Path(bundle).read_bytes())
    first = data.index(b"PK\x01\x02")
    data[first + 40 : first + 42] = (stat.S_IFLNK | 0o777).to_bytes(2, "little")
    assert "is a link" in refused(data)


def test_compressed_bundles_are_refused_at_no_cost(parts, refused):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(CARD, parts[CARD])
        z.writestr("best.safetensors", bytes(100_000_000))
    assert "is compressed" in refused(out.getvalue())


def test_members_that_are_too_large_are_refused(parts, refused):
    for name in ("decode.toml", CARD, "LICENSE.txt", "clip.wav"):
        big = {**parts, name: bytes(LIMITS[name] + 1)}
        assert f"{name} has {LIMITS[name] + 1} bytes" in refused(archive(big.items()))


def test_members_that_are_not_aligned_are_refused(parts, refused):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, content in parts.items():
            z.writestr(name, content)
    assert "does not begin at a multiple" in refused(out.getvalue())


def test_other_formats_are_refused(parts, refused):
    for other in (2, 0, -1, True, "1", 1.5, [1]):
        assert "expected format 1, found" in refused(with_card(parts, format=other))
    assert "expected format 1, found None" in refused(archive({**parts, CARD: b"a = 1\n"}.items()))


@pytest.mark.parametrize("members", [{}, 3, [], {"best.safetensors": 3}, {"../x": {"size": 1, "sha256": ""}}])
def test_a_card_that_lists_something_else_is_refused(parts, refused, members):
    assert CARD in refused(with_card(parts, members=members))


def test_a_card_that_is_no_toml_is_refused(parts, refused):
    assert "not valid TOML" in refused(archive({**parts, CARD: b"format = \n"}.items()))
    assert "not valid TOML" in refused(archive({**parts, CARD: b"\xff\x00" * 9}.items()))
    assert "too deeply nested" in refused(archive({**parts, CARD: b"a = " + b"[" * 20000}.items()))


def test_a_wrong_size_or_hash_in_the_card_is_refused(parts, refused):
    card = parse_toml(parts[CARD], CARD)
    for name in NAMES[1:]:
        about = card["members"][name]
        for wrong in ({"size": about["size"] + 1}, {"sha256": "0" * 64}, {"sha256": 3}, {"size": "1"}):
            listed = {**card["members"], name: {**about, **wrong}}
            assert name in refused(with_card(parts, members=listed))


def test_a_bundle_is_not_changed(shipped, bundle, tmp_path):
    refuse_bundle(str(shipped / "exp"), "x")
    with pytest.raises(UsageError, match=r"^--tune writes x, but .* is a bundle, which is not changed \(use the exp"):
        refuse_bundle(bundle, "--tune writes x")
    with pytest.raises(UsageError, match="names of bundles end in"):
        refuse_bundle(str(tmp_path / "new.ds2"), "train writes x")


def test_a_bundle_that_is_replaced_while_it_is_used_is_noticed(bundle, tmp_path):
    copy = tmp_path / "x.ds2"
    copy.write_bytes(Path(bundle).read_bytes())
    files = open_files(copy)
    copy.write_bytes(bytes(copy.stat().st_size))
    with pytest.raises(DataError, match="damaged: its hash is not the one"):
        files.read("decode.toml")
    copy.write_bytes(b"short")
    for use in (files.read, files.map):
        with pytest.raises(Ds2Error, match=r"damaged|shorter"):
            use("best.safetensors")
