"""Fuzz Kaldi archives: damaged ones, any reference to them, and decoding of what they hold."""

import json
import struct
from pathlib import Path

import numpy as np
from fuzzing import allowed_errors, check_counts, ds2, fuzz
from hypothesis import strategies as st
from inputs import NUMBERS, damaged

from ds2cli.archive import ArkWriter, matrix_shape, read_matrix
from ds2cli.text.vocab import BLANK, Vocab

VOCAB = Vocab((BLANK, " ", "a", "b"))
SIZES = st.one_of(st.integers(-2, 20), st.sampled_from([2**31 - 1, -(2**31), 2**20, 65536]))
FLOATS = st.floats(width=32)
HEADERS = st.one_of(
    st.builds(lambda kind, rows, columns: kind + struct.pack("<bibi", 4, rows, 4, columns),
              st.sampled_from([b"FM ", b"DM ", b"FV ", b"XX "]), SIZES, SIZES),
    st.builds(lambda kind, low, span, rows, columns: kind + struct.pack("<ffii", low, span, rows, columns),
              st.sampled_from([b"CM ", b"CM2 ", b"CM3 ", b"CM4 "]), FLOATS, FLOATS, SIZES, SIZES),
    st.binary(max_size=20),
)  # fmt: skip


def archive(compress):
    """The bytes of an archive of three small matrices, and the reference to each."""
    rng = np.random.default_rng(0)
    with ArkWriter("x.ark", compress) as ark:
        refs = [ark.write(f"u{i}", np.log(rng.dirichlet(np.ones(4), 12 * i + 4)).astype(np.float32)) for i in range(3)]
    return Path("x.ark").read_bytes(), refs


@fuzz(st.data(), st.booleans(), st.booleans())
def test_damaged_archives(data, compress, has_key):
    content, refs = archive(compress)
    Path("x.ark").write_bytes(data.draw(damaged(content)))
    for i, ref in enumerate(refs):
        key = f"u{i}" if has_key else None
        with allowed_errors():
            matrix = read_matrix(ref, key)
            assert matrix.dtype == np.float32 and matrix.ndim == 2
            assert matrix_shape(ref, key) == matrix.shape


@fuzz(HEADERS, st.binary(max_size=400), NUMBERS, st.text(max_size=10))
def test_any_header_and_reference(header, body, number, text):
    Path("x.ark").write_bytes(b"u0 \0B" + header + body)
    text = text.replace("\n", " ")
    for ref in ("x.ark:3", f"x.ark:{number}", f"x.ark:{text}", f"{text}:3", text, "x.ark:3[0:2]", ".:3"):
        for read in (read_matrix, matrix_shape):
            with allowed_errors():
                read(ref)


@fuzz(st.data(), st.booleans(), st.booleans())
def test_decoding_of_damaged_emissions(data, compress, greedy):
    content, refs = archive(compress)
    VOCAB.save("tokens.txt")
    # the beam search of a network without a language model needs no kernel that the suite has not compiled
    rows = [{"id": f"u{i}", "text": "a", "emission": ref, "step_s": 0.02} for i, ref in enumerate(refs)]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("x.ark").write_bytes(data.draw(damaged(content)))
    options = ["--greedy"] if greedy else ["--beam", 4]
    check_counts(ds2("decode", ".", "in.jsonl", "out.jsonl", "--max-bad", 100, *options), "out.jsonl", 3)
    check_counts(ds2("align", ".", "in.jsonl", "out.jsonl", "--max-bad", 100), "out.jsonl", 3)
