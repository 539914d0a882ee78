"""Real commands in a folder; then something changes, and the status of every output is checked."""

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tomli_w
from typer.testing import CliRunner

from ds2cli import provenance
from ds2cli.checks.text_rules import explain_other_rules, find_text_rules
from ds2cli.cli.main import app
from ds2cli.errors import DataError, UsageError
from ds2cli.stages.explain_utterance import explain_utterance
from ds2cli.stages.ledger import make_entries
from ds2cli.stages.lineage import trace
from ds2cli.stages.status import find_status

NOISE = 0.1 * np.random.default_rng(0).normal(size=16000)


def ds2(*arguments):
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Recordings → all → feats, two parts of feats that are combined again, and a language model."""
    monkeypatch.chdir(tmp_path)
    Path("wav").mkdir()
    for name in "abc":
        soundfile.write(f"wav/{name}.wav", NOISE[: 8000 + 1000 * ord(name)], 16000)
        Path(f"wav/{name}.txt").write_text(f"the text of {name}")
    Path("f.toml").write_text("# how features are computed\ncompress = false\n")
    run_all()
    return tmp_path


def run_all(*options):
    return "".join(
        [
            ds2("prepare", "folder", "wav", "data/all.jsonl", *options),
            ds2("featurize", "data/all.jsonl", "data/feats.jsonl", "--config", "f.toml", *options),
            ds2(
                "data", "combine", "data/feats.jsonl", "data/feats.jsonl", "data/both.jsonl", "--max-bad", 60, *options
            ),
            ds2("data", "split", "data/feats.jsonl", "data/part.JOB.jsonl"),
            ds2("lm", "data/all.jsonl", "data/lm.arpa", "--order", 2, *options),
        ]
    )


def states(*places):
    return {status.out: status.state for status in find_status([*places] or ["."])}


def reasons(out):
    (status,) = find_status([out])
    return "; ".join(status.reasons)


PARTS = ["data/part.1.jsonl", "data/part.2.jsonl"]
FRESH = dict.fromkeys(["data/all.jsonl", "data/both.jsonl", "data/feats.jsonl", "data/lm.arpa", *PARTS], "fresh")


def test_everything_is_fresh_after_a_run(project):
    assert states() == FRESH
    assert run_all("--if-stale").count("fresh: nothing to do") == 4


def test_a_touch_or_a_comment_makes_nothing_stale(project):
    for file in (*Path("wav").iterdir(), Path("data/all.jsonl"), Path("data/feats.jsonl")):
        file.touch()
    Path("f.toml").write_text("# another comment\n\ncompress=false # still\n")
    assert states() == FRESH
    assert run_all("--if-stale").count("fresh: nothing to do") == 4


def test_a_changed_setting_is_named_and_what_depends_on_it_is_stale(project):
    Path("f.toml").write_text("compress = true\n")
    assert states() == FRESH | dict.fromkeys(["data/feats.jsonl", "data/both.jsonl", *PARTS], "stale")
    assert reasons("data/feats.jsonl") == "f.toml: compress was False, is True"
    assert reasons("data/both.jsonl") == "IN 1 data/feats.jsonl is stale; IN 2 data/feats.jsonl is stale"
    output = run_all("--if-stale")
    assert output.count("fresh: nothing to do") == 2
    assert "making data/feats.jsonl: compress was False, is True" in output
    assert states() == FRESH


def test_features_of_other_settings_are_noticed_though_their_rows_are_the_same(project):
    before = Path("data/feats.jsonl").read_bytes()
    ds2("featurize", "data/all.jsonl", "data/feats.jsonl", "--config", "f.toml", "--level-db", -30)
    assert Path("data/feats.jsonl").read_bytes() == before
    assert states()["data/both.jsonl"] == "stale"
    assert "was made again with other settings" in reasons("data/both.jsonl")


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (lambda: Path("wav/a.txt").write_text("another text"), ["data/all.jsonl", "data/feats.jsonl", "data/lm.arpa"]),
        (lambda: soundfile.write("wav/a.wav", NOISE[:5000], 16000), ["data/all.jsonl", "data/feats.jsonl"]),
        (lambda: soundfile.write("wav/a.wav", NOISE[: 8000 + 1000 * ord("a")] / 2, 16000), ["data/all.jsonl"]),
        (lambda: shutil.copy("wav/a.wav", "wav/d.wav"), ["data/all.jsonl"]),
        (lambda: Path("wav/c.wav").unlink(), ["data/all.jsonl", "data/lm.arpa"]),
    ],
)
def test_changes_of_the_recordings(project, change, stale):
    change()
    found = states()
    assert all(found[out] == "stale" for out in stale)
    assert reasons("data/all.jsonl") == "SRC wav has changed"


def test_an_output_that_was_edited_is_stale_and_so_is_what_was_made_from_it(project):
    Path("data/all.jsonl").write_text(Path("data/all.jsonl").read_text().replace("the", "a"))
    assert states() == dict.fromkeys(FRESH, "stale")
    assert reasons("data/all.jsonl") == "data/all.jsonl has changed since ds2 wrote it"


def test_missing_outputs_and_archives(project):
    Path("data/feats/feats.1.ark").unlink()
    assert states()["data/feats.jsonl"] == "partial"
    assert reasons("data/feats.jsonl") == "data/feats/feats.1.ark is missing"
    Path("data/feats.jsonl").unlink()
    stale = dict.fromkeys(["data/both.jsonl", *PARTS], "stale")
    assert states() == FRESH | stale | {"data/feats.jsonl": "missing"}
    assert run_all("--if-stale").count("fresh: nothing to do") == 3
    assert states() == FRESH


def test_a_truncated_archive_is_partial(project):
    archive = Path("data/feats/feats.1.ark")
    archive.write_bytes(archive.read_bytes()[:-1])
    assert states()["data/feats.jsonl"] == "partial"


def test_another_format_of_the_stage(project, monkeypatch):
    monkeypatch.setitem(__import__("ds2cli.provenance").provenance.FORMATS, "featurize", 2)
    assert reasons("data/feats.jsonl") == "written in format 1, now 2 (by ds2cli 0.1.0)"


def test_a_moved_folder_is_as_fresh_as_before(project):
    Path("moved").mkdir()
    for name in ("data", "wav", "f.toml"):
        shutil.move(name, f"moved/{name}")
    assert states() == {f"moved/{out}": "fresh" for out in FRESH}


def test_a_pipe_leaves_no_doubt_unmentioned(project):
    result = CliRunner().invoke(
        app, ["featurize", "-", "data/piped.jsonl"], input=Path("data/all.jsonl").read_text().replace('"../', '"')
    )
    assert result.exit_code == 0, result.output
    assert states()["data/piped.jsonl"] == "fresh"
    output = (
        CliRunner()
        .invoke(
            app,
            ["featurize", "-", "data/piped.jsonl", "--if-stale"],
            input=Path("data/all.jsonl").read_text().replace('"../', '"'),
        )
        .output
    )
    assert "IN is a pipe, of which no record is kept" in output


def test_the_command(project):
    Path("f.toml").write_text("compress = true\n")
    output = ds2("status")
    assert "fresh    data/all.jsonl  (prepare)" in output
    assert "           $ ds2" in output
    assert output.endswith("2 fresh, 4 stale\n")
    assert "data/all.jsonl" not in [line.split()[1] for line in ds2("status", "--stale").splitlines()]
    result = CliRunner().invoke(app, ["status", "--check"])
    assert result.exit_code
    assert "no outputs with a record" in ds2("status", "wav")


def test_places_without_a_record(project):
    with pytest.raises(UsageError, match="nowhere: no such file or folder"):
        list(find_status(["nowhere"]))
    with pytest.raises(DataError, match=r"f\.toml: no record of what it was made from"):
        list(find_status(["f.toml"]))
    Path("data/broken.config.toml").write_text("not toml")
    Path("data/other.config.toml").write_text("[made_by]\nstage = 3\n")
    assert states() == FRESH


def test_a_source_that_the_command_itself_fetches(project):
    shutil.move("wav", "elsewhere")
    missing = CliRunner().invoke(app, ["prepare", "folder", "wav", "data/all.jsonl", "--if-stale"])
    assert missing.exit_code
    assert "SRC wav is missing" in missing.output
    assert reasons("data/all.jsonl") == "SRC wav is missing"
    shutil.move("elsewhere", "wav")
    assert states() == FRESH


def test_the_rules_for_texts_are_those_of_the_stage_that_wrote_them(project):
    for out in ("data/all.jsonl", "data/feats.jsonl", "data/both.jsonl", "data/lm.arpa"):
        assert find_text_rules(out) == "letters" and explain_other_rules(out, "letters") == ""
    ds2("data", "fix", "data/both.jsonl", "data/fixed.jsonl", "--text-rules", "written")
    ds2("data", "subset", "data/fixed.jsonl", "data/two.jsonl", "--first", 2)
    assert find_text_rules("data/two.jsonl") == "written" and find_text_rules("wav") == find_text_rules("-") == ""
    explained = explain_other_rules("data/two.jsonl", "keep")
    assert "written with --text-rules written, and are read with keep (--text-rules written)" in explained


def test_a_damaged_record_costs_no_traceback(project):
    record = Path("data/feats.jsonl.config.toml")
    values = tomllib.loads(record.read_text())
    for name in ("parts", "configs", "output", "inputs", "reasons", "not_selected", "kept", "command"):
        for value in (3, "x", [1], {"a": "b"}, [{"path": "f.toml", "values": 3}]):
            record.write_text(tomli_w.dumps({**values, "made_by": {**values["made_by"], name: value}}))
            assert states("data/feats.jsonl") and list(explain_utterance("a", trace(["data"])))
            make_entries(trace(["data"]))


@pytest.mark.parametrize("content", [b"", b"no TOML\xff", b"max_bad = 1.0\n[made"])
def test_an_output_with_a_damaged_record_is_listed(project, content):
    Path("data/feats.jsonl.config.toml").write_bytes(content)
    output = ds2("status")
    assert "stale    data/feats.jsonl  (?)\n           data/feats.jsonl.config.toml is damaged: what" in output
    assert "the record of IN 1 data/feats.jsonl is missing or damaged" in output
    assert "data/feats.jsonl" in run_all("--if-stale")
    assert states() == FRESH


def test_what_an_interrupted_command_has_left_is_found_by_the_name_of_its_output(project):
    left = Path("data/feats/.new.featurize.unfinished")
    left.mkdir(parents=True)
    about = {"stage": "featurize", "out": "../new.jsonl", "command": "ds2 featurize data/all.jsonl data/new.jsonl"}
    (left / "about.json").write_text(json.dumps(about))
    for place in ("data/new.jsonl", "./data/new.jsonl"):
        assert "partial " in ds2("status", place)
    assert states("data/feats.jsonl") == {"data/feats.jsonl": "fresh"}
    with pytest.raises(UsageError, match="no such file or folder"):
        ds2("status", "data/other.jsonl")


def test_a_device_is_not_hashed(project):
    with pytest.raises(DataError, match="/dev/zero"):
        ds2("data", "sort", "/dev/zero", "data/sorted.jsonl")


def test_a_folder_that_several_outputs_are_made_from_is_read_once(project, monkeypatch):
    for name in ("b", "c"):
        ds2("prepare", "folder", "wav", f"data/{name}.jsonl")
    read, hash_folder = [], provenance.hash_folder
    monkeypatch.setattr(provenance, "hash_folder", lambda folder: read.append(folder) or hash_folder(folder))
    assert states() == FRESH | {"data/b.jsonl": "fresh", "data/c.jsonl": "fresh"}
    assert read == ["wav"]


def test_other_rules_for_texts(project):
    record = Path("data/all.jsonl.config.toml")
    rules = next(line for line in record.read_text().splitlines() if line.startswith("text_rules_hash"))
    record.write_text(record.read_text().replace(rules, 'text_rules_hash = "those of an earlier version"'))
    assert reasons("data/all.jsonl") == "the rules for texts have changed since"
    assert "making data/all.jsonl: the rules for texts have changed since" in run_all("--if-stale")
    assert states() == FRESH
