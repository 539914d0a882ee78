"""utils/seed_table.py: runs with several seeds as a table."""

import subprocess
import sys
from pathlib import Path

TABLE = Path(__file__).parents[2] / "utils/seed_table.py"


def table(*words):
    return subprocess.run([sys.executable, TABLE, *map(str, words)], capture_output=True, text=True, timeout=60)


def test_runs_of_a_name_have_a_mean_and_a_range(tmp_path):
    for name, losses, wer, verdict in (
        ("gru.0", [2.0, 0.5], 40.0, "learned"),
        ("gru.1", [2.0, 0.25], 30.5, "not learned"),
        ("rnn.0", [], 20, ""),
    ):
        run = tmp_path / name
        run.mkdir()
        (run / "train.jsonl").write_text("".join(f'{{"epoch": 1, "loss": {loss}, "lr": 1}}\n' for loss in losses))
        (run / "dev.wer").write_text(
            f"%WER {wer:.2f} [ 1 / 2 ]\n%CER 9.00 [ 1 / 2 ]\n%WER 1.00 [ best of 5 ]\n"[: 36 if name == "rnn.0" else 44]
        )
        (run / "report.md").write_text(f"# Report\nThe network has {verdict}: x\n" if verdict else "")
    words = [tmp_path / name for name in ("gru.0", "gru.1", "gru.2", "rnn.0")]
    done = table(*words, "loss=train.jsonl:loss", "WER=dev.wer:WER", "verdict=report.md:^The network has ([a-z ]+):")
    assert done.stdout.splitlines() == [
        "| run, seed | loss | WER | verdict |",
        "| :-- | --: | --: | --: |",
        "| gru, 0 | 0.5 | 40.00 | learned |",
        "| gru, 1 | 0.25 | 30.50 | not learned |",
        "| gru, 2 |  |  |  |",
        "| **gru, mean and range** | 0.375 (0.250-0.500), 2 of 3 runs | 35.2 (30.5-40.0), 2 of 3 runs "
        "| 1 of 3 learned |",
        "| rnn, 0 |  | 20.00 |  |",
        "| **rnn, mean and range** |  | 20.0 (20.0-20.0) |  |",
    ]


def test_a_loss_that_became_none_is_not_replaced_by_the_one_before(tmp_path):
    for seed, last in enumerate(("0.5", "null")):
        (tmp_path / f"a.{seed}").mkdir()
        (tmp_path / f"a.{seed}/train.jsonl").write_text(
            f'{{"epoch": 1, "loss": 2.0}}\n{{"epoch": 2, "loss": {last}}}\n'
        )
    done = table(tmp_path / "a.0", tmp_path / "a.1", "loss=train.jsonl:loss")
    assert done.stdout.splitlines()[2:] == [
        "| a, 0 | 0.5 |",
        "| a, 1 | null |",
        "| **a, mean and range** | 0.500 (0.500-0.500), 1 of 2 runs |",
    ]


def test_without_a_run_or_a_column_the_usage_is_printed(tmp_path):
    for words in ((), (tmp_path,), ("WER=x:WER",)):
        done = table(*words)
        assert done.returncode == 1 and done.stderr.startswith("usage: ")
