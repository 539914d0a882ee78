"""The shell scripts: options, jobs, and the usage lines of the recipes."""

import os
import signal
import subprocess
import sys
import time
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted([*ROOT.glob("egs/*/*.sh"), *ROOT.glob("steps/*.sh"), *ROOT.glob("utils/*.sh")])


def bash(script, *args, cwd=None):
    ds2 = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": ds2, "PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", *map(str, [script, *args])], capture_output=True, text=True, cwd=cwd, env=env)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name if p.parent.name != "asterisk" else "asterisk")
def test_every_script_is_valid_bash(script):
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    first = script.read_text().splitlines()[0]
    sourced = script.name in ("options.sh", "path.sh", "cores.sh")
    assert (first == "#!/usr/bin/env bash") == os.access(script, os.X_OK) or sourced


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "s.sh"
    options = ROOT / "utils" / "options.sh"
    path.write_text(f'set -eu\nnj=2; long_name=; flag=false; help=usage\n. {options}\necho "$nj|$long_name|$flag|$*"\n')
    return path


@pytest.mark.parametrize(
    "args, out",
    [
        ([], "2||false|"),
        (["--nj", "4", "a", "b"], "4||false|a b"),
        (["--nj=4", "--long-name", "x y", "--", "--nj"], "4|x y|false|--nj"),
        (["--long-name=--mem=4G -p a=b"], "2|--mem=4G -p a=b|false|"),
        (["--flag", "a"], "2||true|a"),
        (["--flag", "true", "a"], "2||true|a"),
        (["--help"], "usage"),
    ],
)
def test_options(script, args, out):
    done = bash(script, *args)
    assert (done.returncode, done.stdout.strip()) == (0, out)


@pytest.mark.parametrize("args", [["--nope", "1"], ["--nj"], ["--PATH=x"], ["--n;j=1"]])
def test_wrong_options_exit_2(script, args):
    done = bash(script, *args)
    assert done.returncode == 2
    assert args[0].split("=")[0] in done.stderr


def test_each_job_has_its_log(tmp_path):
    run = ROOT / "utils" / "run.sh"
    done = bash(run, "--max-jobs", "2", "JOB=1:5", tmp_path / "log" / "x.JOB.log", "sh", "-c", "echo hello JOB")
    assert done.returncode == 0
    for job in range(1, 6):
        log = (tmp_path / "log" / f"x.{job}.log").read_text()
        assert f"\nhello {job}\n" in log
        assert "status 0" in log.splitlines()[-1]


def test_no_more_than_max_jobs_run_at_once(tmp_path):
    # each job counts the jobs that have started and not ended
    count = "touch on.JOB; sleep 0.3; set -- on.*; echo $#; rm on.JOB"
    done = bash(ROOT / "utils" / "run.sh", "--max-jobs", "2", "JOB=1:4", "x.JOB.log", "sh", "-c", count, cwd=tmp_path)
    assert done.returncode == 0
    counts = [int((tmp_path / f"x.{job}.log").read_text().splitlines()[2]) for job in range(1, 5)]
    assert max(counts) <= 2


def test_logs_of_an_earlier_run_are_removed_before_the_first_job(tmp_path):
    command = (ROOT / "utils" / "run.sh", "--max-jobs", "1", "JOB=1:2", "x.JOB.log", "sh", "-c", "ls x.*.log")
    for _ in range(2):
        assert bash(*command, cwd=tmp_path).returncode == 0
        assert (tmp_path / "x.1.log").read_text().splitlines()[2:-1] == ["x.1.log"]


def test_failed_job_fails_the_run_and_shows_its_log(tmp_path):
    done = bash(ROOT / "utils" / "run.sh", "JOB=1:3", tmp_path / "x.JOB.log", "sh", "-c", "echo job JOB; [ JOB != 2 ]")
    assert done.returncode == 1
    assert "status 1" in done.stderr
    assert "job 2" in done.stderr
    assert "job 1" not in done.stderr


