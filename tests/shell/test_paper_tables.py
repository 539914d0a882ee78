"""The local scripts of egs/paper: rows as runs, intervals and verdicts of known numbers, parts of a training set."""

import importlib
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ds2cli import manifest

PAPER = Path(__file__).parents[2] / "egs/paper"
SCRIPTS = "intervals", "rows", "table", "parts"


@pytest.fixture(scope="module")
def paper():
    """The scripts of egs/paper/local as modules."""
    sys.path.insert(0, str(PAPER / "local"))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in SCRIPTS})
    finally:
        sys.path.remove(str(PAPER / "local"))
        for name in SCRIPTS:
            sys.modules.pop(name, None)


def test_intervals_of_known_numbers(paper):
    known = {1: 12.706, 2: 4.303, 4: 2.776, 30: 2.042}
    for freedom, quantile in known.items():
        assert paper.intervals.t_quantile(freedom) == pytest.approx(quantile, abs=1e-3)
    found = paper.intervals.interval([10.0, 12.0, 14.0])
    # standard deviation 2, so 4.303 * 2 / sqrt(3)
    assert (found.mean, found.high - 12) == (12.0, pytest.approx(4.968, abs=1e-3))
    assert found.low == pytest.approx(12 - 4.968, abs=1e-3)
    assert paper.intervals.interval([7.0]) == paper.intervals.Interval(7.0, -math.inf, math.inf)
    assert paper.intervals.describe([10.0, 12.0, 14.0]) == "12.0 (10.0–14.0; ±5.0)"
    assert (paper.intervals.describe([7.0]), paper.intervals.describe([])) == ("7.0", "-")


def test_differences_have_welchs_interval(paper):
    # scipy.stats.ttest_ind([30, 32, 34], [20, 21, 25], equal_var=False).confidence_interval()
    found = paper.intervals.difference([30.0, 32.0, 34.0], [20.0, 21.0, 25.0])
    assert (found.mean, found.low, found.high) == pytest.approx((10.0, 4.524, 15.476), abs=1e-3)
    assert paper.intervals.difference([3.0, 3.0], [1.0, 1.0]) == paper.intervals.Interval(2.0, 2.0, 2.0)
    assert paper.intervals.difference([3.0], [1.0, 1.0]).contains(0.0)


def test_verdicts(paper):
    interval, verdict = paper.intervals.Interval, paper.intervals.verdict
    assert verdict(interval(5.0, 1.0, 9.0), 2.0) == verdict(interval(-5.0, -9.0, -1.0), -0.1) == "same"
    assert verdict(interval(5.0, 1.0, 9.0), -2.0) == verdict(interval(-5.0, -9.0, -1.0), 2.0) == "opposite"
    assert verdict(interval(5.0, -1.0, 11.0), 2.0) == "not shown"
    assert verdict(None, 2.0) == "no runs"


def test_a_power_law_is_found(paper):
    points = [(hours, 50 * hours**-0.25) for hours in (1, 3, 10, 30)]
    assert paper.intervals.fall_per_tenfold(points) == pytest.approx(100 * (1 - 10**-0.25))


def write_rates(folder, rates):
    """Invented results: RUN.SEED/SET.SEARCH.wer with these WERs, seed by seed."""
    for name, values in rates.items():
        run, file = name.split("/")
        for seed, rate in enumerate(values, start=1):
            path = folder / f"{run}.{seed}" / f"{file}.wer"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"%WER {rate:.2f} [ 1 / 2, 0 ins, 0 del, 1 sub ]\n%CER 99.00 [ 1 / 2 ]\n")


def describe(paper, number, tmp_path, seeds="1 2 3"):
    table = paper.rows.read_table(number, "small")
    lines = paper.table.describe_table(table, "small", "asterisk", seeds.split(), tmp_path, tmp_path / "data")
    return "\n".join(lines).splitlines()


def test_a_table_of_invented_results(paper, tmp_path):
    write_rates(
        tmp_path / "small/asterisk",
        {
            "rnn-1/dev.lm": [40, 41, 42],
            "gru-1/dev.lm": [30, 31, 32],
            "rnn-3/dev.lm": [20, 21, 22],
            "gru-3/dev.lm": [30, 31, 32],
            "rnn-5/dev.lm": [20, 30, 40],
            "gru-5/dev.lm": [21, 29, 38],
        },
    )
    lines = describe(paper, "3", tmp_path)
    (row,) = [line for line in lines if line.startswith("| 5 layers, 1 recurrent |")]
    assert row == "| 5 layers, 1 recurrent | 14.40 | 41.0 (40.0–42.0; ±2.5) | 10.53 | 31.0 (30.0–32.0; ±2.5) |"
    start = next(i for i, line in enumerate(lines) if "GRUs have fewer errors than simple cells" in line)
    assert "4 of 4 in the paper; here 2 of 3 point the same way, 1 beyond the interval" in lines[start]
    verdicts = [line.strip("| ").split(" | ")[-1] for line in lines[start + 1 : start + 5]]
    assert verdicts == ["same", "opposite", "not shown", "no runs"]
    assert lines[start + 1].split(" | ")[1:4] == ["+3.87", "+10.0", "+7.7 to +12.3"]


