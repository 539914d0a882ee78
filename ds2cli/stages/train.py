"""Train a network in an experiment folder, or resume where an earlier run of the same command ended."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from ds2cli import __version__, inputs
from ds2cli.atomic import remove_abandoned_files
from ds2cli.config.base import as_dict
from ds2cli.config.features import FeatureConfig
from ds2cli.config.model import KINDS
from ds2cli.config.train import TrainConfig
from ds2cli.cores import count_cores
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.io import FolderLock, open_out_bytes
from ds2cli.manifest import Row
from ds2cli.nn.device import select_device as find_device
from ds2cli.nn.distributed import process_group
from ds2cli.runtime.file import BEST
from ds2cli.text.vocab import TOKENS
from ds2cli.train.checkpoint_files import LOG
from ds2cli.train.events import Event, Measuring, MemoryProbe, Request, Restart, Resumed, Saved
from ds2cli.train.examples import fingerprint
from ds2cli.train.job import TrainJob
from ds2cli.train.precision import must_measure
from ds2cli.train.resume import LAST, load_checkpoint
from ds2cli.train.trainer import Trainer

MAY_CHANGE = (
    "epochs", "minutes", "device", "nproc", "readers", "restarts", "ctc", "save_minutes", "keep_best", "early_stop",
    "tensorboard", "fresh", "max_bad", "dropped",
)  # fmt: skip
"""Settings that may change when a run resumes."""

MAY_DIFFER = ("nproc", "readers", "restarts", "save_minutes", "tensorboard", "fresh", "max_bad", "dropped", "init")
"""Settings that may differ between the machines of one run; the initial network of rank 0 is used by all."""

MAX_SHOWN, MAX_LISTED = 60, 280
"""Characters that a message shows of a name or value of a checkpoint, and of all differences together."""


def _do_nothing() -> None:
    pass


def run(
    job: TrainJob,
    exp: str,
    request: Callable[[], int] = lambda: Request.NONE,
    on_start: Callable[[], None] = _do_nothing,
) -> Iterator[Event]:
    """Train; yields every step and the results of every epoch, which are written to EXP/train.jsonl, too.

    request: called before each step, returns a `Request`.
    on_start: called before the first step, when nothing can refuse the training any more. Until then, no file in EXP is
    changed; it is not called if there is no step left to take.
    Raises UsageError, at once, when EXP was trained with other settings, on other features or on other utterances.
    """
    folder = Path(exp)
    if (process_group.torchrun_rank() or (0, 1))[0]:
        # rank 0, perhaps on another machine, has the checkpoint and broadcasts it
        return _train(job, folder, None, request, _do_nothing)
    lock = FolderLock(exp, "another ds2 train is running there (wait for it, or use another folder)")
    try:
        is_fresh = job.config.fresh
        if is_fresh and process_group.torchrun_rank():
            # torchrun starts the same command again after a process has died, perhaps before the first step: only the
            # first one may start over
            is_fresh = False
            if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
                _remove_training(folder)
        checkpoint = None if is_fresh else load_checkpoint(folder)
        _check_resumable(checkpoint, job, exp)

        def start() -> None:
            remove_abandoned_files(folder)
            if is_fresh:
                _remove_training(folder)
            job.vocab.save(folder / TOKENS)
            on_start()

        return _release_after(lock, _train(job, folder, checkpoint, request, start))
    except BaseException as e:
        lock.release()
        if isinstance(e, OSError):
            raise _cannot_be_changed(e, exp) from e
        raise


def _release_after(lock: FolderLock, events: Iterator[Event]) -> Iterator[Event]:
    try:
        yield from events
    finally:
        lock.release()


def _remove_training(folder: Path) -> None:
    # the checkpoint first: without it, files that are left if this is interrupted cannot be resumed from
    for pattern in (LAST, LOG, BEST, "epoch-[0-9]*.safetensors"):
        for old in folder.glob(pattern):
            old.unlink()


def _train(
    job: TrainJob,
    folder: Path,
    checkpoint: dict[str, Any] | None,
    request: Callable[[], int],
    on_start: Callable[[], None],
) -> Iterator[Event]:
    """Run the trainer; start again from the last checkpoint, up to --restarts times in a row, when a process dies."""

    def store(name: str, data: bytes | None) -> None:
        if data is None:
            try:
                (folder / name).unlink(missing_ok=True)
            except OSError as e:
                raise DataError(f"{folder / name}: cannot be removed: {inputs.explain_error(e)}") from e
            return
        with open_out_bytes(str(folder / name)) as f:
            f.write(data)

    restarts_left, started = job.config.restarts, False
    while True:
        group = None
        try:
            group = _start_group(job)
            _check_same_on_all_ranks(job, group)
            rows = _completed_rows(folder / LOG, checkpoint)
            resumed = group.broadcast_object(checkpoint)
            if must_measure(job, group, resumed):
                yield Measuring()
            trainer = Trainer(job, group, resumed, rows)
            if resumed is not None:
                yield _describe_resumed(trainer, folder)
            # large, and not needed again
            del resumed
            for event in trainer.run(store, request):
                if isinstance(event, MemoryProbe) and not started:
                    # the longest batch fits: the training can start
                    try:
                        on_start()
                    except OSError as e:
                        raise _cannot_be_changed(e, str(folder)) from e
                    started = True
                if isinstance(event, Saved) and not event.failed:
                    restarts_left = job.config.restarts
                yield event
            return
        except process_group.PeerLostError as e:
            if not restarts_left or process_group.torchrun_rank():
                raise
            restarts_left -= 1
            yield Restart(str(e))
        finally:
            if group is not None:
                group.close()
        if started:
            checkpoint = load_checkpoint(folder)


def _describe_resumed(trainer: Trainer, folder: Path) -> Resumed:
    state = trainer.state
    return Resumed(str(folder / LAST), state.epoch, state.batch, state.step, state.elapsed_s, trainer.finished())


def _cannot_be_changed(error: OSError, exp: str) -> DataError:
    return DataError(f"{error.filename or exp}: cannot be changed: {inputs.explain_error(error)}")


def _start_group(job: TrainJob) -> process_group.ProcessGroup:
    device = select_device(job.config)
    if process_group.torchrun_rank():
        return process_group.join_torchrun(device)
    return process_group.start_processes(job.config.nproc, device, train_on_rank, (job,))


def select_device(config: TrainConfig) -> torch.device:
    """The device to train on. UsageError when it is not available, or there are fewer GPUs or cores than processes.

    Of processes that a scheduler has started, each may see only its own GPUs or cores: those are not checked.
    """
    device = find_device(config.device)
    limit, unit = (torch.cuda.device_count(), "GPU") if device.type == "cuda" else (count_cores(), "core")
    # refused, not lowered: the processes share each batch, so the results depend on their number
    option, processes = "--nproc", config.nproc
    if process_group.torchrun_rank():
        started_by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
        option, processes = "--nproc-per-node", int(os.environ["LOCAL_WORLD_SIZE"]) if started_by_torchrun else 1
    if processes > limit:
        raise UsageError(
            f"train: {option} {processes}: expected at most one process per {unit}, found {limit} "
            f"{unit if limit == 1 else unit + 's'} (use {option} {limit})"
        )
    return device


def train_on_rank(job: TrainJob, group: process_group.ProcessGroup) -> None:
    """Train on a rank other than 0: the same steps from the same checkpoint, without files or events."""
    _check_same_on_all_ranks(job, group)
    for _ in Trainer(job, group, group.broadcast_object(None)).run(lambda _name, _data: None, lambda: Request.NONE):
        pass


def _check_same_on_all_ranks(job: TrainJob, group: process_group.ProcessGroup) -> None:
    """Raises Ds2Error when the processes were given different data or settings: their gradients must not be summed."""
    data = fingerprint(job.train) + fingerprint(job.dev)
    settings = {
        "ds2cli": __version__,
        "symbols": job.vocab.symbols,
        "bins": len(job.mean),
        **_flatten(as_dict(job.config)),
    }
    by_rank = group.all_gather({str(group.rank): (data, settings)})
    if len({data for data, _ in by_rank.values()}) > 1:
        raise Ds2Error("train: the processes were given different utterances (use the same manifests on every machine)")
    for name, value in settings.items():
        for rank, (_, others) in by_rank.items():
            if name not in MAY_DIFFER and others.get(name) != value:
                difference = f"{name} is {value} in process {group.rank}, {others.get(name)} in process {rank}"
                raise Ds2Error(f"train: {difference} (use the same command on every machine)")


def _check_resumable(checkpoint: dict[str, Any] | None, job: TrainJob, exp: str) -> None:
    if checkpoint is None:
        return
    remedy = "(use another folder, or --fresh to start over)"
    # a setting that an older version did not have behaved as its default
    defaults = as_dict(TrainConfig()) | {"model": as_dict(type(job.config.model)(kind=KINDS.default))}
    before = {**_flatten(defaults), **_flatten(checkpoint["config"])}
    changed = _differences(before, _flatten(as_dict(job.config)), ignored=MAY_CHANGE)
    if changed:
        raise UsageError(f"{exp}: was trained with other settings: {_join_some(changed)} {remedy}")
    kind = {"kind": FeatureConfig.kind}
    changed = _differences(kind | checkpoint.get("features", job.features), kind | job.features)
    if changed:
        raise UsageError(f"{exp}: was trained on other features: {_join_some(changed)} {remedy}")
    if checkpoint["train"] != fingerprint(job.train):
        raise UsageError(f"{exp}: was trained on other utterances {remedy}")
    if checkpoint.get("dev", fingerprint(job.dev)) != fingerprint(job.dev):
        raise UsageError(f"{exp}: was evaluated on another dev set (give the same --dev, another folder, or --fresh)")


def _differences(before: dict[str, Any], now: dict[str, Any], ignored: Sequence[str] = ()) -> list[str]:
    """Describe the settings that differ; of a network or features of another kind, only the kind."""
    names = [
        name
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name) and name.split(".")[0] not in ignored
    ]
    kinds = {"model.kind", "kind"}.intersection(names)
    others = tuple(name.removesuffix("kind") for name in kinds)
    return [
        f"{_in_one_line(name)} was {_in_one_line(before.get(name))}, is {_in_one_line(now.get(name))}"
        for name in names
        if name in kinds or not name.startswith(others)
    ]


def _in_one_line(value: Any) -> str:
    """A name or value from a file, which may be damaged."""
    text = str(value)
    return (text if text.isprintable() else repr(text))[:MAX_SHOWN]


def _join_some(differences: list[str]) -> str:
    """As many differences as fit in a message, and the number of the others."""
    count = max(1, sum(length <= MAX_LISTED for length in accumulate(len(d) + 2 for d in differences)))
    left = len(differences) - count
    return "; ".join(differences[:count]) + (f"; and {left} more" if left else "")


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        out.update(_flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return out


def _completed_rows(path: Path, checkpoint: dict[str, Any] | None) -> list[Row]:
    """The rows of epochs that are complete in the checkpoint; later epochs are repeated."""
    if checkpoint is None or not path.is_file():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return [row for row in rows if row["epoch"] <= checkpoint["at"]["epoch"]]
    except (KeyError, TypeError, ValueError) as e:
        raise DataError(f"{path}: expected one row per epoch (remove it, or give --fresh)") from e
