"""Zip archives of stored members: what others read and write, and what is refused."""

from __future__ import annotations

import io
import stat
import struct
import zipfile

import pytest

from ds2cli import stored_zip
from ds2cli.errors import DataError
from ds2cli.stored_zip import MOST_MEMBERS, PAGE, read_members, write_stored

MEMBERS = [("a.txt", [memoryview(b"one"), memoryview(b"two")]), ("é.bin", [memoryview(bytes(5000))]), ("empty", [])]


def written(members=MEMBERS):
    out = io.BytesIO()
    write_stored(out, members)
    return out.getvalue()


def members_of(data):
    return read_members(io.BytesIO(data))


def refused(data):
    with pytest.raises(DataError) as e:
        members_of(data)
    return str(e.value)


def zipped(*infos, compression=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as z:
        for info in infos:
            z.writestr(info, b"x")
    return out.getvalue()


def test_members_lie_at_pages_and_are_read_where_they_lie():
    data = written()
    found = members_of(data)
    assert [m.name for m in found] == ["a.txt", "é.bin", "empty"]
    assert [data[m.offset : m.offset + m.size] for m in found] == [b"onetwo", bytes(5000), b""]
    assert all(m.offset % PAGE == 0 for m in found)


def test_the_same_members_give_the_same_bytes_also_where_they_cannot_be_sought():
    class Pipe(io.RawIOBase):
        data = b""

        def writable(self):
            return True

        def write(self, part):
            self.data += bytes(part)
            return len(part)

    out = Pipe()
    write_stored(out, MEMBERS)
    assert out.data == written()


@pytest.mark.parametrize("limit", [None, 0, 3, 5000, 9000])
def test_pythons_zipfile_reads_it_also_with_64_bit_sizes(monkeypatch, limit):
    """`limit` stands for 4 GiB: sizes and places from there on are stored in 64 bits."""
    if limit is not None:
        monkeypatch.setattr(stored_zip, "_LIMIT", limit)
    data = written()
    with zipfile.ZipFile(io.BytesIO(data)) as z:
        assert z.testzip() is None
        sizes = [(i.filename, i.file_size, i.compress_size) for i in z.infolist()]
        assert sizes == [("a.txt", 6, 6), ("é.bin", 5000, 5000), ("empty", 0, 0)]
        assert z.read("a.txt") == b"onetwo"
        assert all(stat.S_ISREG(i.external_attr >> 16) for i in z.infolist())
    assert [(m.name, m.size) for m in members_of(data)] == [("a.txt", 6), ("é.bin", 5000), ("empty", 0)]
    for size in range(0, len(data), 7):
        refused(data[:size])


def test_an_archive_of_others_is_read_if_it_is_stored_and_plain():
    assert [m.name for m in members_of(zipped("a", "b"))] == ["a", "b"]


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "it is empty"),
        (b"PK", "not a zip archive: it has only 2 bytes"),
        (bytes(100), "not a zip archive"),
        (written()[:-1], "a zip archive without its end (is the file complete?)"),
        (written()[:5000], "a zip archive without its end (is the file complete?)"),
        (written() + b"x", "a zip archive without its end"),
        (b"x" + written(), "does not end where its end record begins"),
        (zipped("a", compression=zipfile.ZIP_DEFLATED), "'a' is compressed"),
        (zipped(*map(str, range(MOST_MEMBERS + 1))), f"it has {MOST_MEMBERS + 1} members"),
        (zipped(), "it has 0 members"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_is_no_such_archive_is_refused(data, message):
    assert message in refused(data)


def test_links_encrypted_members_and_comments_are_refused():
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    assert "'link' is a link" in refused(zipped(link))
    folder = zipfile.ZipInfo("folder/")
    folder.create_system, folder.external_attr = 3, (stat.S_IFDIR | 0o755) << 16
    assert "'folder/' is no plain file" in refused(zipped(folder))
    encrypted = bytearray(written())
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    assert "'a.txt' is encrypted" in refused(encrypted)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("a", b"x")
        z.comment = b"hello"
    # the end record is not at the end
    assert "a zip archive without its end" in refused(out.getvalue())


def edited(field, value, where=b"PK\x01\x02", kind="<L"):
    data = bytearray(written())
    struct.pack_into(kind, data, data.index(where) + field, value)
    return data


@pytest.mark.parametrize(
    "data, message",
    [
        (edited(20, 1 << 31), "is compressed"),
        (edited(24, 7), "is compressed"),
        (edited(16, 1), "header that differs"),
        (edited(42, 5), "overlaps"),
        (edited(42, 0xFFFFFFFF), "no 64-bit sizes"),
        (edited(28, 60000, kind="<H"), "its directory is damaged"),
        (edited(32, 9, kind="<H"), "its directory is damaged"),
        (edited(10, 0xFFFF, b"PK\x05\x06", "<H"), "comment"),
        (edited(16, 3, b"PK\x05\x06"), "does not end where"),
        (edited(16, 0xFFFFFFFF, b"PK\x05\x06"), "64-bit end record"),
        (edited(18, 1 << 30, b"PK\x03\x04"), "header that differs"),
        (edited(26, 3, b"PK\x03\x04", "<H"), "header that differs"),
        (edited(28, 0, b"PK\x03\x04", "<H"), "overlaps"),
    ],
)
def test_a_header_that_lies_is_refused(data, message):
    assert message in refused(data)


def test_a_declared_size_beyond_the_file_is_refused_before_it_is_read():
    data = written([("a", [memoryview(b"x" * 100)])])
    huge = struct.pack("<LL", 1 << 31, 1 << 31)
    old = struct.pack("<LL", 100, 100)
    assert data.count(old) == 2
    assert "is said to have 2147483648 bytes" in refused(data.replace(old, huge))


def test_bytes_that_belong_to_no_member_are_refused():
    data = written([("a", [memoryview(b"x" * 100)])])
    shorter = data.replace(struct.pack("<LL", 100, 100), struct.pack("<LL", 90, 90))
    assert "10 bytes between its members and its directory" in refused(shorter)


def test_a_padding_that_contains_something_is_refused():
    data = bytearray(written())
    data[2000] = 1
    assert "'a.txt' has an extra field that is no padding" in refused(data)


def test_every_truncation_is_refused():
    data = written([("a", [memoryview(b"x" * 10)]), ("b", [memoryview(b"y")])])
    for size in range(len(data)):
        refused(data[:size])
