"""`ds2 align EXP IN OUT`, and `ds2 align --tune EXP DEV`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext

from ds2cli import io, ui
from ds2cli.atomic import together
from ds2cli.cli.lib.captions import FOLDERS, CaptionFiles
from ds2cli.cli.lib.features import warn_of_other_features
from ds2cli.cli.lib.filter import filter_rows, first_row, is_pipe
from ds2cli.cli.lib.options import Exp, IfStale, In, Out, with_config
from ds2cli.cli.lib.provenance import begin
from ds2cli.config.align import AlignConfig
from ds2cli.drops import Ledger
from ds2cli.encoding import explain_undecodable
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.manifest import Row


@with_config(AlignConfig)
def align(config: AlignConfig, exp: Exp, in_: In = "-", out: Out = "-", if_stale: IfStale = False) -> None:
    """Align each text of IN with its speech (forced alignment): find the start and end time of each word.

    The rows of OUT get `words` (s), `align_logprob` (log-probability of the best path, nats) and `ctc_cost` (-log of
    that of all paths). Rows with an `emission` are aligned without the network; the others need features. Recordings
    may be hours long.

    Words that the network cannot spell, such as 1984, get times, too, but no confidence. With --gaps, words may have
    been left out and the speech may have more than the text: such spans are listed as `gaps`, with the words that were
    not said and what the network heard instead, and the row has no `ctc_cost`. --book FILE aligns all recordings of IN
    with one text, which may have punctuation and numbers: each row gets its part as `text`.

    The word times are also written for other programs: --ctm, Praat's --textgrid, subtitles (--srt, --vtt), labels for
    --audacity and --elan, Kaldi's segments (--kaldi-data), and --whisper-json. They are those of the row's own audio;
    in CTM and Kaldi's files, rows with `offset` have those in the recording.

    Networks find words late. --tune measures how late, without labels by hand: it joins the clips of a dev set (rows
    with audio and text) with pauses of 0.3 s, and aligns these recordings, whose joins are known. The correction is
    stored in EXP/align.toml; from then on it is the default (the tuned value below) of all word times, those of
    ds2 decode and ds2 transcribe too. --measure prints the errors on any set. Neither writes OUT.

    Example: ds2 align exp/base data/test.emit.jsonl data/test.ali.jsonl --ctm exp/base/test.ctm

    Example: ds2 align exp/base data/talks.feats.jsonl data/talks.ali.jsonl --gaps --srt subtitles/ --textgrid praat/

    Example: ds2 align exp/base data/chapters.feats.jsonl data/book.ali.jsonl --book book.txt

    Example: ds2 align --tune exp/base data/dev.jsonl
    """
    from ds2cli.recognizer.experiment import Experiment
    from ds2cli.recognizer.timing import TIMING_FILE, resolve_timing
    from ds2cli.stages import align as stage
    from ds2cli.stages import align_book

    if config.tune or config.measure:
        from ds2cli.cli.lib.tune_align import tune_align

        tune_align(config, exp, in_, out)
        return
    config = resolve_timing(config, exp)
    inputs = {"EXP": exp, "IN": in_, "--book": config.book}
    tuned, files = [f"{exp}/{TIMING_FILE}"], [config.ctm, config.kaldi_data, *(getattr(config, f) for f in FOLDERS)]
    made = begin("align", config, out, inputs, if_stale=if_stale, tuned=tuned, further=files)
    experiment = Experiment(exp, device=config.device, precision=config.precision)
    # DataError now, and not one for each utterance
    _ = experiment.vocab
    warn_of_other_features(in_, experiment)
    text = None if config.book is None else read_book(config.book, config.lang, in_, config.text_rules)
    captions, progress = CaptionFiles(config, "words", out), ui.ShareProgress("align")
    with nullcontext() if is_pipe(out) else together(), captions:

        def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
            aligned = (
                stage.run(config, rows, ledger, experiment, report=progress.within)
                if text is None
                else align_book.run(config, rows, ledger, experiment, text, report=progress.within)
            )
            for row in aligned:
                captions.add(row)
                yield row

        needs = ("id", "text") if text is None else ("id",)
        filter_rows("align", config, in_, out, needs=needs, run=run, made=made)
    for warning in captions.warnings:
        ui.warn(warning)


def read_book(path: str, lang: str, in_: str, rules: str = "letters") -> str:
    """The normalized text of a file, in the language of the first row of IN, else in `lang`; rules: the --text-rules.

    UsageError if there is no such language, DataError if the file has no words or is not UTF-8.
    """
    from ds2cli.text.long_text import normalize_long
    from ds2cli.text.rule_sets import RULE_SETS

    lang = (first_row(in_) or {}).get("lang", lang)
    try:
        text = normalize_long(_read_utf8(path), lang, RULE_SETS[rules])
    except BadUtterance as e:
        raise UsageError(f"--lang {lang}: {e.detail}") from e
    if not text:
        raise DataError(f"{path}: no words, expected the text of the recordings")
    return text


def _read_utf8(path: str) -> Iterator[str]:
    for number, line in io.read_lines(path):
        if error := explain_undecodable(line, path):
            raise DataError(f"{path}:{number}: {error}")
        yield line
