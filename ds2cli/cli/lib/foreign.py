"""`ds2 emit --onnx` and `ds2 emit --scores`: emissions of networks of other toolkits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ds2cli import ui
from ds2cli.cli.lib.features import saved_features, warn_of_other_settings
from ds2cli.cli.lib.filter import filter_rows
from ds2cli.cli.lib.resume import resuming
from ds2cli.config.emit import EmitConfig
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.manifest import Row
from ds2cli.provenance import Provenance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ds2cli.onnx.model import CtcModel
    from ds2cli.stages.emit_foreign import Scores, Steps
    from ds2cli.text.tokens import Tokens


def emit_onnx(config: EmitConfig, path: str, in_: str, out: str, made: Provenance | None) -> None:
    """Compute emissions with an ONNX model."""
    from ds2cli.onnx.packages import require_packages

    if config.scores is not None:
        raise UsageError("--onnx and --scores are two ways to get emissions: leave out one of them")
    if config.ensemble:
        raise UsageError("--ensemble has no effect with --onnx")
    require_packages("onnx", "onnxruntime")
    from ds2cli.onnx.model import CtcModel, features_in
    from ds2cli.stages import emit_foreign as stage

    model = CtcModel(path, device=config.device, kind=config.onnx_input, output=config.onnx_output)
    tokens = _find_tokens(config, model)
    if model.symbols not in (None, tokens.outputs):
        raise DataError(f"{path}: has {model.symbols} outputs, its list of symbols {tokens.outputs} (--tokens FILE)")
    if trained := features_in(model):
        warn_of_other_settings(in_, lambda: trained, path)
    rate = config.rate if model.kind == "samples" else None
    step_s = _find_step(config, model, in_)
    ui.log(f"emit: {path}: {model.kind}, {tokens.outputs} symbols, {1000 * step_s:g} ms per step")

    def scores(row: Row) -> NDArray[np.float32]:
        x = stage.read_standardized(row, rate, standardize=config.standardize)
        if model.bins not in (None, x.shape[-1]) and rate is None:
            raise BadUtterance("wrong-features", f"{x.shape[-1]} bins, the network takes {model.bins}")
        return model.compute(x)

    needs = ("id", "audio_filepath" if rate else "feats")
    _emit(config, in_, out, scores, tokens, lambda row, steps: step_s, needs, made)


def emit_scores(config: EmitConfig, exp: str, in_: str, out: str, made: Provenance | None) -> None:
    """Take emissions from a file of scores; EXP is the list of symbols, or a folder with one."""
    from ds2cli.recognizer.score_files import open_scores
    from ds2cli.text.tokens import Tokens, load_tokens

    assert config.scores is not None
    if config.ensemble:
        raise UsageError("--ensemble has no effect with --scores")
    for name in ("device", "precision"):
        if getattr(config, name) != getattr(EmitConfig(), name):
            raise UsageError(f"--{name} has no effect with --scores, as no network runs")
    path = Path(exp)
    if path.is_dir() and not (path / "tokens.txt").exists():
        from ds2cli.recognizer.vocabulary import open_vocab

        tokens = Tokens.of(open_vocab(exp))
    else:
        tokens = load_tokens(path / "tokens.txt" if path.is_dir() else path)
    read = open_scores(config.scores)

    def step_s(row: Row, steps: int) -> float:
        if config.step_ms is not None:
            return config.step_ms / 1000
        if row.get("step_s"):
            return float(row["step_s"])
        if not row.get("duration"):
            raise BadUtterance(
                "no-step", "the row has no `duration`, and the duration of a step is not given (--step-ms)"
            )
        return round(float(row["duration"]) / steps, 6)

    _emit(config, in_, out, lambda row: read(row["id"]), tokens, step_s, ("id",), made)


def _emit(
    config: EmitConfig,
    in_: str,
    out: str,
    scores: Scores,
    tokens: Tokens,
    step_s: Steps,
    needs: Iterable[str],
    made: Provenance | None,
) -> None:
    from ds2cli.recognizer.emissions import archive_path
    from ds2cli.stages import emit_foreign as stage

    ark = archive_path(config.dir, out)
    stage.check_tokens(ark, tokens.vocab)

    # scores may be in further files, whose changes would not be noticed; reading them again takes no time
    with resuming(None if config.scores is not None else made, config, out, ark.removesuffix(".ark")) as journal:

        def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
            return stage.run(rows, ledger, scores, tokens, step_s, ark, config.max_bad, journal)

        filter_rows("emit", config, in_, out, needs=needs, run=run, buffer_pipe=True, made=made)
    if tokens.left_out:
        ui.log(f"emit: left out, as they cannot be in texts: {', '.join(dict.fromkeys(tokens.left_out))}")
    ui.log(f"emit: the symbols are in {stage.tokens_path(ark)}; its folder takes the place of EXP in other commands")


def _find_tokens(config: EmitConfig, model: CtcModel) -> Tokens:
    from ds2cli.onnx.model import tokens_in
    from ds2cli.text.tokens import Tokens, load_tokens
    from ds2cli.text.vocab import Vocab

    if config.tokens is not None:
        return load_tokens(config.tokens)
    if stored := tokens_in(model):
        return Tokens.of(Vocab.parse(stored, b"", model.path))
    beside = Path(model.path).with_name("tokens.txt")
    if not beside.is_file():
        raise UsageError(f"{model.path}: the list of its symbols is not known: expected --tokens FILE, or {beside}")
    return load_tokens(beside)


def _find_step(config: EmitConfig, model: CtcModel, in_: str) -> float:
    """The duration of a step (s)."""
    from ds2cli.onnx.model import step_in

    if config.step_ms is not None:
        return config.step_ms / 1000
    if (stated := step_in(model)) is not None:
        return stated
    if model.kind == "samples":
        return model.input_per_step(config.rate) / config.rate
    return model.input_per_step(100) * float(saved_features(in_)["hop_ms"]) / 1000
