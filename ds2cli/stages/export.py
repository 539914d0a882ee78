"""Make a bundle of an experiment: one file with all that recognition needs, which checks itself when it is opened."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import tomli_w

from ds2cli import __version__, inputs, io, manifest
from ds2cli.audio.recording import Recording, parse_recording, read_samples
from ds2cli.config.base import MADE_BY
from ds2cli.config.decode import DecodeConfig
from ds2cli.config.export import ExportConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.encoding import decode, describe_binary
from ds2cli.errors import BadUtterance, DataError, Ds2Error, UsageError
from ds2cli.experiment_files import (
    CARD,
    CLIP,
    EXPECTED,
    FORMAT,
    LICENSE,
    LIMITS,
    LM,
    NETWORK,
    ExperimentFiles,
    is_bundle,
)
from ds2cli.experiment_files import open_files as open_experiment
from ds2cli.feats import kinds
from ds2cli.lm.query import NgramLm
from ds2cli.manifest import Row
from ds2cli.recognizer.bundle import MAX_CLIP_S, Engine, compute_expected, encode_clip, encode_expected
from ds2cli.recognizer.decoder import TUNED_FILE, build_beam_search, read_tuned_settings, resolve_settings
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.timing import TIMING_FILE, read_timing
from ds2cli.recognizer.transcript_filter import FILTER_FILE, load_filter
from ds2cli.stored_zip import Content, write_stored
from ds2cli.text.profiles import find_profile, guess_language
from ds2cli.text.vocab import PIECES, TOKENS

SHORTEST_S, LONGEST_S = 1.0, 10.0
"""Duration of a clip of the dev set: long enough to have words, short enough to be computed at each start."""

MOST_TRIED = 20
"""Clips that are tried until one can be read."""

RULES = "text"
"""Table of the card with the rules by which the training texts were normalized, as far as they are known."""


@dataclass(frozen=True)
class Bundle:
    """What is to be written. members: names and contents, in order, the card first.  notes: for the user."""

    members: list[tuple[str, Content]]
    notes: list[str]
    warnings: list[str]

    @property
    def size(self) -> int:
        """Bytes of the members."""
        return sum(part.nbytes for _, content in self.members for part in content)

    def write(self, out: str) -> None:
        """Write the bundle; it appears whole or not at all."""
        with io.open_out_bytes(out) as f:
            write_stored(f, self.members)


def run(config: ExportConfig, exp: str, command: str) -> Bundle:
    """Collect what recognition with an experiment needs, check that it fits together, and compute the clip.

    command: recorded in the card.  UsageError without a clip; DataError, UsageError or Ds2Error if a file cannot be
    used, or belongs to another network.
    """
    files, experiment = open_experiment(exp), Experiment(exp)
    notes: list[str] = []
    warnings: list[str] = []
    members = _copy_files(files, experiment)
    lm, lm_name = _find_lm(config, files, warnings)
    model = None if lm is None else lm.model
    if lm is None:
        notes.append("no language model (--lm FILE)")
    else:
        settings = resolve_settings(DecodeConfig(lm=lm_name), exp, warnings.append, is_own_lm_default=False)
        # warns of a model that does not fit the network, or refuses it
        build_beam_search(settings, experiment, warnings.append, lm=lm)
        notes.append(f"language model: {lm_name}, {lm.order}-grams")
        if TUNED_FILE not in members:
            warnings.append(f"{exp} has no {TUNED_FILE}: its search weights are the defaults (ds2 decode --tune)")
    members |= _read_license(config, files)
    notes.append(f"{'license: ' + str(config.license or exp) if LICENSE in members else 'no license (--license FILE)'}")
    clip, about = _find_clip(config, files, experiment)
    features = _feature_settings(experiment)
    expected = compute_expected(clip, features, _engine_of(experiment))
    members |= {CLIP: clip, EXPECTED: encode_expected(expected)}
    seconds = len(clip) / 2 / features.sample_rate
    notes.append(f"clip: {about.get('source', exp)} ({seconds:.1f} s), which becomes part of the bundle")
    contents: dict[str, Content] = {member: [memoryview(members[member])] for member in LIMITS if member in members}
    if model is not None:
        contents[LM] = [model.tables.data.data.cast("B"), model.words_utf8.data.cast("B")]
    card = _make_card(experiment, contents, about, lm_name, command)
    return Bundle([(CARD, [memoryview(card)]), *contents.items()], notes, warnings)


def _make_card(
    experiment: Experiment, contents: dict[str, Content], clip: dict[str, Any], lm: str, command: str
) -> bytes:
    """The card: what the bundle is, and the size and hash of each member. DataError for a member that is too large."""
    network, members = experiment.network, {}
    for name, content in contents.items():
        size, digest = sum(part.nbytes for part in content), hashlib.sha256()
        limit = LIMITS[name]
        if limit is not None and size > limit:
            raise DataError(f"{name}: {size} bytes, expected at most {limit} in a bundle")
        for part in content:
            digest.update(part)
        members[name] = {"size": size, "sha256": digest.hexdigest()}
    look_ahead = network.config.look_ahead
    hop_ms = float(network.features["hop_ms"])
    about = {
        "kind": network.config.kind,
        "symbols": len(network.vocab),
        "bins": network.bins,
        "sample_rate": _feature_settings(experiment).sample_rate,
        "step_ms": hop_ms * network.config.stride,
        "weights": network.weights,
        # a network without it hears the whole utterance first
        **({} if look_ahead is None else {"look_ahead_ms": look_ahead * hop_ms}),
    }
    lang = clip.get("lang") or guess_language(network.vocab.symbols)
    card = {
        "format": FORMAT,
        "ds2cli": __version__,
        "created": datetime.now(UTC).replace(microsecond=0),
        "network": about,
        RULES: {"lang": lang, "profile": find_profile(lang).name},
        **({"lm": {"source": lm}} if lm else {}),
        "clip": clip,
        "members": members,
        MADE_BY: {"command": command},
    }
    return tomli_w.dumps(card).encode()


def _copy_files(files: ExperimentFiles, experiment: Experiment) -> dict[str, bytes]:
    """The network, its symbols, and what was tuned for it, each of which was read without an error."""
    exp, vocab = files.path, experiment.network.vocab
    weights = files.read(NETWORK) if files.has(NETWORK) else Path(experiment.network.path).read_bytes()
    assert weights is not None
    members: dict[str, bytes] = {NETWORK: weights, TOKENS: vocab.format_lines().encode()}
    if vocab.pieces:
        members[PIECES] = vocab.pieces
    for name, check in ((TUNED_FILE, read_tuned_settings), (TIMING_FILE, read_timing), (FILTER_FILE, load_filter)):
        if (content := files.read(name)) is not None:
            check(exp)
            members[name] = content
    return members


def _find_lm(config: ExportConfig, files: ExperimentFiles, warnings: list[str]) -> tuple[NgramLm | None, str]:
    """The language model and its name: that of --lm, of a bundle, or that with which the search was tuned."""
    if config.lm is not None:
        return NgramLm.load(config.lm), _name_of(config.lm)
    if files.has(LM):
        return NgramLm.load(files.path), _name_of(files.path)
    tuned = read_tuned_settings(files.path).lm
    if tuned is None:
        return None, ""
    for path in (Path(tuned), Path(files.path) / Path(tuned).name):
        if path.is_file():
            return NgramLm.load(str(path)), path.name
    warnings.append(f"{files.where(TUNED_FILE)} was tuned with {tuned}, which is not there (--lm FILE)")
    return None, ""


def _name_of(lm: str) -> str:
    """The file name of a language model, without the folder; of one in a bundle, that of the original."""
    if is_bundle(lm):
        about = open_experiment(lm).card.get("lm")
        return str(about.get("source")) if isinstance(about, dict) else LM
    return LM if inputs.is_stream(lm) or lm == "-" else Path(lm).name


def _read_license(config: ExportConfig, files: ExperimentFiles) -> dict[str, bytes]:
    if config.license is None:
        content = files.read(LICENSE) if files.is_bundle else None
        return {} if content is None else {LICENSE: content}
    try:
        data = inputs.read_bytes(config.license)
        if kind := describe_binary(data):
            raise DataError(f"{config.license}: expected a text file, found {kind}")
        text = decode(data, config.license)
    except OSError as e:
        raise DataError(f"{config.license}: {inputs.explain_error(e)}") from e
    except ValueError as e:
        raise DataError(f"{config.license}: not a text file: {e}") from e
    if not text.strip():
        raise DataError(f"{config.license}: it is empty, expected the terms under which the network may be used")
    return {LICENSE: text.encode()}


def _feature_settings(experiment: Experiment) -> FeatureConfig:
    """The settings of the features; DataError if those that the network was trained on cannot be computed."""
    network = experiment.network
    settings = FeatureConfig.from_saved(network.features, experiment.path)
    if (bins := kinds.num_bins(settings)) != network.bins:
        raise DataError(
            f"{experiment.path}: trained on features of {network.bins} bins, but with settings that give {bins}: "
            "recordings cannot be recognized with it (train with --features FILE)"
        )
    return settings


def _engine_of(experiment: Experiment) -> Engine:
    def compute(features: Any) -> Any:
        (found,) = experiment.compute_emissions([features], lambda: None)
        if isinstance(found, BadUtterance):
            raise DataError(f"{experiment.path}: {found.detail}")
        return found

    return compute


def _find_clip(config: ExportConfig, files: ExperimentFiles, experiment: Experiment) -> tuple[bytes, dict[str, Any]]:
    """The clip as a WAV file, and what the card says of it. UsageError if there is none."""
    settings = _feature_settings(experiment)
    if config.clip is None and files.is_bundle:
        clip = files.read(CLIP)
        assert clip is not None
        about = files.card.get("clip")
        return clip, dict(about) if isinstance(about, dict) else {}
    rate = settings.sample_rate
    if config.clip is not None:
        try:
            samples = read_samples(Recording(config.clip), rate)
        except BadUtterance as e:
            raise DataError(f"--clip {config.clip}: {e.detail}") from e
        if len(samples) > MAX_CLIP_S * rate:
            raise DataError(f"--clip {config.clip}: {len(samples) / rate:.1f} s, expected at most {MAX_CLIP_S:g} s")
        row: Row = {"audio_filepath": config.clip}
    else:
        for row in _list_candidates(files):
            with contextlib.suppress(BadUtterance):
                recording = parse_recording(row)
                assert recording is not None
                samples = read_samples(recording, rate)
                if kinds.num_frames(len(samples), settings):
                    break
        else:
            raise UsageError(
                f"export: no recording of a dev set of {files.path} was found (--clip WAV: a short one that may be "
                "shipped with the network)"
            )
    about = {"source": Path(row["audio_filepath"]).name, "seconds": round(len(samples) / rate, 3)}
    about |= {name: row[name] for name in ("text", "lang") if isinstance(row.get(name), str)}
    return encode_clip(samples, rate), about


def _list_candidates(files: ExperimentFiles) -> list[Row]:
    """Rows of a dev set: the shortest ones that have at least SHORTEST_S first, then shorter ones."""
    for path in _find_dev_sets(files):
        with contextlib.suppress(Ds2Error, OSError):
            rows = list(manifest.read(path, ("id", "audio_filepath", "duration")))
            long = sorted((r["duration"], r["id"], r) for r in rows if SHORTEST_S <= r["duration"] <= LONGEST_S)
            short = sorted((-r["duration"], r["id"], r) for r in rows if r["duration"] < SHORTEST_S)
            if found := [row for *_, row in (*long, *short)][:MOST_TRIED]:
                return found
    return []


def _find_dev_sets(files: ExperimentFiles) -> Iterator[str]:
    """Manifests of dev sets: that of the training, then those that search and word times were tuned on."""
    for name in ("config.toml", TUNED_FILE, TIMING_FILE):
        made_by = files.read_toml(name).get(MADE_BY)
        if not isinstance(made_by, dict):
            continue
        paths = [made_by.get("made_on")]
        with contextlib.suppress(ValueError, AttributeError):
            words = shlex.split(made_by.get("command", ""))
            paths += [value for option, value in pairwise(words) if option == "--dev"]
        yield from (path for path in paths if isinstance(path, str) and Path(path).is_file())
