"""Train a network in an experiment folder, and go on where an earlier run of the same command ended."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ds2cli import __version__
from ds2cli.config.base import as_dict
from ds2cli.config.train import TrainConfig
from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.io import FolderLock, open_out_bytes
from ds2cli.manifest import Row
from ds2cli.nn.checkpoint import BEST
from ds2cli.nn.distributed import process_group
from ds2cli.train.checkpoint_files import LOG
from ds2cli.train.data import TOKENS
from ds2cli.train.events import GO_ON, Event, Restart, Saved
from ds2cli.train.examples import fingerprint
from ds2cli.train.job import TrainJob
from ds2cli.train.state_file import LAST, load_state
from ds2cli.train.trainer import Trainer

MAY_CHANGE = (
    "epochs", "minutes", "device", "nproc", "readers", "restarts", "ctc", "save_minutes", "keep_best", "early_stop",
    "tensorboard", "fresh", "max_bad", "dropped",
)  # fmt: skip
"""Settings that a run may go on with although they differ."""

OF_A_MACHINE = ("nproc", "readers", "restarts", "save_minutes", "tensorboard", "fresh", "max_bad", "dropped", "init")
"""Settings that may differ between the machines of one run; the first one's network is taken by all."""


def run(job: TrainJob, exp: str, asked: Callable[[], int] = lambda: GO_ON) -> Iterator[Event]:
    """Train; the iterator gives every step and a row for every epoch, which EXP/train.jsonl has too.

    asked: what is wanted after each step: GO_ON, SAVE to write last.pt now, HALT to write it and end.
    UsageError, at once, when EXP was trained with other settings, on other features or on other utterances.
    """
    folder = Path(exp)
    if (process_group.torchrun_rank() or (0, 1))[0]:
        # the first process, perhaps on another machine, has the checkpoint and tells
        return _events(job, folder, None, asked)
    lock = FolderLock(exp, "another ds2 train is at work there (wait for it, or another folder)")
    try:
        return _locked(lock, _events(job, folder, _start(job, folder, exp), asked))
    except BaseException:
        lock.release()
        raise


def _locked(lock: FolderLock, events: Iterator[Event]) -> Iterator[Event]:
    try:
        yield from events
    finally:
        lock.release()


def _start(job: TrainJob, folder: Path, exp: str) -> dict[str, Any] | None:
    """Make the folder ready; the checkpoint to go on from, if there is one.

    UsageError when it is of other settings, features or utterances.
    """
    # torchrun starts the same command again when a process has died
    if job.config.fresh and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        # the checkpoint first: what is left without it is no run to go on with
        for name in (LAST, LOG, BEST, "epoch-[0-9]*.safetensors"):
            for old in folder.glob(name):
                old.unlink()
    for name in (LAST, LOG, "*.safetensors"):
        # what a run was writing as it was killed
        for part in folder.glob(f".*.part.{name}"):
            part.unlink(missing_ok=True)
    state = load_state(folder)
    _check_same(state, job, exp)
    job.vocab.save(folder / TOKENS)
    return state


def _events(job: TrainJob, folder: Path, state: dict[str, Any] | None, asked: Callable[[], int]) -> Iterator[Event]:
    def store(name: str, data: bytes | None) -> None:
        if data is None:
            try:
                (folder / name).unlink(missing_ok=True)
            except OSError as e:
                raise DataError(f"{folder / name}: cannot be removed: {(e.strerror or str(e)).lower()}") from e
            return
        with open_out_bytes(str(folder / name)) as f:
            f.write(data)

    left = job.config.restarts
    while True:
        group = None
        try:
            group = _group(job)
            _agree(job, group)
            trainer = Trainer(job, group, group.broadcast_object(state), _kept_rows(folder / LOG, state))
            for event in trainer.run(store, asked):
                if isinstance(event, Saved) and not event.failed:
                    left = job.config.restarts
                yield event
            return
        except process_group.PeerLostError as e:
            if not left or process_group.torchrun_rank():
                raise
            left -= 1
            yield Restart(str(e))
        finally:
            if group is not None:
                group.close()
        state = load_state(folder)


