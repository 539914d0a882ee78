"""Kaldi's files of a score, by hand and compared with Kaldi's scripts."""

import os
import random
import re
import subprocess
from pathlib import Path

import pytest

from ds2cli.errors import DataError
from ds2cli.metrics.alignment import align_units
from ds2cli.metrics.kaldi_layout import EMPTY, KaldiLayout


def write(folder, utterances, chunk=1000, **options):
    """Write the layout of (id, speaker, reference, hypothesis); return its files by name."""
    with KaldiLayout(str(folder), **options) as layout:
        for begin in range(0, len(utterances), chunk):
            part = utterances[begin : begin + chunk]
            refs, hyps = [u[2].split() for u in part], [u[3].split() for u in part]
            layout.add([u[0] for u in part], [u[1] for u in part], align_units(refs, hyps))
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder / "scoring_kaldi")): file.read_text("utf-8") for file in files}


# the example of Kaldi's scripts
EXAMPLE = ("UTT-A", "A", "word-A word-B word-C word-D word-E", "word-A word-A word-B word-D word-X")


def test_one_utterance(tmp_path):
    files = write(tmp_path, [EXAMPLE], source="exp/decode/wer_10")
    assert files.pop("best_wer") == "%WER 60.00 [ 3 / 5, 1 ins, 1 del, 1 sub ] exp/decode/wer_10\n"
    assert files.pop("wer_details/per_utt") == (
        "UTT-A ref  word-A    ***   word-B  word-C  word-D  word-E\n"
        "UTT-A hyp  word-A  word-A  word-B    ***   word-D  word-X\n"
        "UTT-A op      C       I       C       D       C       S  \n"
        "UTT-A #csid 3 1 1 1\n"
    )
    assert files.pop("wer_details/per_spk") == (
        "SPEAKER         id       #SENT      #WORD       Corr        Sub        Ins        Del        Err      S.Err\n"
        "A               raw          1          5          3          1          1          1          3          1\n"
        "A               sys          1          5      60.00      20.00      20.00      20.00      60.00     100.00\n"
        "SUM             raw          1          5          3          1          1          1          3          1\n"
        "SUM             sys          1          5      60.00      20.00      20.00      20.00      60.00     100.00\n"
    )
    assert files.pop("wer_details/ops") == (
        "correct       word-A    word-A    1\n"
        "correct       word-B    word-B    1\n"
        "correct       word-D    word-D    1\n"
        "deletion      word-C       ***    1\n"
        "insertion        ***    word-A    1\n"
        "substitution  word-E    word-X    1\n"
    )
    # every draw is this utterance
    assert files.pop("wer_details/wer_bootci") == "Set1: %WER 60.00 95% Conf Interval [ 60.00, 60.00 ]\n"
    assert not files


def test_empty_texts_and_missing_speakers(tmp_path):
    files = write(tmp_path, [("u1", None, "", ""), ("u2", "a b", "", "x"), ("u3", "c" * 20, "é", "")])
    assert files["wer_details/per_utt"].startswith("u1 ref  \nu1 hyp  \nu1 op   \nu1 #csid 0 0 0 0\nu2 ref  ***\n")
    names = [line.split()[:2] for line in files["wer_details/per_spk"].splitlines()[1:]]
    long = "c" * 20
    # without words there are no percentages
    assert names == [["a_b", "raw"], [long, "raw"], [long, "sys"], ["unknown", "raw"], ["SUM", "raw"], ["SUM", "sys"]]
    assert files["best_wer"] == f"%WER 200.00 [ 2 / 1, 1 ins, 1 del, 0 sub ] {tmp_path}\n"


def test_no_utterances(tmp_path):
    files = write(tmp_path, [])
    assert files["best_wer"].startswith("%WER 0.00 [ 0 / 0, 0 ins, 0 del, 0 sub ] ")
    assert files["wer_details/wer_bootci"] == "Set1: %WER 0.00 95% Conf Interval [ 0.00, 0.00 ]\n"
    assert files["wer_details/ops"] == files["wer_details/per_utt"] == ""


def test_absent_hypotheses_are_marked(tmp_path):
    with KaldiLayout(str(tmp_path)) as layout:
        layout.add(["u1"], ["s"], align_units([["a"]], [[]]))
        layout.absent = 1
    line = (tmp_path / "scoring_kaldi" / "best_wer").read_text()
    assert line == f"%WER 100.00 [ 1 / 1, 0 ins, 1 del, 0 sub ] [PARTIAL] {tmp_path}\n"


