"""What all connections share: the network with its search, the dispatcher, limits, metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ds2cli.config.base import build
from ds2cli.config.decode import SearchSettings, TranscribeConfig
from ds2cli.config.endpoint import EndpointConfig
from ds2cli.config.features import FeatureConfig
from ds2cli.config.serve import ServeConfig
from ds2cli.cores import count_cores
from ds2cli.errors import BadUtterance, DataError
from ds2cli.experiment_files import is_bundle, open_files
from ds2cli.lm.query import NgramLm
from ds2cli.recognizer.decoder import Search, build_beam_search, build_search, resolve_settings
from ds2cli.recognizer.experiment import Experiment
from ds2cli.recognizer.stream import EmissionStream, stream_network
from ds2cli.recognizer.utterances import UtteranceStream
from ds2cli.search.beam import BeamSearch
from ds2cli.search.endpoint import EndpointRules
from ds2cli.search.wordlist import make_spellable
from ds2cli.serve.dispatch import Dispatcher
from ds2cli.serve.metrics import Metrics
from ds2cli.serve.openai_answers import UNKNOWN
from ds2cli.serve.recording import RecordingTranscriber
from ds2cli.serve.refusal import bad_request, overloaded, stopping
from ds2cli.serve.refusal_log import RefusalLog
from ds2cli.serve.session import Session
from ds2cli.serve.uploads import Uploads
from ds2cli.stages.live import describe_rate
from ds2cli.text.profiles import guess_language

log = logging.getLogger("ds2cli.serve")

MAX_PHRASES = 1000
"""Hotwords, or words of a restricted vocabulary, of one request."""

MAX_PHRASE, MAX_CHARACTERS = 100, 20_000
"""Characters of one of them, and of all: the time to build their automaton grows with the square of their lengths."""

MAX_RATES = 100
"""Sample rates of streams about which the log may warn."""

BIDIRECTIONAL_S = 600.0
"""Longest stream of a bidirectional network (s): it is kept whole, and computed at its end while all others wait."""


@dataclass(frozen=True)
class StreamOptions:
    """What a client asks for.

    rate: of the samples (Hz).  partials: whether partial results are wanted.  nbest: hypotheses of final results.
    rules: when utterances end; None: as the server's settings say.
    hotwords: phrases to boost, as with --hotwords.  words: the only words that may be written; None: all.
    """

    rate: int
    partials: bool = True
    nbest: int = 0
    rules: EndpointRules | None = None
    hotwords: tuple[str, ...] = ()
    words: tuple[str, ...] | None = None


class Service:
    """An opened network for any number of connections."""

    def __init__(self, config: ServeConfig, exp: str, warn: Callable[[str], None]) -> None:
        """UsageError for settings that do not fit, DataError for a network or language model that cannot be read."""
        self.config, self.exp = config, exp
        shared = {f.name: getattr(config, f.name) for f in (*fields(SearchSettings), *fields(EndpointConfig))}
        values = {
            **shared,
            "nj": config.nj or max(count_cores() // 2, 1),
            "device": "cpu",
            "precision": config.precision,
            "timestamps": True,
        }
        # the weight also applies to the hotwords of clients
        is_for_clients = config.hotwords is None and not config.greedy
        if is_for_clients:
            del values["hotword_weight"]
        settings = resolve_settings(build(TranscribeConfig, ("ds2 serve", values)), exp, warn)
        self.settings = replace(settings, hotword_weight=config.hotword_weight) if is_for_clients else settings
        self.experiment = Experiment(exp, device="cpu", precision=config.precision, avoid_torch=True)
        self._lm = None if self.settings.lm is None else NgramLm.load(self.settings.lm)
        self.search: Search
        if self.settings.greedy:
            self.search = build_search(self.settings, self.experiment, warn)
        else:
            self.search = build_beam_search(self.settings, self.experiment, warn, lm=self._lm)
        self.network = stream_network(self.experiment)
        self.features = FeatureConfig.from_saved(self.experiment.network.features, exp)
        # names of the model in OpenAI's protocol, the first one its own
        self.names = config.model_names or (Path(exp).resolve().stem, "whisper-1")
        # read once: the file may be replaced while it is served
        self.language = config.language or _find_language(exp, self.experiment)
        self.metrics = Metrics()
        self.refusals = RefusalLog(self.metrics)
        transcriber = RecordingTranscriber(self.settings, self.experiment, self.features, warn)
        self.uploads = Uploads(config, transcriber, self.metrics)
        self.dispatcher = Dispatcher(config.max_batch, self.settings.nj, self.metrics)
        self._phrase_thread = ThreadPoolExecutor(1, "phrases")
        self.sessions: set[Session] = set()
        self.limit = config.max_streams
        self.is_stopping = False
        self._seen_rates = set[int]()
        self.metrics.ready.set(1)

    @property
    def look_ahead_s(self) -> float | None:
        """How much audio after a sound the network hears before it decides (s); None: all of it (bidirectional)."""
        frames = self.network.config.look_ahead
        return None if frames is None else frames * self.features.hop_samples / self.features.sample_rate

    @property
    def is_busy(self) -> bool:
        """Whether there are streams or uploads that have not ended."""
        return bool(self.sessions) or self.uploads.is_busy

    async def open_session(self, options: StreamOptions) -> Session:
        """A new stream. Refusal if the server is full or being stopped, or if an option cannot be done."""
        self._check_room()
        search = self.search
        if options.hotwords or options.words is not None:
            # many phrases take tenths of a second: in a thread, so that the event loop continues
            search = await asyncio.get_running_loop().run_in_executor(
                self._phrase_thread, self.search_with, options.hotwords, options.words
            )
            self._check_room()
        emissions, utterances = self.make_stream(options, search)
        max_s = self.config.max_stream
        if self.look_ahead_s is None:
            max_s = min(max_s, BIDIRECTIONAL_S)
        session = Session(self.dispatcher, emissions, utterances, options.rate, max_s, self._forget)
        session.logs_texts = self.config.log_texts
        self.sessions.add(session)
        self.metrics.streams.set(len(self.sessions))
        self._warn_of_rate(options.rate)
        return session

    def problem_of(self, rate: int) -> str | None:
        """What is wrong with streams of this sample rate (Hz): they lack what the network has learned from."""
        return describe_rate(rate, self.experiment, self.features)

    def _warn_of_rate(self, rate: int) -> None:
        """Log, once for each rate, what is wrong with streams of it."""
        if rate in self._seen_rates or len(self._seen_rates) >= MAX_RATES:
            return
        self._seen_rates.add(rate)
        if problem := self.problem_of(rate):
            log.warning("stream: %s", problem)

    def _check_room(self) -> None:
        if self.is_stopping:
            raise stopping()
        if len(self.sessions) >= self.limit:
            raise overloaded(f"this server is full, all {self.limit} streams are in use: try again later")
        if (delay := self.dispatcher.delay_s) > self.config.max_delay:
            raise overloaded(f"this server is {delay:.1f} s behind with its streams: try again later")

    def make_stream(
        self, options: StreamOptions, search: Search | None = None
    ) -> tuple[EmissionStream, UtteranceStream]:
        """The network and the search of a new stream.  search: that of its phrases; None: it has none."""
        config = replace(self.settings, nbest=options.nbest)
        utterances = UtteranceStream(
            config,
            self.search if search is None else search,
            self.experiment.vocab,
            self.experiment.network.step_s,
            options.rules or EndpointRules.from_config(self.settings),
            partials=options.partials,
        )
        return EmissionStream(self.experiment, options.rate), utterances

    def search_with(self, hotwords: tuple[str, ...] = (), words: tuple[str, ...] | None = None) -> Search:
        """The search with hotwords or a vocabulary of a client. Refusal if that is impossible."""
        if not hotwords and words is None:
            return self.search
        if not isinstance(self.search, BeamSearch):
            raise bad_request("no-beam-search", "hotwords and vocabularies need a beam search: this server is greedy")
        lengths = [len(phrase) for phrase in (*hotwords, *(words or ()))]
        if len(lengths) > MAX_PHRASES or sum(lengths) > MAX_CHARACTERS or max(lengths, default=0) > MAX_PHRASE:
            raise bad_request(
                "too-many-phrases",
                f"at most {MAX_PHRASES} hotwords or words are allowed, of up to {MAX_PHRASE} characters each, "
                f"{MAX_CHARACTERS} in all",
            )
        vocab = self.experiment.vocab
        try:
            boosted = {make_spellable(phrase, vocab, "hotwords"): self.settings.hotword_weight for phrase in hotwords}
            allowed = None if words is None else [make_spellable(word, vocab, "words") for word in words]
            return self.search.with_phrases(self._lm, boosted or None, allowed)
        except (DataError, BadUtterance) as e:
            raise bad_request("impossible-phrases", str(e)) from e

    def _forget(self, session: Session) -> None:
        self.sessions.discard(session)
        log.info("stream: %.1f s of audio", session.received_s)
        self.metrics.streams.set(len(self.sessions))

    def stop(self) -> None:
        """Accept no more streams and uploads; those that are open continue."""
        self.is_stopping = True
        self.uploads.stop()
        self.metrics.ready.set(0)

    def close(self) -> None:
        """End everything at once."""
        for session in list(self.sessions):
            session.close()
        self._phrase_thread.shutdown(cancel_futures=True)
        self.uploads.close()
        self.dispatcher.close()


def _find_language(exp: str, experiment: Experiment) -> str:
    """The language of a network: that of the bundle, else guessed by its symbols; UNKNOWN if they do not tell."""
    card = open_files(exp).card.get("rules", {}) if is_bundle(exp) else {}
    symbols = experiment.vocab.symbols
    guess = guess_language(symbols)
    # it says English for all that is not Turkish
    is_foreign = guess == "en" and any(c.isalpha() and not c.isascii() for symbol in symbols for c in symbol)
    return card.get("lang") or (UNKNOWN if is_foreign else guess)
