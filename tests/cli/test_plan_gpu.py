"""`ds2 plan --gpu` and `ds2 plan --extrapolate`: options, text, JSON, and errors."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from ds2cli.cli.main import app
from ds2cli.errors import DataError, UsageError

DATA = ["--hours", "960", "--utterances", "281241"]
TABLE_10 = [(120, 29.23), (1200, 13.80), (2400, 11.65), (6000, 9.51)]


def run(*arguments):
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


def lines(done):
    assert done.exception is None, done.exception
    return [(line[:14].strip(), line[14:]) for line in done.stdout.splitlines()]


@pytest.fixture
def curve(tmp_path, jsonl):
    return jsonl(tmp_path / "curve.jsonl", [{"hours": hours, "wer": wer} for hours, wer in TABLE_10])


def test_an_estimate_without_data():
    arguments = [*DATA, "--gpu", "a100-80", "--nproc", "8", "--batch-s", "1600", "--precision", "bfloat16"]
    found = dict(lines(run(*arguments)))
    names = "data GPU network precision steps longest_batch time memory disk estimate"
    assert list(found) == [name.replace("_", " ") for name in names.split()]
    assert found["GPU"] == "8 x A100 SXM4 80 GB" and found["precision"] == "bfloat16"
    assert re.fullmatch(r"[\d.]+ (h|min), [\d.]+ (h|min|s) per epoch \([\d.]+ h of audio per hour\)", found["time"])
    assert re.fullmatch(r"[\d,]+ MB per GPU of 76,186 MB, largest batch_s that fits: [\d,]+", found["memory"])
    assert re.fullmatch(r"[\d.]+ MB; stored features 5\d\.\d GB compressed, 20\d\.\d GB otherwise", found["disk"])
    assert found["estimate"].startswith("nothing was measured: published times were 0.6 to 2.1 times")
    as_json = json.loads(run(*arguments, "--json").stdout)
    assert as_json["estimate"] is True and (as_json["gpu"], as_json["gpus"]) == ("a100-80", 8)
    assert f"{as_json['memory_mb']:,} MB" in found["memory"] and as_json["fits"]


def test_a_batch_that_does_not_fit():
    found = dict(lines(run(*DATA, "--gpu", "t4", "--batch-s", "20000", "--set", "model.rnn_size=2048")))
    assert re.fullmatch(
        r"[\d,]+ MB per GPU: does not fit \(of 15,237 MB; largest batch_s that fits: [\d,]+\)", found["memory"]
    )


def test_the_data_of_a_manifest(toy):
    done = run(toy / "train.jsonl", "--dev", toy / "dev.jsonl", "--gpu", "rtx-3090", "--batch-s", "5", "--json")
    found = json.loads(done.stdout)
    assert (found["utterances"], found["symbols"], found["dropped"]) == (48, 5, 0)
    without_dev = json.loads(run(toy / "train.jsonl", "--gpu", "rtx-3090", "--batch-s", "5", "--json").stdout)
    assert found["minutes"] > without_dev["minutes"] > 0


def test_the_features_may_have_other_bins(tmp_path):
    (tmp_path / "fbank.toml").write_text('kind = "fbank"\nnum_mels = 80\n')
    found, other = (
        json.loads(run(*DATA, "--gpu", "v100", *more, "--json").stdout)
        for more in ([], ["--features", tmp_path / "fbank.toml"])
    )
    assert other["parameters"] < found["parameters"] and other["features_mb"] < 0.6 * found["features_mb"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "TRAIN is missing (or give --gpu NAME --hours H --utterances N)"),
        (DATA, "TRAIN is missing"),
        (["train.jsonl", "--hours", "5"], "--hours describes data that are not there, but TRAIN is given"),
        (["--gpu", "v100", "--hours", "5"], "--utterances is missing"),
        (["--gpu", "v100", "--utterances", "5"], "--hours is missing"),
        ([*DATA, "--gpu", "a100"], "--gpu a100: not a known GPU, did you mean a100-40 or a100-80?"),
        ([*DATA, "--gpu", "h10"], "did you mean h100?"),
        ([*DATA, "--gpu", "zzz"], "--gpu zzz: not a known GPU, expected one of titan-x"),
        ([*DATA, "--gpu", ""], "not a known GPU, expected one of"),
        ([*DATA, "--gpu", "v100", "--precision", "bfloat16"], "v100 has no units for it"),
        ([*DATA, "--gpu", "v100", "--device", "cpu"], "--device cpu: expected auto or cuda with --gpu v100"),
        ([*DATA, "--gpu", "v100", "--longest", "1"], "--longest 1: expected at least the mean length, 12.3 s"),
        ([*DATA, "--gpu", "v100", "--dev", "dev.jsonl"], "--dev needs TRAIN"),
        ([*DATA, "--gpu", "v100", "--set", "mix={manifests=['b.jsonl'],weights=[0.3]}"], "mix.manifests needs TRAIN"),
        ([*DATA, "--gpu", "v100", "--set", "units.kind=bigram"], "(give it: --symbols 700)"),
        (["--gpu", "v100", "--hours", "1", "--utterances", "900000"], "1 h would be 4 ms for each of them"),
        ([*DATA, "--gpu", "v100", "--target-wer", "5"], "--target-wer only applies with --extrapolate"),
        (["--extrapolate", "c.jsonl"], "--hours is missing"),
        (["--extrapolate", "c.jsonl", *DATA], "--utterances has no effect with --extrapolate"),
        (["--extrapolate", "c.jsonl", "--hours", "5", "--gpu", "v100"], "--gpu has no effect with --extrapolate"),
        (["--extrapolate", "c.jsonl", "--hours", "5", "--epochs", "5"], "the setting epochs has no effect"),
        (["t.jsonl", "--extrapolate", "c.jsonl", "--hours", "5"], "TRAIN has no effect with --extrapolate"),
    ],
)
def test_contradictions_are_one_line(arguments, message):
    error = run(*arguments).exception
    assert isinstance(error, UsageError) and message in str(error) and "\n" not in str(error)


def test_a_prediction(curve):
    found = lines(run("--extrapolate", curve, "--hours", "12000", "--target-wer", "8"))
    assert [name for name, _ in found] == ["curve", "prediction", "tenfold data", "target"]
    texts = dict(found)
    # the floor is one of a grid
    assert re.fullmatch(
        r"wer = 20\d\.\d h\^-0\.4\d+ \+ 5\.\d+, from 4 runs with 4 sizes, 120 to 6,000 h", texts["curve"]
    )
    assert re.match(r"8\.4\d % at 12,000 h \(95 % interval 8\.[23]\d to 8\.[56]\d, over the resid", texts["prediction"])
    assert (
        re.match(r"39\.\d % lower \(3\d\.\d to 4\d\.\d\) from 1,200", texts["tenfold data"])
        and "the paper states about 40 %" in texts["tenfold data"]
    )
    assert re.fullmatch(r"8 % needs 1[67],\d\d0 h \([\d,]+ h to [\d,]+ h\)", texts["target"])
    as_json = json.loads(run("--extrapolate", curve, "--hours", "12000", "--json").stdout)
    assert as_json["wer"] == pytest.approx(8.46, rel=0.01) and as_json["over"] == "residuals" and not as_json["far"]


def test_cautions(tmp_path, jsonl, curve):
    far = lines(run("--extrapolate", curve, "--hours", "120000", "--target-wer", "3"))
    assert far[-1] == ("caution", "120,000 h is 20 times the largest size: no run supports this")
    assert re.fullmatch(r"3 % is not reached with any amount of data: the curve levels off at 5\.\d\d %", far[-2][1])
    rows = [{"hours": hours, "wer": wer, "seed": seed} for hours, wer in ((10, 20), (20, 22)) for seed in (1, 2)]
    rising = lines(run("--extrapolate", jsonl(tmp_path / "rising.jsonl", rows), "--hours", "40", "--target-wer", "5"))
    assert rising[-1] == ("caution", "the error rate does not fall with more data in these runs")
    assert "over seeds" in dict(rising)["prediction"]
    rows = [{"hours": 10, "wer": 40}, {"hours": 100, "wer": 20}]
    steep = lines(run("--extrapolate", jsonl(tmp_path / "two.jsonl", rows), "--hours", "200", "--target-wer", "1"))
    assert steep[-1] == (
        "caution",
        "the hours for the target are beyond 10 times the largest size: no run supports them",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected runs with at least 2 sizes of training set, got 0"),
        ('{"hours": 1, "wer": 5}\n{"hours": 1, "wer": 6}\n', "at least 2 sizes of training set, got 1"),
        ('{"hours": 1}\n', "curve.jsonl:1: wer: expected a number above 0, got nothing"),
        ('{"hours": true, "wer": 5}\n', "hours: expected a number above 0, got true"),
        ('{"hours": "1", "wer": 5}\n', 'got "1"'),
        ('{"hours": 1, "wer": 0}\n', "wer: expected a number above 0, got 0"),
        ('{"hours": 1, "wer": NaN}\n', "curve.jsonl:1: "),
        ('{"hours": 1e400, "wer": 3}\n', "curve.jsonl:1: "),
        ("[1, 2]\n", "curve.jsonl:1: "),
        ('{"hours": 1, "wer": 5}\nnonsense\n', "curve.jsonl:2: not JSON"),
        (
            '{"hours": 1, "wer": 5, "seed": 3}\n{"hours": 1, "wer": 6, "seed": 3}\n',
            "curve.jsonl:2: expected one row for 1 h and seed 3",
        ),
    ],
)
def test_bad_curves_are_refused_with_their_line(tmp_path, text, message):
    (tmp_path / "curve.jsonl").write_text(text)
    error = run("--extrapolate", tmp_path / "curve.jsonl", "--hours", "5").exception
    assert isinstance(error, DataError) and message in str(error) and "\n" not in str(error)
