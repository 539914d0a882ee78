import struct

import numpy as np
import pytest

from ds2cli.archive import ArkWriter, archive_stem, matrix_shape, read_matrix
from ds2cli.errors import BadUtterance, UsageError

LENGTHS = [1, 2, 5, 8, 9, 10, 31, 32, 33, 100]


@pytest.fixture
def matrices():
    rng = np.random.default_rng(0)
    return {f"u{t:03}": (3 * rng.normal(size=(t, 161)) - 10).astype(np.float32) for t in LENGTHS}


def written(path, matrices, compress=False):
    with ArkWriter(path, compress) as ark:
        return {key: ark.write(key, matrix) for key, matrix in matrices.items()}


def test_a_float_matrix_is_read_exactly_and_without_a_copy(tmp_path, matrices):
    refs = written(tmp_path / "a.ark", matrices)
    for key, ref in refs.items():
        got = read_matrix(ref, key)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, matrices[key])
        assert not got.flags.owndata
        assert not got.flags.writeable


def test_a_view_outlives_its_file(tmp_path, matrices):
    refs = written(tmp_path / "a.ark", matrices)
    got = read_matrix(refs["u100"])
    (tmp_path / "a.ark").unlink()
    np.testing.assert_array_equal(got, matrices["u100"])


def test_compression_is_close_and_saves_space(tmp_path, matrices):
    refs = written(tmp_path / "a.ark", matrices, compress=True)
    for key, ref in refs.items():
        assert np.abs(read_matrix(ref, key) - matrices[key]).max() < 0.2
    raw_bytes = sum(m.nbytes for m in matrices.values())
    assert (tmp_path / "a.ark").stat().st_size < 0.45 * raw_bytes


@pytest.mark.parametrize("matrix", [np.zeros((20, 3)), np.full((20, 3), -7.5), np.full((3, 1), 1e30), np.eye(40)])
def test_compressed_edges(tmp_path, matrix):
    refs = written(tmp_path / "a.ark", {"a": matrix.astype(np.float32)}, compress=True)
    got = read_matrix(refs["a"])
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, matrix, atol=1e-2 * max(1, np.ptp(matrix)), rtol=1e-3)


@pytest.mark.parametrize("shape", [(0, 161), (1, 1), (3, 0)])
def test_empty_and_tiny(tmp_path, shape):
    for compress in (False, True):
        refs = written(tmp_path / "a.ark", {"a": np.ones(shape, np.float32)}, compress)
        assert read_matrix(refs["a"]).shape == shape


def test_a_double_matrix_is_kept_double(tmp_path):
    refs = written(tmp_path / "a.ark", {"global": np.full((2, 3), 1e100)}, compress=True)
    assert b"DM " in (tmp_path / "a.ark").read_bytes()
    small = written(tmp_path / "a.ark", {"global": np.full((2, 3), 0.25)})
    assert refs == small
    np.testing.assert_array_equal(read_matrix(small["global"]), np.full((2, 3), 0.25))


def test_kaldi_reads_our_archives(tmp_path, matrices):
    kaldi = pytest.importorskip("kaldi_native_io")
    for compress in (False, True):
        refs = written(tmp_path / "a.ark", matrices, compress)
        with kaldi.SequentialFloatMatrixReader(f"ark:{tmp_path / 'a.ark'}") as reader:
            kaldi_matrices = {key: np.array(matrix) for key, matrix in reader}
        assert kaldi_matrices.keys() == matrices.keys()
        for key, matrix in kaldi_matrices.items():
            np.testing.assert_allclose(read_matrix(refs[key], key), matrix, atol=2e-6)
        for ref in refs.values():
            kaldi.FloatMatrix.read(ref)