def test_an_error_leaves_no_file(tmp_path):
    with pytest.raises(DataError, match=r"utterance 'u2' has the word \*\*\*"):
        write(tmp_path, [("u1", "s", "a ****", "a"), ("u2", "s", "a", "a ***")])
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
    # insertions and deletions have it on the other side
    write(tmp_path, [("u1", "s", "a", "b c"), ("u2", "s", "a b", "c")])


def test_the_interval_is_that_of_the_binomial_distribution(tmp_path):
    # 20 % of 400 words; standard deviation 2 %
    files = write(tmp_path, [(f"u{i}", "s", "a", "b" if i < 80 else "a") for i in range(400)], seed=3)
    numbers = [float(n) for n in re.findall(r"\d+\.\d+", files["wer_details/wer_bootci"])]
    assert numbers == pytest.approx([20.0, 20 - 3.92, 20 + 3.92], abs=0.2)
    again = write(tmp_path, [(f"u{i}", "s", "a", "b" if i < 80 else "a") for i in range(400)], seed=3)
    assert again == files


def random_utterances(number):
    rng = random.Random(11)
    words = [
        "a",
        "b",
        "für",
        "fûr",
        "fur",
        "中文",
        "字",
        "it's",
        "x-",
        "Word",
        "word",
        "a" * 17,
        "<unk>",
        "中a",
        "~",
        "!",
    ]
    for i in range(number):
        ref = [rng.choice(words) for _ in range(rng.choice([0, 1, 3, 8]))]
        hyp = [rng.choice(words) if rng.random() < 0.3 else word for word in ref if rng.random() < 0.9]
        hyp += [rng.choice(words)] * rng.randint(0, 1)
        yield f"u{i:04d}", rng.choice(["ann", "Bob", "zoé", "s" * 18]), " ".join(ref), " ".join(hyp)


def test_chunks_make_no_difference(tmp_path):
    utterances = list(random_utterances(60))
    (tmp_path / "b").mkdir()
    assert write(tmp_path / "a", utterances, 7, source="x") == write(tmp_path / "b", utterances, source="x")


@pytest.mark.peer
def test_the_bytes_are_those_of_kaldis_scripts(tmp_path):
    utils = Path(os.environ.get("KALDI_ROOT", "")) / "egs" / "wsj" / "s5" / "utils"
    if not (utils / "scoring" / "wer_per_utt_details.pl").is_file():
        pytest.skip("needs Kaldi's scripts (set KALDI_ROOT)")
    utterances = list(random_utterances(500))
    files = write(tmp_path / "ours", utterances, 64, source="exp/wer_10_0.0")

    def filter_text(text, *command):
        env = {**os.environ, "LC_ALL": "C"}
        return subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True, env=env).stdout.decode()

    # as align-text writes alignments
    lines = []
    for id_, _, ref, hyp in utterances:
        steps = align_units([ref.split()], [hyp.split()]).edit_steps(0)
        pairs = " ; ".join(f"{r or EMPTY} {h or EMPTY}" for r, h in steps)
        lines.append(f"{id_} {pairs}\n")
    (tmp_path / "utt2spk").write_text("".join(f"{id_} {speaker}\n" for id_, speaker, _, _ in utterances))
    scripts, special = utils / "scoring", ("--special-symbol", EMPTY)
    per_utt = filter_text("".join(lines), "perl", scripts / "wer_per_utt_details.pl", *special)
    assert files["wer_details/per_utt"] == per_utt
    per_spk = filter_text(per_utt, "perl", scripts / "wer_per_spk_details.pl", tmp_path / "utt2spk")
    assert files["wer_details/per_spk"] == per_spk
    ops = filter_text(per_utt, "perl", scripts / "wer_ops_details.pl", *special)
    assert files["wer_details/ops"] == filter_text(ops, "sort", "-bi", "-k1,1", "-k4,4rn", "-k2,2", "-k3,3")
    # a file of one score, as grep WER exp/wer_10_0.0 /dev/null prints it
    line, name = files["best_wer"].rstrip("\n").rsplit(" ", 1)
    assert files["best_wer"] == filter_text(f"{name}:{line}\n", "bash", utils / "best_wer.sh")