def test_gains_are_of_the_same_run(paper, tmp_path):
    """Seeds differ by 30 points, and the language model halves the WER of each: the gain is certain."""
    write_rates(
        tmp_path / "small/asterisk",
        {
            "rnn-1/dev.greedy": [40, 60, 70],
            "rnn-1/dev.lm": [20, 30, 35],
            "rnn-7/dev.greedy": [20, 30, 40],
            "rnn-7/dev.lm": [18, 28, 38],
        },
    )
    lines = describe(paper, "6", tmp_path)
    start = next(i for i, line in enumerate(lines) if "what the language model gains" in line)
    assert lines[start + 1].split(" | ")[1:] == ["+48.22 %", "+50.0 %", "+50.0 to +50.0", "same |"]
    (contrast,) = [line for line in lines if line.startswith("| (")]
    # falls of 20, 30, 35 and of 2, 2, 2
    assert contrast.split(" | ")[1:3] == ["+7.99", "+26.3"] and contrast.endswith("| same |")


def test_the_curve_has_a_row_per_run_and_set(paper, tmp_path):
    rates = {}
    for part in ("@10", "@20", "@50", ""):
        hours = {"@10": 1.0, "@20": 2.0, "@50": 5.0, "": 10.0}[part]
        for kind, factor in (("dev", 40), ("noisy", 80)):
            rates[f"conv-2x2d-68m{part}/{kind}.lm"] = [factor * hours**-0.3] * 2
        (tmp_path / "data/asterisk").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"data/asterisk/train.{part[1:] or 100}.hours").write_text(f"{hours}\n")
    write_rates(tmp_path / "small/asterisk", rates)
    lines = describe(paper, "10", tmp_path, "1 2")
    points = list(map(json.loads, (tmp_path / "small/asterisk/CURVE.noisy.jsonl").read_text().splitlines()))
    assert points[0] == {"hours": 1.0, "wer": 80.0, "seed": 1, "set": "noisy"}
    assert [(p["hours"], p["seed"]) for p in points] == [(h, s) for h in (1.0, 2.0, 5.0, 10.0) for s in (1, 2)]
    assert len((tmp_path / "small/asterisk/CURVE.regular.jsonl").read_text().splitlines()) == 8
    (curve,) = [line for line in lines if line.startswith("- Regular")]
    # 1 - 10 ** -0.3
    assert "lower the WER by 49.9 (49.9–49.9; ±0.0) % (paper, 10 to 100 %: 38.9 %)" in curve


def test_one_run_shows_nothing(paper, tmp_path):
    write_rates(tmp_path / "small/asterisk", {"rnn-1/dev.lm": [40], "gru-1/dev.lm": [30]})
    lines = describe(paper, "3", tmp_path)
    start = next(i for i, line in enumerate(lines) if "GRUs have fewer errors than simple cells" in line)
    assert lines[start + 1].endswith("| +3.87 | +10.0 | one run | not shown |")


def test_no_results_give_an_empty_table(paper, tmp_path):
    lines = describe(paper, "1", tmp_path)
    assert "| 1 RNN, 5 layers | 10.55 | - | 11.99 | - | 13.55 | - | 14.40 | - |" in lines
    assert sum(line.endswith("| no runs |") for line in lines) == 12


def test_a_broken_result_is_named(paper, tmp_path):
    path = tmp_path / "dev.lm.wer"
    path.write_text("Killed\n")
    with pytest.raises(ValueError, match=r"dev\.lm\.wer: expected a line '%WER …'"):
        paper.table.read_rate(path)


def test_every_comparison_of_the_tables_goes_the_papers_way(paper):
    """Titles state what the paper found: most of their pairs are positive there."""
    for number in paper.rows.TABLES:
        table = paper.rows.read_table(number, "full")
        for comparison in table.comparisons:
            values = [
                paper.table.compare(comparison.kind, [table.cells[key] for key in pair], [{}] * len(pair))[0]
                for pair in comparison.pairs
            ]
            assert sum(value > 0 for value in values) * 2 >= len(values), (number, comparison.title)


def test_tables_share_runs(paper):
    names = {number: {run.name for run in paper.rows.read_table(number, "small").runs} for number in "12356"}
    assert {"rnn-7", "rnn-7+norm=none"} <= names["1"] & names["2"]
    assert "rnn-7" in names["3"] & names["5"] & names["6"]
    assert names["5"] >= {"rnn-7+strides=4+kind=bigram", "rnn-7+kind=bigram", "rnn-7+strides=3"}
    assert next(run.name for run in paper.rows.read_table("10", "full").runs) == "conv-2x2d-68m@1"