def test_archives_of_kaldi_are_read(tmp_path, matrices):
    kaldi = pytest.importorskip("kaldi_native_io")
    method = kaldi.CompressionMethod
    for kind in (method.kSpeechFeature, method.kTwoByteAuto, method.kOneByteAuto):
        spec = f"ark,scp:{tmp_path / 'k.ark'},{tmp_path / 'k.scp'}"
        with kaldi.CompressedMatrixWriter(spec) as writer:
            for key, matrix in matrices.items():
                writer.write(key, matrix, kind)
        with kaldi.SequentialFloatMatrixReader(f"scp:{tmp_path / 'k.scp'}") as reader:
            kaldi_matrices = {key: np.array(matrix) for key, matrix in reader}
        for line in (tmp_path / "k.scp").read_text().splitlines():
            key, ref = line.split()
            np.testing.assert_allclose(read_matrix(ref, key), kaldi_matrices[key], atol=2e-6)
    with kaldi.DoubleMatrixWriter(f"ark,scp:{tmp_path / 'd.ark'},{tmp_path / 'd.scp'}") as writer:
        writer.write("a", matrices["u005"].astype(np.float64))
    np.testing.assert_array_equal(read_matrix(f"{tmp_path / 'd.ark'}:2"), matrices["u005"])


def test_compression_is_that_of_kaldi(tmp_path, matrices):
    kaldi = pytest.importorskip("kaldi_native_io")
    written(tmp_path / "ds2", matrices, compress=True)
    with kaldi.CompressedMatrixWriter(f"ark:{tmp_path / 'kaldi'}") as writer:
        for key, matrix in matrices.items():
            writer.write(key, matrix, kaldi.CompressionMethod.kAutomaticMethod)
    ds2_bytes, kaldi_bytes = (np.frombuffer((tmp_path / name).read_bytes(), np.uint8) for name in ("ds2", "kaldi"))
    assert len(ds2_bytes) == len(kaldi_bytes)
    # the last bit of a rounding may differ, nothing else
    assert (ds2_bytes != kaldi_bytes).mean() < 1e-3


def test_a_failed_write_leaves_no_archive(tmp_path):
    path = tmp_path / "a.ark"
    with pytest.raises(RuntimeError), ArkWriter(path) as ark:
        ark.write("a", np.zeros((2, 2), np.float32))
        assert not path.exists()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_where_archives_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert archive_stem("featurize", None, "data/train.jsonl", "feats") == "data/feats/train"
    gzipped = str(tmp_path / "data/train.feats.jsonl.gz")
    assert archive_stem("featurize", None, gzipped, "feats") == "data/feats/train.feats"
    assert archive_stem("featurize", "/x", "data/train.jsonl", "feats") == "/x/train"
    assert archive_stem("featurize", "x", "-", "feats") == "x/feats"
    for pipe in ("-", "/dev/null"):
        with pytest.raises(UsageError, match=r"featurize: OUT is a pipe.*\(--dir feats\)"):
            archive_stem("featurize", None, pipe, "feats")


def reason(ref, key=None):
    with pytest.raises(BadUtterance) as e:
        read_matrix(ref, key)
    return e.value.reason


def test_errors_have_reasons(tmp_path, matrices):
    path = tmp_path / "a.ark"
    refs = written(path, matrices)
    assert reason(f"{tmp_path}/none.ark:5") == "missing-archive"
    assert reason("a.ark") == "not-a-matrix"
    assert reason(f"{path}:x") == "not-a-matrix"
    assert reason(f"{path}:0") == "not-a-matrix"
    assert reason(f"{path}:999999999") == "truncated-archive"
    assert reason(refs["u008"], "u009") == "stale-archive"
    data = path.read_bytes()
    path.write_bytes(data[:100])
    assert reason(refs["u100"], "u100") == "truncated-archive"
    for keep in (len(data) - 1, len(data) - 4 * 161 * 100, 8, 6):
        path.write_bytes(data[:keep])
        ref = refs["u100"] if keep > 100 else refs["u001"]
        assert reason(ref) == "truncated-archive"
    path.write_bytes(b"")
    assert reason(refs["u001"]) == "truncated-archive"
    assert reason(f"{tmp_path}:5") == "unreadable-archive"


