"""`ds2 align EXP IN OUT`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext

from ds2cli import ui
from ds2cli.atomic import together
from ds2cli.cli.lib.captions import CaptionFiles
from ds2cli.cli.lib.features import warn_of_other_features
from ds2cli.cli.lib.filter import filter_rows, is_pipe
from ds2cli.cli.lib.options import Exp, In, Out, with_config
from ds2cli.config.align import AlignConfig
from ds2cli.drops import Ledger
from ds2cli.manifest import Row


@with_config(AlignConfig)
def align(config: AlignConfig, exp: Exp, in_: In = "-", out: Out = "-") -> None:
    """Align each text of IN with its speech (forced alignment): find the start and end time of each word.

    The rows of OUT get `words` (s), `align_logprob` and `ctc_cost` (nats). Rows with an `emission` are aligned without
    the network; the others need features.

    The word times are also written for other programs: --ctm, Praat's --textgrid, subtitles (--srt, --vtt), labels for
    --audacity and --elan, Kaldi's segments (--kaldi-data), and --whisper-json. They are those of the row's own audio;
    in CTM and Kaldi's files, rows with `offset` have those in the recording.

    Example: ds2 align exp/base data/test.emit.jsonl data/test.ali.jsonl --ctm exp/base/test.ctm

    Example: ds2 align exp/base data/talks.jsonl data/talks.ali.jsonl --srt subtitles/ --textgrid praat/
    """
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.stages import align as stage

    experiment = Experiment(exp)
    # DataError now, and not one for each utterance
    _ = experiment.vocab
    warn_of_other_features(in_, experiment)
    captions = CaptionFiles(config, "words", out)
    with nullcontext() if is_pipe(out) else together(), captions:

        def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
            for row in stage.run(config, rows, ledger, experiment):
                captions.add(row)
                yield row

        filter_rows("align", config, in_, out, needs=("id", "text"), run=run)
    for warning in captions.warnings:
        ui.warn(warning)
