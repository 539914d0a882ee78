import io
import tarfile

import pytest

from ds2cli.corpora._unpack import unpack
from ds2cli.errors import DataError


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_files_are_unpacked(tmp_path, packed, kind):
    (tmp_path / "a").write_bytes(packed[kind]({"x/y.txt": b"1", "x/é.txt": b"2", "z": b""}))
    unpack(tmp_path / "a", tmp_path / "out")
    assert (tmp_path / "out/x/é.txt").read_bytes() == b"2" and (tmp_path / "out/z").read_bytes() == b""


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_compression_of_tar(tmp_path, packed, mode):
    (tmp_path / "a").write_bytes(packed["tar"]({"x": b"1"}, mode))
    unpack(tmp_path / "a", tmp_path / "out")
    assert (tmp_path / "out/x").read_bytes() == b"1"


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("name", ["../evil", "x/../../evil", "/tmp/evil"])
def test_no_file_leaves_the_folder(tmp_path, packed, kind, name):
    (tmp_path / "a").write_bytes(packed[kind]({name: b"1"}))
    with pytest.raises(DataError, match="is outside of its folder"):
        unpack(tmp_path / "a", tmp_path / "out")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    (tmp_path / "a").write_bytes(out.getvalue())
    with pytest.raises(DataError, match="'link' is a link or a device"):
        unpack(tmp_path / "a", tmp_path / "out")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_broken_archives(tmp_path, packed, kind):
    data = packed[kind]({"x": bytes(range(256)) * 1000})
    for name, broken in {"half": data[: len(data) // 2], "none": b"", "text": b"no archive" * 100}.items():
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(DataError, match=rf"{name}: broken archive: .*\(download it again\)"):
            unpack(tmp_path / name, tmp_path / "out")
    with pytest.raises(DataError, match="no such file"):
        unpack(tmp_path / "missing", tmp_path / "out")


def test_attributes_of_macos_are_left_out(tmp_path, packed):
    (tmp_path / "a").write_bytes(packed["tar"]({"x/._y.wav": b"1", "x/y.wav": b"2"}))
    (tmp_path / "b").write_bytes(packed["zip"]({"__MACOSX/x/._y.wav": b"1", "x/z.wav": b"2"}))
    for name in "ab":
        unpack(tmp_path / name, tmp_path / "out")
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.wav")) == [
        "x/y.wav",
        "x/z.wav",
    ]
