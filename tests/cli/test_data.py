import subprocess
import sys
import tomllib

import pytest
import typer

from ds2cli.cli.main import app


def test_validate_accepts_or_names_the_line(ds2, jsonl, tmp_path):
    good = jsonl(tmp_path / "good.jsonl", [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}])
    done = ds2("data", "validate", good, "--needs", "id,text")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"{good}: all 2 rows are valid\n")
    (tmp_path / "bad.jsonl").write_text('{"id":"a","text":"x"}\n{"id":"b","text":5}\n{"id":"a","text":"y"}\n')
    done = ds2("data", "validate", "bad.jsonl", "--needs", "id,text", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stdout.splitlines() == [
        "wrong-type: a field has a value of another type",
        "  bad.jsonl:2 b: field 'text' must be a string, got 5",
        "not-sorted: an id that comes before that of an earlier row",
        "  bad.jsonl:3 a: the id comes after 'b', expected sorted ids (ds2 data sort)",
        "duplicate-id: the id of an earlier row",
        "  bad.jsonl:3 a: the id 'a' is also in line 1 (ds2 data fix drops the later row)",
        "",
        "kind          severity  count  first",
        "wrong-type    fault     1      bad.jsonl:2",
        "not-sorted    fault     1      bad.jsonl:3",
        "duplicate-id  fault     1      bad.jsonl:3",
    ]
    assert done.stderr == "ds2: bad.jsonl: 3 faults in 2 of 3 rows (ds2 data fix repairs or drops them)\n"


def test_validate_prints_the_first_faults_of_each_kind_and_reports_all(ds2, jsonl, tmp_path):
    rows = [{"id": f"u{i}", "text": "x" if i < 5 else i} for i in range(8)]
    jsonl(tmp_path / "late.jsonl", rows)
    options = ("--needs", "id,text", "--most", 2, "--ignore", "duplicate-text")
    done = ds2("data", "validate", "late.jsonl", *options, "--report", "all.jsonl", cwd=tmp_path)
    assert [line.split(" ")[2] for line in done.stdout.splitlines()[1:3]] == ["late.jsonl:6", "late.jsonl:7"]
    assert done.stdout.splitlines()[3].startswith("  … and 1 more (--most 3 prints them")
    assert "3 faults in 3 of 8 rows" in done.stderr
    assert [
        (row["path"], row["line"], row["id"], row["kind"], row["severity"]) for row in jsonl(tmp_path / "all.jsonl")
    ] == [("late.jsonl", i + 1, f"u{i}", "wrong-type", "fault") for i in (5, 6, 7)]
    as_json = ds2("data", "validate", "late.jsonl", *options, "--json", cwd=tmp_path)
    assert as_json.returncode == 3 and as_json.stdout == (tmp_path / "all.jsonl").read_text()


def test_warnings_are_faults_only_if_they_are_to_be(ds2, tmp_path):
    rows = '{"id":"a","text":"x"}\n{"id":"b","text":"x"}\n'
    done = ds2("data", "validate", "--needs", "id,text", "-", stdin=rows)
    assert done.returncode == 0 and "  <stdin>:2 b: the text 'x' is also in line 1" in done.stdout
    assert done.stderr == "<stdin>: all 2 rows are valid, 1 warning (--strict counts them as faults)\n"
    done = ds2("data", "validate", "--needs", "id,text", "--strict", stdin=rows)
    assert done.returncode == 3 and "duplicate-text  fault     1      <stdin>:2" in done.stdout
    assert (
        ds2("data", "validate", "--needs", "id,text", "--strict", "--ignore", "duplicate-text", stdin=rows).returncode
        == 0
    )
    done = ds2("data", "validate", "--ignore", "duplicate-txt", stdin=rows)
    assert done.returncode == 2 and "did you mean 'duplicate-text'?" in done.stderr


@pytest.mark.parametrize(
    "args, code",
    [
        (["data", "validate", "missing.jsonl"], 3),
        (["data", "subset", "--first", "x"], 2),
        (["data", "subset", "--frist", "3"], 2),
        (["data", "subset", "--first", "-3"], 2),
        (["data", "subset", "--set", "frist=3"], 2),
        (["data", "subset", "--config", "missing.toml"], 2),
        (["data", "split", "a.jsonl", "b.jsonl"], 2),
        (["data", "combine", "a.jsonl"], 2),
        (["nonsense"], 2),
    ],
)
def test_mistakes_have_an_exit_status_and_no_traceback(ds2, tmp_path, args, code):
    done = ds2(*args, stdin="", cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_filter_between_two_pipes(ds2, tmp_path):
    rows = "".join(f'{{"id":"u{i}","duration":{i}}}\n' for i in range(5))
    done = ds2("data", "subset", "--min-duration", "3", "-", "-", stdin=rows)
    assert done.stdout == '{"id":"u3","duration":3}\n{"id":"u4","duration":4}\n'
    assert done.stderr == "subset: 5 in = 2 kept + 0 dropped + 3 not selected (3 duration)\n"


def test_too_many_bad_rows_are_refused(ds2, jsonl, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id":"a"}\n{"id":\n')
    out = tmp_path / "out.jsonl"
    done = ds2("data", "subset", path, out)
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert not out.exists()
    assert [r["reason"] for r in jsonl(f"{out}.dropped.jsonl")] == ["not-json"]
    assert ds2("data", "subset", path, out, "--max-bad", "60").returncode == 0
    assert jsonl(out) == [{"id": "a"}]
    assert "max_bad = 60.0" in (tmp_path / "out.jsonl.config.toml").read_text()


def test_split_and_combine_are_inverse(ds2, jsonl, tmp_path):
    rows = [{"id": f"u{i:02}", "audio_filepath": f"wav/{i}.wav"} for i in range(10)]
    path = jsonl(tmp_path / "a.jsonl", rows)
    assert ds2("data", "split", path, tmp_path / "parts" / "JOB.jsonl", "--parts", "3").returncode == 0
    assert tomllib.loads((tmp_path / "parts/all.jsonl.config.toml").read_text())["parts"] == 3
    parts = [tmp_path / "parts" / f"{i}.jsonl" for i in (1, 2, 3)]
    assert ds2("data", "combine", *parts, tmp_path / "b.jsonl").returncode == 0
    assert jsonl(tmp_path / "b.jsonl") == rows


def test_a_split_that_cannot_keep_speakers_apart_writes_nothing(ds2, jsonl, tmp_path):
    rows = [{"id": f"u{i}", "duration": 1.0} for i in range(4)]
    jsonl(tmp_path / "a.jsonl", rows)
    jsonl(tmp_path / "b.jsonl", [{**row, "speaker": row["id"][:1]} for row in rows])
    for source, message in (("a.jsonl", "4 of 4 rows have no speaker"), ("b.jsonl", "1 different speakers")):
        done = ds2("data", "split", source, "part.JOB.jsonl", "--by", "speaker", cwd=tmp_path)
        assert done.returncode == 1 and done.stderr.startswith(f"ds2: {source}: {message}"), done.stderr
    assert len(list(tmp_path.iterdir())) == 2
    done = ds2("data", "split", "a.jsonl", "part.JOB.jsonl", "--parts", 6, cwd=tmp_path)
    message = "ds2: a.jsonl: 4 rows, expected at least one for each of 6 parts (--parts 4, or --allow-empty)\n"
    assert (done.returncode, done.stderr) == (1, message)
    assert len(list(tmp_path.iterdir())) == 2
    done = ds2("data", "split", "a.jsonl", "part.JOB.jsonl", "--parts", 6, "--allow-empty", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "warning: split: 2 of 6 parts are empty: a.jsonl has 4 rows\n")


def test_overlap(ds2, jsonl, tmp_path):
    rows = [{"id": f"u{i}", "speaker": f"s{i // 2}", "text": "ab"[i % 2]} for i in range(6)]
    for name, part in (("a", rows[:2]), ("b", rows[2:3]), ("c", rows[3:])):
        jsonl(tmp_path / f"{name}.jsonl", part)
    done = ds2("data", "overlap", "a.jsonl", "b.jsonl", "--fields", "id, speaker", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "overlap: 2 manifests have no id or speaker in common\n"
    done = ds2("data", "overlap", "a.jsonl", "b.jsonl", "c.jsonl", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "b.jsonl: 1 of 1 rows shares its text with a.jsonl: 'a'",
        "c.jsonl: 1 of 3 rows shares its speaker with b.jsonl: 's1'",
        "c.jsonl: 3 of 3 rows share their text with a.jsonl: 'a', 'b'",
        "c.jsonl: 1 of 3 rows shares its text with b.jsonl: 'a'",
    ]
    assert "warning: overlap: a.jsonl: 2 of 2 rows have no recording to compare" in done.stderr
    assert ds2("data", "overlap", "a.jsonl", cwd=tmp_path).returncode == 2


@pytest.mark.long
def test_nothing_found_is_no_success(ds2, jsonl, tmp_path):
    jsonl(tmp_path / "a.jsonl", [{"id": "a", "text": "x", "pred_text": "y"}, {"id": "b", "text": "", "pred_text": ""}])
    (tmp_path / "none.jsonl").touch()
    for arguments, status, message in (
        ("data show a.jsonl c b", 1, "a.jsonl: no row has the id 'c'"),
        ("data show none.jsonl", 3, "none.jsonl: no utterances, expected at least one"),
        ("data validate none.jsonl", 3, "none.jsonl: no utterances"),
        ("data overlap a.jsonl none.jsonl", 3, "none.jsonl: no utterances"),
        (
            "data overlap a.jsonl a.jsonl --fields speeker",
            1,
            "overlap: nothing was compared: a manifest has no",
        ),
        ("data combine none.jsonl none.jsonl out.jsonl", 3, "none.jsonl, none.jsonl: no utterances"),
        ("data subset a.jsonl out.jsonl --match z", 1, "subset: refused: none of 2 utterances is kept"),
        ("score a.jsonl --by speeker", 1, "score: --by speeker: no utterance has this field"),
        ("score none.jsonl out.jsonl --max-bad 100", 3, "none.jsonl: no utterances"),
    ):
        done = ds2(*arguments.split(), cwd=tmp_path)
        assert done.returncode == status and f"ds2: {message}" in done.stderr.splitlines()[-1], done.stderr
    assert not (tmp_path / "out.jsonl").exists()
    assert ds2("data", "combine", "none.jsonl", "a.jsonl", "out.jsonl", cwd=tmp_path).returncode == 0


def test_show_and_stats(ds2, jsonl, tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"id": "a", "text": "你好", "duration": 2.0}])
    assert "你好" in ds2("data", "show", path, "a").stdout
    assert "alphabet  你好" in ds2("data", "stats", path).stdout


@pytest.mark.parametrize(
    "arguments, shown",
    [
        ([], range(10)),
        (["--most", "2"], (0, 1)),
        (["u03", "u11"], (3, 11)),
        (["--most", "1", "u03", "u11"], (3,)),
    ],
)
def test_show_prints_the_first_rows_or_those_with_the_ids(tmp_path, jsonl, capsys, arguments, shown):
    path = jsonl(tmp_path / "a.jsonl", [{"id": f"u{i:02}", "n": i} for i in range(12)])
    typer.main.get_command(app).main(["data", "show", path, *arguments], standalone_mode=False)
    assert capsys.readouterr().out == "".join(f"{'id':>16}  u{i:02}\n{'n':>16}  {i}\n\n" for i in shown)


def test_a_closed_pipe_is_not_an_error_message(tmp_path):
    rows = "".join(f'{{"id":"u{i:06}"}}\n' for i in range(50000))
    (tmp_path / "a.jsonl").write_text(rows)
    command = [sys.executable, "-m", "ds2cli", "data", "subset", str(tmp_path / "a.jsonl")]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    writer.stdout.readline()
    writer.stdout.close()
    errors = writer.stderr.read()
    writer.stderr.close()
    assert writer.wait(30) in (1, 141)
    assert "Traceback" not in errors


def test_an_unreadable_input_leaves_the_earlier_result_and_its_drops(ds2, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id":"a"}\n{"id":"b"\n')
    assert ds2("data", "sort", "a.jsonl", "b.jsonl", "--max-bad", 100, cwd=tmp_path).returncode == 0
    before = sorted(p.name for p in tmp_path.iterdir())
    done = ds2("data", "sort", "missing.jsonl", "b.jsonl", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (3, "ds2: missing.jsonl: no such file or directory\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_combine_drops_a_bad_row_and_names_it(ds2, tmp_path, jsonl):
    (tmp_path / "a.jsonl").write_text('{"id":"a"}\nnot json\n')
    jsonl(tmp_path / "b.jsonl", [{"id": "b"}])
    done = ds2("data", "combine", "a.jsonl", "b.jsonl", "out.jsonl", "--max-bad", "50", cwd=tmp_path)
    assert done.returncode == 0 and "3 in = 2 kept + 1 dropped (1 not-json)" in done.stderr, done.stderr
    assert jsonl(tmp_path / "out.jsonl") == [{"id": "a"}, {"id": "b"}]
    assert [row["id"] for row in jsonl(tmp_path / "out.jsonl.dropped.jsonl")] == ["a.jsonl:2"]


def test_feature_settings_follow_the_rows(ds2, jsonl, tmp_path):
    """Training saves the settings that it finds next to its manifest with the network."""
    (tmp_path / "x.wav").touch()
    (tmp_path / "x.ark").touch()
    audio = {"audio_filepath": "x.wav", "duration": 1.0, "feats": "x.ark:1", "num_frames": 9}
    rows = [{"id": c, "text": c, **audio} for c in "abcd"]
    jsonl(tmp_path / "in.jsonl", rows)
    (tmp_path / "in.jsonl.config.toml").write_text('kind = "fbank"\nnum_mels = 161\nhop_ms = 5.0\nnj = 4\n')
    for command in (
        "sort in.jsonl in.jsonl",
        "fix in.jsonl b.jsonl",
        "subset b.jsonl c.jsonl",
        "split c.jsonl d.JOB.jsonl",
    ):
        assert ds2("data", *command.split(), cwd=tmp_path).returncode == 0
    assert ds2("data", "combine", "d.1.jsonl", "d.2.jsonl", "e.jsonl", cwd=tmp_path).returncode == 0
    for name in ("in", "b", "c", "d.1", "d.2", "e"):
        saved = tomllib.loads((tmp_path / f"{name}.jsonl.config.toml").read_text())["made_by"]["features"]
        assert (saved["kind"], saved["num_mels"], saved["hop_ms"], "nj" in saved) == ("fbank", 161, 5.0, False)
    # as settings of the command itself, they are ignored
    assert ds2("data", "subset", "e.jsonl", "f.jsonl", "--config", "e.jsonl.config.toml", cwd=tmp_path).returncode == 0


def test_rows_with_other_feature_settings_are_not_merged(ds2, jsonl, tmp_path):
    for name, settings in (("a", 'kind = "fbank"\nnum_mels = 161\n'), ("b", "window_ms = 20.0\n"), ("c", "nj = 1\n")):
        jsonl(tmp_path / f"{name}.jsonl", [{"id": name}])
        (tmp_path / f"{name}.jsonl.config.toml").write_text(settings)
    done = ds2("data", "combine", "a.jsonl", "c.jsonl", "b.jsonl", "out.jsonl", cwd=tmp_path)
    assert done.returncode == 3
    names = "kind, low_hz, num_mels, preemphasis"
    assert done.stderr == f"ds2: b.jsonl: its features have other settings than those of a.jsonl: {names}\n"
    assert not (tmp_path / "out.jsonl").exists()
    assert ds2("data", "combine", "a.jsonl", "c.jsonl", "out.jsonl", cwd=tmp_path).returncode == 0


def test_selecting_rows_needs_no_plugin_of_their_features(ds2, jsonl, tmp_path):
    jsonl(tmp_path / "a.jsonl", [{"id": "a"}])
    (tmp_path / "a.jsonl.config.toml").write_text('kind = "other"\nparts = 5\nnj = 2\n')
    for source, out in (("a.jsonl", "b.jsonl"), ("b.jsonl", "c.jsonl")):
        assert ds2("data", "sort", source, out, cwd=tmp_path).returncode == 0
        saved = tomllib.loads((tmp_path / f"{out}.config.toml").read_text())["made_by"]["features"]
        assert saved == {"kind": "other", "parts": 5}