def test_filter_in_parts_equals_the_filter(tmp_path, jsonl):
    rows = [{"id": f"u{i:02}", "duration": float(i)} for i in range(9)]
    path = jsonl(tmp_path / "in.jsonl", rows)
    command = ["ds2", "data", "subset", "--min-duration", "4", "{in}", "{out}"]
    done = bash(ROOT / "steps" / "split_jobs.sh", "--nj", "3", path, tmp_path / "out.jsonl", tmp_path / "log", *command)
    assert done.returncode == 0, done.stderr
    assert jsonl(tmp_path / "out.jsonl") == rows[4:]


@pytest.mark.parametrize("recipe", ["asterisk", "librispeech"])
def test_recipes_print_their_usage(recipe):
    run = ROOT / "egs" / recipe / "run.sh"
    assert "usage:" in bash(run, "--help").stdout
    assert bash(run, "--stop").returncode == 2


def test_a_single_job_has_number_1_and_the_number_of_threads(tmp_path):
    words = "--num-threads", "1", "x.JOB.log", "sh", "-c", "echo threads $OMP_NUM_THREADS job JOB"
    assert bash(ROOT / "utils" / "run.sh", *words, cwd=tmp_path).returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["x.1.log"]
    assert (tmp_path / "x.1.log").read_text().splitlines()[2] == "threads 1 job 1"


def test_the_numbers_of_jobs_may_have_leading_zeros(tmp_path):
    assert bash(ROOT / "utils" / "run.sh", "JOB=08:10", "x.JOB.log", "true", cwd=tmp_path).returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.10.log", "x.8.log", "x.9.log"]


def test_jobs_do_not_read_the_input_of_the_script(tmp_path):
    command = ["bash", ROOT / "utils" / "run.sh", "x.JOB.log", "cat"]
    assert subprocess.run(command, input="for the shell\n", text=True, cwd=tmp_path, timeout=30).returncode == 0
    assert "for the shell" not in (tmp_path / "x.1.log").read_text()


def test_a_job_that_is_stopped_writes_its_status(tmp_path):
    with (tmp_path / "log").open("w") as log:
        command = ["bash", ROOT / "utils" / "job.sh", "sleep", "60"]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        while "# started" not in (tmp_path / "log").read_text():
            time.sleep(0.01)
        # again, should the first signal come before the command has started
        while process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            time.sleep(0.05)
    assert process.returncode == 143
    assert (tmp_path / "log").read_text().rstrip().endswith("status 143")


