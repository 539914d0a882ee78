import shutil

import pytest

from ds2cli.corpora import mini_librispeech
from ds2cli.corpora.mini_librispeech import Options, fetch
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.stages import prepare as stage


@pytest.fixture
def tree(tmp_path, shared_data):
    """The two subsets, of the recordings of LibriSpeech."""
    for name, subset in (("train-clean-5", "test-clean"), ("dev-clean-2", "dev-clean")):
        shutil.copytree(shared_data / "LibriSpeech" / subset, tmp_path / "LibriSpeech" / name)
    return tmp_path / "LibriSpeech"


def test_the_published_layout(tree):
    for part, number in (("all", 11), ("train-clean-5", 4), ("dev-clean-2", 7)):
        rows = list(stage.run("mini_librispeech", str(tree), Options(part=part), Ledger()))
        assert len(rows) == number and (part == "all" or {row["split"] for row in rows} == {part})


def test_both_subsets_are_downloaded(tmp_path, tree, site, packed, monkeypatch):
    checksums = {}
    for name in mini_librispeech.CHECKSUMS:
        files = {f"LibriSpeech/{p.relative_to(tree)}": p for p in sorted((tree / name).rglob("*.*"))}
        checksums[name] = site.put(f"31/{name}.tar.gz", packed["tar"](files))
    monkeypatch.setattr(mini_librispeech, "CHECKSUMS", checksums)
    source = str(tmp_path / "new")
    fetch(source, Options(download=True, mirror=f"{site.address}/"))
    assert [path for path, _ in site.requests] == ["/31/dev-clean-2.tar.gz", "/31/train-clean-5.tar.gz"]
    assert len(list(stage.run("mini_librispeech", source, Options(), Ledger()))) == 11
    with pytest.raises(UsageError, match=r"--part dev-clean: expected subsets to download: dev-clean-2, train-clean-5"):
        fetch(source, Options(download=True, part="dev-clean"))