def test_rows_have_as_many_parameters_as_in_the_paper(paper):
    from ds2cli.config.base import build, read_toml
    from ds2cli.config.train import TrainConfig
    from ds2cli.stages.model import NetworkSpec, list_layers

    def count(net, model, bins):
        config = build(TrainConfig, (net["preset"], read_toml(net["preset"])), ("row", {"model": model})).model
        return sum(layer.parameters for layer in list_layers(NetworkSpec(config, 29, bins, 10.0)))

    networks = paper.rows.read("networks")
    millions = {"conv-2x2d-68m": 68.0}
    for name, net in networks.items():
        size = millions.get(name) or (float(name[4:-1]) if name.endswith("m") else 35.0 if "conv" in name else 38.0)
        # the paper does not count the rows of its 35 M networks apart
        assert count(net, net.get("full", {}), 161) == pytest.approx(size * 1e6, rel=0.04), name
        for bins in map(int, net["width"]):
            small = count(net, paper.rows.small_settings(net, bins), bins)
            assert small == pytest.approx(size * 1e6 / 64, rel=0.01), (name, bins)
        assert net["minutes"] > 0


def test_options_of_ds2_train(paper, tmp_path):
    (tmp_path / "quick.toml").write_text("epochs = 1\n[model]\nrnn_size = 8\nchannels = [8, 4]\n")
    run = paper.rows.Run("rnn-7", (("sorta_grad", "false"),), 20)
    words = paper.rows.options(run, "small", "asterisk", str(tmp_path / "quick.toml"))
    assert words[:4] == ["--config", "38m-rnn-7x1280", "--config", "conf/small.toml"]
    epochs = 5 * paper.rows.read("data")["asterisk"]["epochs"]
    given = words[5::2]
    assert given[-3:] == ["epochs=1", "model.rnn_size=8", "model.channels=[8,4]"]
    assert {f"epochs={epochs}", "sorta_grad=false", "model.rnn_size=128", "units.kind=char"} <= set(given)
    full = paper.rows.options(run, "full", "librispeech", nproc=8)
    assert full == [*words[:3], "conf/full.toml", "--set", "sorta_grad=false", "--set", "nproc=8"]
    with pytest.raises(ValueError, match=r"conv-1x2d on an4: .* widths for 161 bins, the features of --data have 13"):
        paper.rows.options(paper.rows.Run("conv-1x2d"), "small", "an4")


def test_parts_are_nested_and_keep_copies_together(paper, tmp_path):
    rows = [
        {"id": f"u{i:02d}~{copy}", "audio_filepath": "x.wav", "duration": 1.0 + i % 3, "text": "a"}
        for i in range(40)
        for copy in "01"
    ]
    manifest.write(str(tmp_path / "train.jsonl"), rows)
    parts = {}
    for percent in (10, 50, 100):
        hours = paper.parts.nested(str(tmp_path / "train.jsonl"), percent, str(tmp_path / "ids"))
        parts[percent] = (tmp_path / "ids").read_text().split()
        total = sum(row["duration"] for row in rows) / 2
        assert total * percent / 100 <= hours * 3600 < total * percent / 100 + 3
    assert set(parts[10]) < set(parts[50]) < set(parts[100]) == {row["id"] for row in rows}
    for ids in parts.values():
        assert sorted(name[:-1] + "1" for name in ids if name[-1] == "0") == sorted(n for n in ids if n[-1] == "1")


def test_rows_of_augmented_recordings(paper, tmp_path):
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(8000, np.float32), 16000)
    rows = [{"id": "a", "audio_filepath": "a.flac", "offset": 1.0, "duration": 9.0, "text": "x"}, {"id": "b"}]
    (row,) = paper.parts.renamed(rows, str(tmp_path), "0")
    path = str(tmp_path.resolve() / "a.wav")
    assert row == {"id": "a~0", "audio_filepath": path, "duration": 0.5, "text": "x", "sample_rate": 16000}
    assert paper.parts.original("a~0") == paper.parts.original("a") == "a"


def test_the_estimate_knows_runs_of_other_seeds(paper, tmp_path):
    run, left = paper.rows.Run("rnn-7", (("model.norm", "none"),)), paper.rows.describe_left
    jobs = [paper.rows.Job(f"{tmp_path}/{run.name}.{seed}", "data", run, []) for seed in "123"]
    guess = paper.rows.read("networks")["rnn-7"]["minutes"]
    assert left(jobs, "small", 1) == f"3 of 3 runs are to be trained: about {3 * guess} minutes of one core"
    other = tmp_path / f"{run.name}.2"
    other.mkdir()
    (other / "train.jsonl").write_text('{"seconds": 600.0}\n{"seconds": 120.0}\n')
    (other / "done").write_text("")
    assert left(jobs, "small", 2) == "2 of 3 runs are to be trained: about 24 minutes of one core, 12 on 2"
    assert left(jobs, "full", 2) == "2 of 3 runs are to be trained"
