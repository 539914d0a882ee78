"""`ds2 decode EXP IN OUT`, and `ds2 decode --tune EXP DEV`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ds2cli import ui
from ds2cli.cli.lib.features import warn_of_other_features
from ds2cli.cli.lib.filter import filter_rows
from ds2cli.cli.lib.options import Exp, IfStale, In, Out, with_config
from ds2cli.cli.lib.provenance import begin, existing
from ds2cli.cli.lib.resume import resuming
from ds2cli.config.decode import DecodeConfig
from ds2cli.drops import Ledger
from ds2cli.manifest import Row


@with_config(DecodeConfig)
def decode(config: DecodeConfig, exp: Exp, in_: In = "-", out: Out = "-", if_stale: IfStale = False) -> None:
    """Decode each utterance of IN to text; write its row to OUT with `pred_text` and `pred_score`.

    Rows with an `emission` are decoded without the network; the others need features, and the network computes their
    emissions while earlier ones are searched. --emissions stores these, so that decoding again skips the network.
    After an interruption (also by a kill), the same command continues after the finished utterances.

    --timestamps also writes confidences from 0 to 1: `conf` of each word in `pred_words`, and their mean, `pred_conf`.

    --tune finds the weights for a language model on a development set and stores them in EXP/decode.toml, with the
    exponent that calibrates confidences (`confidence_scale`). From then on they are the defaults (the tuned values
    below) of every search with a language model.

    Example: ds2 decode exp/base data/test.feats.jsonl exp/base/test.jsonl --lm exp/lm/3gram.bin --nbest 10

    Example: ds2 decode --tune exp/base data/dev.feats.jsonl --lm exp/lm/3gram.bin --nj 4
    """
    from ds2cli.recognizer.bandwidth import BandCheck
    from ds2cli.recognizer.decoder import TUNED_FILE, build_search, describe_search, resolve_settings
    from ds2cli.recognizer.emissions import archive_path
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.recognizer.timing import TIMING_FILE
    from ds2cli.stages import decode as stage

    if config.tune:
        from ds2cli.cli.lib.tune import tune

        tune(config, exp, in_, out, if_stale=if_stale)
        return
    resolved = resolve_settings(config, exp, ui.warn)
    files = {"--lm": resolved.lm, "--lexicon": existing(resolved.lexicon), "--hotwords": resolved.hotwords}
    tuned = [f"{exp}/{TUNED_FILE}"] * (resolved.lm is not None) + [f"{exp}/{TIMING_FILE}"] * resolved.timestamps
    archives = "" if config.emissions is None else "emission"
    made = begin("decode", resolved, out, {"EXP": exp, "IN": in_, **files}, archives, if_stale=if_stale, tuned=tuned)
    experiment = Experiment(exp, device=config.device, precision=config.precision)
    warn_of_other_features(in_, experiment)
    search, check = build_search(resolved, experiment, ui.warn), BandCheck()
    if resolved.lm is not None:
        ui.log(f"decode: {describe_search(resolved, exp)}")

    ark = archive_path(config.emissions, out) if config.emissions is not None else None

    with resuming(made, resolved, out, (ark or "").removesuffix(".ark")) as journal:

        def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
            return stage.run(resolved, rows, ledger, experiment, search, features=check.read, ark=ark, journal=journal)

        filter_rows("decode", resolved, in_, out, needs=("id",), run=run, buffer_pipe=ark is not None, made=made)
    for sentence in check.describe():
        ui.warn(f"decode: {sentence}")
