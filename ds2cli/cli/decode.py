"""`ds2 decode EXP IN OUT`, and `ds2 decode --tune EXP DEV`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ds2cli import manifest, ui
from ds2cli.cli._options import Exp, In, Out, with_config
from ds2cli.cli._run import filter_rows, report_drops
from ds2cli.config.decode import DecodeConfig
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.manifest import Row


@with_config(DecodeConfig)
def decode(config: DecodeConfig, exp: Exp, in_: In = "-", out: Out = "-") -> None:
    """Find the text of each utterance of IN; write OUT's rows with `pred_text` and `pred_score`.

    Rows that have an `emission` need no network; others are run through that of EXP.

    Example: ds2 decode exp/base data/test.jsonl exp/base/test.jsonl --lm exp/lm/3gram.arpa --nbest 10

    Example: ds2 decode --tune exp/base data/dev.jsonl --lm exp/lm/3gram.arpa
    """
    from ds2cli.stages import decode as stage
    from ds2cli.stages.emitted import Network

    if config.tune:
        _tune(config, exp, in_, out)
        return
    resolved = stage.resolve(config, exp)
    if resolved.lm is not None:
        ui.log(f"decode: {resolved.lm}, alpha {resolved.alpha:g}, beta {resolved.beta:g}, unknown {resolved.unknown:g}")
    network = Network(exp)
    search = stage.search_for(resolved, network)

    def run(rows: Iterable[Row], ledger: Ledger) -> Iterator[Row]:
        return stage.run(resolved, rows, ledger, network, search)

    filter_rows("decode", resolved, in_, out, needs=("id",), run=run)


def _tune(config: DecodeConfig, exp: str, dev: str, out: str) -> None:
    """Print the table of error rates, and keep the best weights."""
    from ds2cli.kernels.prefix import WORD_LM
    from ds2cli.metrics.report import RATE_NAMES, rate_line
    from ds2cli.search.beam import BeamSearch
    from ds2cli.search.tune import at_the_edge, best_of
    from ds2cli.stages import decode as stage
    from ds2cli.stages import tune
    from ds2cli.stages.emitted import Network

    wrong = {
        "OUT": out != "-",
        "--greedy": config.greedy,
        "--alpha": config.alpha is not None,
        "--beta": config.beta is not None,
        "--unknown": config.unknown is not None,
        "--nbest": config.nbest > 0,
        "--timestamps": config.timestamps,
    }
    for name, given in wrong.items():
        if given:
            raise UsageError(f"--tune writes {exp}/{stage.TUNED} and no rows: it takes no {name}")
    if config.lm is None:
        raise UsageError("--tune finds the weights of a language model, and there is none (--lm FILE)")
    tune.refuse_test_set(dev)
    network = Network(exp)
    search = stage.search_for(config, network)
    assert isinstance(search, BeamSearch)
    grid = tune.grid_of(config, search)
    unit = "word" if search.lexicon.kind == WORD_LM else "char"
    ledger = Ledger()
    rows = manifest.read(dev, ("id", "text"))
    found = tune.run(config, rows, ledger, network, search, unit)
    trials = list(ui.progress(found, "tune", len(grid), unit="trial"))
    report_drops("tune", config, "-", ledger)
    ledger.refuse("tune", config.max_bad)
    best, name = best_of(trials), RATE_NAMES[unit]
    chosen = best.weights
    rates = {trial.weights: trial.counts.rate for trial in trials}

    def cell(alpha: float, beta: float) -> str:
        weights = replace(chosen, alpha=alpha, beta=beta)
        return f"{rates[weights]:.2f}{'*' if weights == chosen else ''}"

    table = [[f"{alpha:g}", *(cell(alpha, beta) for beta in grid.betas)] for alpha in grid.alphas]
    title = f"%{name} on {dev} with unknown {chosen.unknown:g}"
    ui.table(title, ["alpha \\ beta", *(f"{b:g}" for b in grid.betas)], table, to_stdout=True)
    for unknown in grid.unknowns:
        of_it = best_of([trial for trial in trials if trial.weights.unknown == unknown])
        at = of_it.weights
        line = rate_line(name, of_it.counts)
        ui.say(f"{line} alpha {at.alpha:g} beta {at.beta:g} unknown {unknown:g}{' *' if of_it is best else ''}")
    for edge in at_the_edge(chosen, grid):
        ui.warn(f"the best {edge} is the last one tried: --set '{edge}s=[…]' tries others")
    tune.save(config, exp, best, made_on=dev, result=rate_line(name, best.counts))
    ui.log(f"tune: {exp}/{stage.TUNED} keeps them for ds2 decode")
