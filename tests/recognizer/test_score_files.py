"""Scores of other programs: files of arrays, Kaldi archives, and what becomes of them."""

from __future__ import annotations

import io
import zipfile

import kaldi_native_io
import numpy as np
import pytest

from ds2cli.archive import ArkWriter, list_matrices, read_matrix
from ds2cli.errors import BadUtterance, DataError
from ds2cli.recognizer.score_files import open_scores, to_log_probs
from ds2cli.text.tokens import Tokens, parse_tokens
from ds2cli.text.vocab import BLANK, Vocab

RNG = np.random.default_rng(0)
MATRICES = {"a": RNG.normal(size=(7, 4)), "bé": RNG.normal(size=(1, 4)), "c": RNG.normal(size=(40, 4))}
MATRICES = {name: value.astype(np.float32) for name, value in MATRICES.items()}


def test_arrays_by_id(tmp_path):
    path = str(tmp_path / "s.npz")
    np.savez(path, **MATRICES, integers=np.arange(8).reshape(2, 4), half=np.ones((2, 4), np.float16))
    read = open_scores(path)
    for name, value in MATRICES.items():
        np.testing.assert_array_equal(read(name), value)
    assert read("integers").dtype == read("half").dtype == np.float32
    with pytest.raises(BadUtterance, match=r"no-scores: .*s.npz has no scores of d"):
        read("d")


def test_compressed_arrays(tmp_path):
    np.savez_compressed(tmp_path / "s.npz", **MATRICES)
    np.testing.assert_array_equal(open_scores(str(tmp_path / "s.npz"))("c"), MATRICES["c"])


@pytest.mark.parametrize(
    "value", [np.array([object()]), np.array("text"), np.zeros(3), np.zeros((2, 2, 2)), 1j * np.ones((2, 2))]
)
def test_arrays_that_are_no_matrices_cost_one_utterance(tmp_path, value):
    """Objects too, which only running code could read."""
    np.savez(tmp_path / "s.npz", a=value, c=MATRICES["c"])
    read = open_scores(str(tmp_path / "s.npz"))
    with pytest.raises(BadUtterance, match="not-a-matrix"):
        read("a")
    assert len(read("c")) == 40


def test_an_array_that_is_shorter_than_its_header_states(tmp_path):
    header = io.BytesIO()
    np.save(header, np.zeros((4, 4), np.float32))
    with zipfile.ZipFile(tmp_path / "s.npz", "w") as f:
        f.writestr("a.npy", header.getvalue()[:-8])
        f.writestr("b.npy", header.getvalue().replace(b"(4, 4)", b"(9999999999, 99999)")[:200])
    read = open_scores(str(tmp_path / "s.npz"))
    for name in "ab":
        with pytest.raises((BadUtterance, MemoryError)):
            read(name)


@pytest.mark.parametrize("compress", [False, True])
def test_archives_of_ours(tmp_path, compress):
    path = str(tmp_path / "s.ark")
    with ArkWriter(path, compress=compress) as ark:
        places = {name: ark.write(name, value) for name, value in MATRICES.items()}
        places["double"] = ark.write("double", np.ones((2, 4)))
        places["none"] = ark.write("none", np.zeros((0, 0), np.float32))
    assert dict(list_matrices(path)) == places
    read = open_scores(path)
    for name in places:
        np.testing.assert_array_equal(read(name), read_matrix(places[name], name))


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["ark", "ark,scp"])
def test_archives_of_kaldi(tmp_path, kind):
    ark, scp = tmp_path / "s.ark", tmp_path / "s.scp"
    target = f"ark:{ark}" if kind == "ark" else f"ark,scp:{ark},{scp}"
    with kaldi_native_io.FloatMatrixWriter(target) as writer:
        for name, value in MATRICES.items():
            writer.write(name, value)
    read = open_scores(str(ark if kind == "ark" else scp))
    for name, value in MATRICES.items():
        np.testing.assert_array_equal(read(name), value)


def test_a_list_of_places_may_be_moved_with_its_archive(tmp_path):
    with ArkWriter(str(tmp_path / "s.ark")) as ark:
        place = ark.write("a", MATRICES["a"])
    (tmp_path / "s.scp").write_text(f"a s.ark:{place.rpartition(':')[2]}\n")
    np.testing.assert_array_equal(open_scores(str(tmp_path / "s.scp"))("a"), MATRICES["a"])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("s.npz", b"", "not a .npz file"),
        ("s.npz", b"PK\x03\x04broken", "not a .npz file"),
        ("s.npz", b"cos\nsystem\n(S'false'\ntR.", "not a .npz file"),
        ("s.ark", b"a  [\n 1 2\n 3 4 ]\n", "not a binary Kaldi archive"),
        ("s.ark", b"a \0BFM \x04\x02\0\0\0\x04\x02\0\0\0abc", "not a binary Kaldi archive .* ends within"),
        ("s.scp", b"a cat x.ark |\n", "s.scp:1: expected ID PATH:BYTE, got 'a cat x.ark |'"),
        ("s.h5", b"x", "expected a file of scores"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        open_scores(str(tmp_path / name))


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(DataError, match=r"s.npz: no such file"):
        open_scores(str(tmp_path / "s.npz"))
    (tmp_path / "s.ark").mkdir()
    with pytest.raises(DataError, match=r"s.ark: this is a folder"):
        open_scores(str(tmp_path / "s.ark"))


TOKENS = parse_tokens(b"a\n<unk>\n|\n<blank>\n", "t")


def test_columns_are_reordered_and_logits_normalized():
    logits = np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 1000.0]], np.float32)
    found = to_log_probs(logits, TOKENS)
    total = np.logaddexp.reduce(logits.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(found, (logits - total)[:, [3, 0, 2]], rtol=1e-6)
    assert TOKENS.vocab.symbols == (BLANK, "a", " ") and found.flags.c_contiguous


def test_log_probabilities_stay_and_probabilities_get_a_log():
    p = np.array([[0.25, 0.25, 0.5, 0.0], [0.1, 0.2, 0.3, 0.4]], np.float32)
    with np.errstate(divide="ignore"):
        log_p = np.log(p)
    np.testing.assert_array_equal(to_log_probs(log_p, TOKENS), log_p[:, [3, 0, 2]])
    np.testing.assert_array_equal(to_log_probs(p, TOKENS), log_p[:, [3, 0, 2]])
    rounded = log_p.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(to_log_probs(rounded, TOKENS), rounded[:, [3, 0, 2]])


def test_nan_stays():
    assert np.isnan(to_log_probs(np.full((2, 4), np.nan, np.float32), TOKENS)).all()


def test_scores_of_another_number_of_symbols_are_an_error():
    with pytest.raises(DataError, match="expected scores of 4 symbols per step, found 2 x 5"):
        to_log_probs(np.zeros((2, 5), np.float32), TOKENS)
    with pytest.raises(DataError, match="expected scores of 2 symbols per step, found 3"):
        to_log_probs(np.zeros(3, np.float32), Tokens.of(Vocab((BLANK, "a"))))
    with pytest.raises(BadUtterance, match="too-short"):
        to_log_probs(np.zeros((0, 4), np.float32), TOKENS)