def fake(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def test_the_ds2_of_the_active_environment_comes_before_that_of_the_checkout(tmp_path):
    for folder in ("active", ".venv/bin"):
        fake(tmp_path / folder / "ds2", f"echo {folder}")
    command = ["/bin/bash", "-c", f". {ROOT}/utils/path.sh; ds2", "name"]

    def run(path):
        env = {"PATH": path, "root": str(tmp_path)}
        return subprocess.run(command, env=env, capture_output=True, text=True)

    assert run(f"{tmp_path}/active:/usr/bin:/bin").stdout == "active\n"
    assert run("/usr/bin:/bin").stdout == ".venv/bin\n"
    (tmp_path / ".venv/bin/ds2").unlink()
    done = run("/usr/bin:/bin")
    assert done.returncode == 2
    assert done.stderr == "name: no ds2 on the PATH (make setup, then . .venv/bin/activate)\n"


def check_python(folder, python):
    """Run utils/check_python.sh with only the programs in `folder`."""
    command = ["/bin/bash", ROOT / "utils" / "check_python.sh", python]
    return subprocess.run(command, env={"PATH": str(folder)}, capture_output=True, text=True)


def test_a_python_that_is_too_old_or_has_no_venv_is_reported_in_one_line(tmp_path):
    good = check_python(tmp_path, sys.executable)
    assert (good.returncode, good.stderr) == (0, "")
    fake(tmp_path / "old", "exit 1")
    done = check_python(tmp_path, "old")
    assert done.returncode == 1
    assert done.stderr == "old: ds2cli needs Python 3.11 or later (make PYTHON=python3.12 …)\n"
    fake(tmp_path / "bare", "[[ $2 == *version_info* ]]")
    done = check_python(tmp_path, "bare")
    assert done.returncode == 1
    assert done.stderr.startswith("bare has no venv module (install it with your package manager; ")
    fake(tmp_path / "apt-get", "exit 1")
    fake(tmp_path / "id", "echo 1000")
    done = check_python(tmp_path, "bare")
    assert (done.returncode, done.stderr) == (1, "bare has no venv module (sudo apt-get install python3-venv)\n")


def test_root_gets_the_venv_module_installed_also_without_package_lists(tmp_path):
    fake(tmp_path / "bare", "[[ $2 == *version_info* ]]")
    fake(tmp_path / "id", "echo 0")
    lists = tmp_path / "lists"
    fake(tmp_path / "apt-get", f'echo "$*" >> {tmp_path}/calls; [[ $1 != update ]] || : > {lists}; [[ -e {lists} ]]')
    install = "install -qq -y python3-venv"
    for calls in ([install, "update -qq", install], [install]):
        (tmp_path / "calls").unlink(missing_ok=True)
        done = check_python(tmp_path, "bare")
        assert (done.returncode, (tmp_path / "calls").read_text().splitlines()) == (0, calls), done.stderr


FAKE_DS2 = r"""
echo "$*" >> COMMANDS
seed=${2%/*}; seed=${seed##*.}
case "$1 $2" in
  train*)
    row='{"loss": %s, "dev_wer": %s, "dev_cer": %s}\n'
    [[ $3 != /* ]] || printf "$row" 2 50 30  1.25 40 20  1.5 41 21 >"$3/train.jsonl" ;;
  score*/dev.greedy.*) printf '%%WER 6%s.0 [ 1 / 9 ]\n%%CER 7%s.0 [ 1 / 9 ]\n' "$seed" "$seed" ;;
  score*/dev.*) echo "%WER 1$seed.0 [ 1 / 9 ]" ;;
  score*/test.greedy.*) printf '%%WER 2%s.0 [ 1 / 9 ]\n%%CER 3%s.0 [ 1 / 9 ]\n' "$seed" "$seed" ;;
  score*/test.lm.*) printf '%%WER 4%s.0 [ 1 / 9 ]\n%%CER 5%s.0 [ 1 / 9 ]\n' "$seed" "$seed" ;;
esac
"""


@pytest.fixture
def recipe(tmp_path):
    """Run a recipe with a `ds2` that only writes down its commands; returns them, as lists of words, and the output.

    Paths below tmp_path are given without it.
    """

    def run(name, *args):
        log = tmp_path / "commands"
        log.write_text("")
        fake(tmp_path / "bin" / "ds2", FAKE_DS2.replace("COMMANDS", str(log)))
        env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        command = ["bash", str(ROOT / "egs" / name), *map(str, args)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert done.returncode == 0, done.stderr
        return [line.replace(f"{tmp_path}/", "/").split() for line in log.read_text().splitlines()], done.stdout

    return run


def values_of(option, commands):
    """The value of an option in each command that has it, after the name of the command."""
    return [(words[0], words[i + 1]) for words in commands for i, word in enumerate(words) if word == option]


def assert_files_are_written_before_they_are_read(commands, given):
    """The last argument before the options of a command is what it writes, but for `decode --tune` and `data stats`."""
    known = set(given)
    for words in commands:
        arguments = [*takewhile(lambda word: not word.startswith("--"), words)]
        written = set() if "--tune" in words or words[:2] == ["data", "stats"] else {arguments[-1]}
        made = {words[i + 1] for i, word in enumerate(words) if word in ("--dir", "--ctm", "--json")}
        missing = {word for word in words if word.startswith("/")} - written - made - known
        assert not missing, words
        known |= written


def test_the_recipe_of_asterisk_passes_its_options_to_the_stages(recipe, tmp_path):
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp/dev.ctm").touch()
    fbank = "conf/featurize.fbank.toml"
    options = ["--lang", "es", "--nj", 3, "--conf", "c.toml", "--seed", 7, "--features", fbank, "--corpus", "corpus"]
    commands, _ = recipe("asterisk/run.sh", *options, "--exp", tmp_path / "exp", "--data", tmp_path / "data")
    assert_files_are_written_before_they_are_read(commands, ["/corpus"])
    names = [words[0] for words in commands]
    assert values_of("--lang", commands) == [("prepare", "es")] * 4
    assert values_of("--part", commands) == [("prepare", part) for part in ("train", "dev", "test")]
    assert values_of("--seed", commands) == [("train", "7")]
    assert values_of("--nj", commands) == [("featurize", "3")] * 3 + [("decode", "3")] * 3 + [("score", "3")]
    assert [value for value in values_of("--config", commands) if value[0] == "featurize"] == [
        ("featurize", "conf/featurize.train.toml"),
        *[("featurize", fbank)] * 3,
    ]
    assert [words[2] for words in commands if "conf/featurize.train.toml" in words] == ["/data/train.feats.jsonl"]
    assert ("train", "c.toml") in values_of("--config", commands)
    assert names.count("prepare") == 4 and "--no-download" in commands[0]
    # neither the network nor the language model nor the weights of the search may know the test part
    for words in commands:
        if words[0] in ("lm", "train") or "--tune" in words or "--why" in words:
            assert "test" not in " ".join(words)
            assert words[0] in ("lm", "train") or "/dev." in words[1] + words[2]
    assert values_of("--dev", commands) == [("lm", "/data/dev.jsonl"), ("train", "/data/dev.feats.jsonl")]


@pytest.mark.parametrize(
    ("name", "stages", "expected"),
    [
        ("asterisk/run.sh", (0, 0), ["prepare"]),
        ("asterisk/run.sh", (3, 5), ["lm", "train", "emit", "emit"]),
        ("librispeech/run.sh", (5, 8), ["train", *["emit"] * 4, "data", "decode"]),
    ],
)
def test_only_the_stages_that_are_asked_for_run(recipe, tmp_path, name, stages, expected):
    corpus = ["--corpus-dir", tmp_path, "--average", "false"] if name.startswith("libri") else []
    commands, _ = recipe(name, "--stage", stages[0], "--stop-stage", stages[1], *corpus)
    assert [words[0] for words in commands] == expected
    if corpus:
        commands, _ = recipe(name, "--stage", 5, "--stop-stage", 5, "--mini", "true", *corpus)
        assert commands[0][:3] == ["train", "data/mini/train.feats.jsonl", "exp/mini"]
        assert values_of("--config", commands) == [("train", "conf/mini.toml")]
    elif expected == ["prepare"]:
        assert commands[0][2:4] == ["corpus/en", "data/en/all.jsonl"] and "--download" in commands[0]
    else:
        # other features have folders of their own
        commands, _ = recipe(name, "--stage", 4, "--stop-stage", 4, "--features", "conf/featurize.fbank.toml")
        assert commands[0][:3] == ["train", "data/en-fbank/train.feats.jsonl", "exp/en-fbank"]


def test_the_recipe_of_librispeech_passes_its_options_to_the_stages(recipe, tmp_path):
    for folder in ("corpus", "exp"):
        (tmp_path / folder).mkdir()
    subsets = ["--train", "t1 t2", "--dev", "d1 d2", "--test", "e1 e2", "--text", tmp_path / "more.txt"]
    options = ["--corpus-dir", "corpus", "--nj", 3, "--nproc", 2, "--conf", "c.toml", "--average", "false", *subsets]
    options += ["--lm", "transcripts", "--rescore", "own", "--stage", 1, "--stop-stage", 11]
    commands, _ = recipe("librispeech/run.sh", *options, "--exp", tmp_path / "exp", "--data", tmp_path / "data")
    assert_files_are_written_before_they_are_read(commands, ["/corpus", "/more.txt", "/exp/rescore"])
    assert values_of("--part", commands) == [("prepare", part) for part in ("t1", "t2", "d1", "d2", "e1", "e2")]
    assert values_of("--nproc", commands) == [("train", "2")]
    assert {value for _, value in values_of("--nj", commands)} == {"3"}
    assert {name for name, _ in values_of("--nj", commands)} == {"prepare", "featurize", "decode"}
    assert ("train", "c.toml") in values_of("--config", commands)
    combined = [words[2:] for words in commands if words[:2] == ["data", "combine"]]
    assert combined == [
        ["/data/t1.feats.jsonl", "/data/t2.feats.jsonl", "/data/train.feats.jsonl"],
        ["/data/d1.feats.jsonl", "/data/d2.feats.jsonl", "/data/dev.feats.jsonl"],
        ["/exp/d1.emit.jsonl", "/exp/d2.emit.jsonl", "/exp/dev.emit.jsonl"],
    ]
    small, large = ([word for word in words if word.startswith("/")] for words in commands if words[0] == "lm")
    assert small == ["/data/t1.jsonl", "/data/t2.jsonl", "/data/lm/transcripts.bin", "/data/d1.jsonl"]
    assert large == ["/data/t1.jsonl", "/data/t2.jsonl", "/more.txt", "/data/lm/own.bin", "/data/d1.jsonl"]
    # each language model has weights of its own, which know no test set
    tuned = [(words[1], words[2], words[words.index("--lm") + 1]) for words in commands if "--tune" in words]
    models = [("/exp", "/data/lm/transcripts.bin"), ("/exp/rescore", "/data/lm/own.bin")]
    assert tuned == [(exp, "/exp/dev.emit.jsonl", lm) for exp, lm in models]
    used = {
        (words[1], words[words.index("--lm") + 1]) for words in commands if words[0] == "decode" and "--lm" in words
    }
    assert used == set(models)
    scored = [words[1] for words in commands if words[0] == "score"]
    kinds = ("greedy", "lm", "rescored")
    assert scored == [f"/exp/{part}.{kind}.jsonl" for part in ("d1", "d2", "e1", "e2") for kind in kinds]


def test_the_table_of_seeds(recipe, tmp_path):
    """The rates of a network are those in the files of its own run; finished runs are kept."""
    options = ["--seeds", "1 3", "--features", "fbank", "--exp", tmp_path / "exp"]
    commands, table = recipe("asterisk/seeds.sh", *options)
    assert sorted(values_of("--seed", commands)) == [("train", "1"), ("train", "3")]
    assert ["conf/featurize.fbank.toml" in words for words in commands if words[0] == "featurize"] == [True] * 3
    rates = "61.0 | 71.0 | 11.0 | 21.0 | 31.0 | 41.0 | 51.0"
    means = [f"{n}2.0 ({n}1.0-{n}3.0)" for n in (6, 7, 1, 2, 3, 4, 5)]
    assert table.splitlines()[2:] == [
        f"| fbank, 1 | 1.5 | {rates} |",
        f"| fbank, 3 | 1.5 | {rates.replace('1.0', '3.0')} |",
        f"| **fbank, mean and range** | 1.5 (1.5-1.5) | {' | '.join(means)} |",
    ]
    again, same = recipe("asterisk/seeds.sh", *options)
    assert "train" not in [words[0] for words in again] and same == table


def test_the_table_of_ablations(recipe, tmp_path):
    """Networks are compared after their last epoch."""
    options = ["--seeds", "1 3", "--only", "gru", "--exp", tmp_path / "exp", "--data", tmp_path / "data"]
    commands, table = recipe("asterisk/ablations.sh", *options)
    assert sorted(values_of("--seed", commands)) == [("train", "1"), ("train", "3")]
    assert {words[1] for words in commands if words[0] == "train"} == {"/data/train.feats.jsonl"}
    assert values_of("--config", [words for words in commands if words[0] == "train"])[-1] == (
        "train",
        "conf/ablations/gru.toml",
    )
    assert table.splitlines()[2:] == [
        "| gru | 2 | 2.00 | 1.500 | 21.0 (21.0-21.0) | 41.0 (41.0-41.0) | 12.0 (11.0-13.0) |"
    ]