def test_a_rewritten_archive_is_read_again(tmp_path):
    path = tmp_path / "a.ark"
    ref = written(path, {"a": np.zeros((2, 2), np.float32)})["a"]
    assert read_matrix(ref).sum() == 0
    written(path, {"a": np.ones((2, 2), np.float32)})
    assert read_matrix(ref).sum() == 4


def test_other_kaldi_objects_are_errors(tmp_path):
    path = tmp_path / "v.ark"
    path.write_bytes(b"a \0BFV " + struct.pack("<bi", 4, 2) + b"\0" * 8)
    assert reason(f"{path}:2") == "not-a-matrix"
    path.write_bytes(b"a  [\n 1 2 ]\n")
    assert reason(f"{path}:2") == "not-a-matrix"
    for rows, columns in ((-1, 5), (-2, -3)):
        path.write_bytes(b"a \0BFM " + struct.pack("<bibi", 4, rows, 4, columns) + b"\0" * 80)
        assert reason(f"{path}:2") == "not-a-matrix"
        path.write_bytes(b"a \0BCM3 " + struct.pack("<ffii", 0, 1, rows, columns) + b"\0" * 80)
        assert reason(f"{path}:2") == "not-a-matrix"


def test_the_whole_key_before_a_matrix_is_compared(tmp_path):
    refs = written(tmp_path / "a.ark", {key: np.ones((2, 2), np.float32) for key in ("1", "11", "21")})
    for shape_or_matrix in (matrix_shape, read_matrix):
        for key, ref in refs.items():
            shape_or_matrix(ref, key)
        for ref, key in (("1", "11"), ("11", "21"), ("21", "11"), ("11", "12"), ("1", "21")):
            with pytest.raises(BadUtterance, match="stale-archive"):
                shape_or_matrix(refs[ref], key)


@pytest.mark.parametrize("compress", [False, True])
def test_ids_and_paths_may_have_any_characters(tmp_path, compress):
    given = {key: np.full((3, 2), i, np.float32) for i, key in enumerate(["ä", "你好", "z:1"])}
    refs = written(tmp_path / "a:b é.ark", given, compress)
    for key, ref in refs.items():
        np.testing.assert_array_equal(read_matrix(ref, key), given[key])
        assert matrix_shape(ref, key) == (3, 2)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("shape", [(3, 7), (20, 7)])
def test_the_shape_of_a_matrix_is_that_of_a_complete_one(tmp_path, compress, shape):
    path = tmp_path / "a.ark"
    ref = written(path, {"a": np.random.default_rng(0).normal(size=shape).astype(np.float32)}, compress)["a"]
    assert matrix_shape(ref, "a") == shape
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadUtterance, match="truncated-archive"):
        matrix_shape(ref, "a")


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_a_path_that_no_system_accepts_costs_one_utterance(path):
    for shape_or_matrix in (matrix_shape, read_matrix):
        with pytest.raises(BadUtterance, match=r"missing-archive: .*: not a file name: "):
            shape_or_matrix(f"{path}:3", "a")


def test_an_archive_is_a_file(tmp_path, piped, matrices):
    written(tmp_path / "a.ark", matrices)
    path = piped((tmp_path / "a.ark").read_bytes(), "b.ark")
    for place, reason in ((path, "this is a pipe"), (tmp_path, "this is a folder"), ("/dev/zero", "this is a device")):
        with pytest.raises(
            BadUtterance, match=f"unreadable-archive: {place}: {reason}, .*expected a file|{reason}, exp"
        ):
            read_matrix(f"{place}:5")


def test_numbers_that_float32_cannot_hold_are_infinite(tmp_path):
    """Without a warning, which pytest would raise; the commands refuse such a matrix."""
    numbers = np.array([[1e300, -1e300], [np.nan, 0.5]])
    header = b"\0BDM \4" + struct.pack("<i", 2) + b"\4" + struct.pack("<i", 2)
    (tmp_path / "a.ark").write_bytes(b"u " + header + numbers.astype("<f8").tobytes())
    np.testing.assert_array_equal(read_matrix(f"{tmp_path}/a.ark:2"), [[np.inf, -np.inf], [np.nan, 0.5]])