def _group(job: TrainJob) -> process_group.ProcessGroup:
    device = device_of(job.config)
    if process_group.torchrun_rank():
        return process_group.join_torchrun(device)
    return process_group.start(job.config.nproc, device, follow, (job,))


def device_of(config: TrainConfig) -> torch.device:
    """Where to compute. UsageError when there is no such device."""
    has = torch.cuda.is_available()
    if config.device == "cuda" and not has:
        raise UsageError("train: torch finds no CUDA device (fix: --device cpu, or a torch built for CUDA)")
    if not has or config.device == "cpu":
        return torch.device("cpu")
    if config.nproc > torch.cuda.device_count() and not process_group.torchrun_rank():
        raise UsageError(f"train: --nproc {config.nproc}, and there are {torch.cuda.device_count()} GPUs")
    return torch.device("cuda")


def follow(job: TrainJob, group: process_group.ProcessGroup) -> None:
    """What a process other than the first does: the same steps from the same checkpoint, and nothing to say."""
    _agree(job, group)
    for _ in Trainer(job, group, group.broadcast_object(None)).run(lambda _name, _data: None, lambda: GO_ON):
        pass


def _agree(job: TrainJob, group: process_group.ProcessGroup) -> None:
    """Ds2Error when the processes of a group were given different data or settings: they would not sum like things."""
    data = fingerprint(job.train) + fingerprint(job.dev)
    settings = {
        "ds2cli": __version__,
        "symbols": job.vocab.symbols,
        "bins": len(job.mean),
        **_flat(as_dict(job.config)),
    }
    seen = group.all_gather({str(group.rank): (data, settings)})
    if len({data for data, _ in seen.values()}) > 1:
        raise Ds2Error("train: the processes were given different utterances (the same manifests on every machine)")
    for name, value in settings.items():
        for other, (_, theirs) in seen.items():
            if name not in OF_A_MACHINE and theirs.get(name) != value:
                found = f"{name} is {value} in process {group.rank}, {theirs.get(name)} in process {other}"
                raise Ds2Error(f"train: {found} (the same command on every machine)")


def _check_same(state: dict[str, Any] | None, job: TrainJob, exp: str) -> None:
    if state is None:
        return
    now = _flat(as_dict(job.config))
    # a setting that an older version did not have was as its default is
    before = {**_flat(as_dict(TrainConfig())), **_flat(state["config"])}
    changed = [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name) and name.split(".")[0] not in MAY_CHANGE
    ]
    if changed:
        raise UsageError(f"{exp}: was trained with other settings: {'; '.join(changed)} (another folder, or --fresh)")
    made = state.get("features", job.features)
    changed = [
        f"{name} was {made.get(name)}, is {job.features.get(name)}"
        for name in sorted({*made, *job.features})
        if made.get(name) != job.features.get(name)
    ]
    if changed:
        raise UsageError(f"{exp}: was trained on other features: {'; '.join(changed)} (another folder, or --fresh)")
    if state["train"] != fingerprint(job.train):
        raise UsageError(f"{exp}: was trained on other utterances (another folder, or --fresh)")
    if state.get("dev", fingerprint(job.dev)) != fingerprint(job.dev):
        raise UsageError(f"{exp}: was tested on another dev set (give the same --dev, another folder, or --fresh)")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        out.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return out


def _kept_rows(path: Path, state: dict[str, Any] | None) -> list[Row]:
    """The rows of the epochs that the checkpoint has behind it; a row beyond them will come again."""
    if state is None or not path.is_file():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return [row for row in rows if row["epoch"] <= state["at"]["epoch"]]
    except (KeyError, TypeError, ValueError) as e:
        raise DataError(f"{path}: not the rows of a training, one an epoch (remove it, or give --fresh)") from e
