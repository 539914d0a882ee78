"""Strategies: hostile texts, names, JSON values and tables, and real files that were damaged."""

import math

from hypothesis import strategies as st

INVISIBLE = "\u200b\u200d\u200c\xad\ufeff\u202e\u2028\u0000\r\n\t\x1b\u0301\ufe0f\udce9\ud800"
TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(st.sampled_from("ab é'’\"“.,;|-0159&%°<>[](){}*#" + INVISIBLE), max_size=20),
    st.sampled_from(["hello world", "Guten Tag, Müller!", "it's 10:30", "$5.00", "<noise> yes", "", " ", "NaN", "-1"]),
)
"""Texts of any language, with what hides in them; lone surrogates are bytes that are not UTF-8."""

UNICODE = TEXTS.map(lambda text: text.encode("utf-8", "replace").decode())
NAMES = st.one_of(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.sampled_from(["a.wav", "b c.WAV", "-", "~", "con", "a\nb", "é", "e\u0301", "x" * 60, "a:1", "JOB"]),
).filter(lambda name: name not in (".", ".."))
"""Names of files."""

NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -0.0, 1e308, -1e308, 5e-324, math.inf, math.nan, 10**30, -(2**63), 2**64]),
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | UNICODE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(UNICODE, inner, max_size=3),
    max_leaves=5,
)
"""Any value that Python's json writes, NaN and huge numbers included."""

ENCODINGS = st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "utf-32"])
LINE_ENDS = st.sampled_from(["\n", "\n", "\r\n", "\r"])
_FRAGMENTS = (
    b"\0",
    b"\xff",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r\n",
    b"\r",
    b"\t",
    b'"',
    b"\xe2\x80\xa8",
    b"\xc3",
)
_NUMBERS = (b"-1", b"0", b"4294967295", b"99999999999999999999", b"nan", b"inf", b"1e400", b"1.5", b"")


@st.composite
def damaged(draw, data, most=4):
    """Bytes of a real file with up to `most` accidents: flipped bits, cuts, splices, lost lines, other numbers."""
    for _ in range(draw(st.integers(1, most))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        until = min(len(data), at + draw(st.integers(1, 64)))
        kind = draw(st.integers(0, 8))
        if kind == 0:
            data = data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at]
        elif kind == 2:
            data = data[:at] + data[until:]
        elif kind == 3:
            data = data[:at] + data[at:until] + data[at:]
        elif kind == 4:
            data = data[:at] + draw(st.sampled_from(_FRAGMENTS)) + data[at:]
        elif kind == 5:
            data = data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[until:]
        elif kind == 6:
            lines = data.splitlines(keepends=True)
            first, second = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
            lines[first] = draw(st.sampled_from([b"", 2 * lines[first], lines[second]]))
            data = b"".join(lines)
        elif kind == 7:
            data = _replace_number(draw, data, at)
        else:
            # the sizes in headers
            word = draw(st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 20])).to_bytes(4, "little")
            at = min(at, 200)
            data = data[:at] + word + data[at + 4 :]
    return data


def _replace_number(draw, data, at):
    """The first number from a place on, as another one."""
    start = next((i for i in range(at, min(len(data), at + 500)) if data[i : i + 1].isdigit()), None)
    if start is None:
        return data
    end = next((i for i in range(start, len(data)) if data[i] not in b"0123456789.eE-"), len(data))
    return data[:start] + draw(st.sampled_from(_NUMBERS)) + data[end:]


def encode(text, encoding):
    """The bytes of a text in an encoding; what it cannot write is replaced, lone surrogates are bytes in UTF-8."""
    errors = "surrogateescape" if encoding in ("utf-8", "utf-8-sig") else "replace"
    try:
        return text.encode(encoding, errors)
    except UnicodeEncodeError:
        return text.encode(encoding, "replace")
