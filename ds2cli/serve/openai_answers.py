"""The answers of OpenAI's protocol: texts, subtitles, segments and words, models, errors."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ds2cli.captions.cues import Limits, make_cues
from ds2cli.captions.phrases import make_phrases
from ds2cli.captions.srt import format_srt
from ds2cli.captions.vtt import format_vtt
from ds2cli.errors import BadUtterance
from ds2cli.manifest import Row
from ds2cli.serve.refusal import Refusal
from ds2cli.text.spacing import join_texts
from ds2cli.text.vocab import Vocab

UNKNOWN = "und"
"""The code of a language that is not known (BCP 47)."""

LANGUAGES = {
    UNKNOWN: "unknown",
    "ar": "arabic", "bg": "bulgarian", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish", "et": "estonian", "fa": "persian", "fi": "finnish", "fr": "french",
    "he": "hebrew", "hi": "hindi", "hr": "croatian", "hu": "hungarian", "id": "indonesian", "it": "italian",
    "ja": "japanese", "ko": "korean", "lt": "lithuanian", "lv": "latvian", "nl": "dutch", "no": "norwegian",
    "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sk": "slovak", "sl": "slovenian",
    "sv": "swedish", "th": "thai", "tr": "turkish", "uk": "ukrainian", "vi": "vietnamese", "zh": "chinese",
}  # fmt: skip
"""Names of languages in this protocol, by code."""

LOWEST_LOG_PROB = -20.0
FRAMES_PER_S = 100
"""`seek` of a segment counts Whisper's frames of 10 ms."""

Answer = tuple[str, str]
"""A body and its media type."""


def format_error(refusal: Refusal) -> dict[str, Any]:
    """The error object of a refusal."""
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {"error": {"message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code}}


def describe_model(name: str, created: int) -> dict[str, Any]:
    """A model. created: seconds since 1970."""
    return {"id": name, "object": "model", "created": created, "owned_by": "ds2"}


def make_answer(form: str, row: Row, language: str, vocab: Vocab, granularities: Sequence[str]) -> Answer:
    """The answer in one of FORMATS. row: see `RecordingTranscriber`."""
    return FORMATS[form](row, language, vocab, granularities)


def _json(row: Row, *_: object) -> Answer:
    return _dump({"text": row["pred_text"], "usage": _usage(row)})


def _text(row: Row, *_: object) -> Answer:
    return f"{row['pred_text']}\n", "text/plain; charset=utf-8"


def _srt(row: Row, *_: object) -> Answer:
    return format_srt(make_cues(row["pred_words"], Limits(), (), row["duration"])), "text/plain; charset=utf-8"


def _vtt(row: Row, *_: object) -> Answer:
    return format_vtt(make_cues(row["pred_words"], Limits(), (), row["duration"])), "text/vtt; charset=utf-8"


def _verbose(row: Row, language: str, vocab: Vocab, granularities: Sequence[str]) -> Answer:
    answer: dict[str, Any] = {
        "task": "transcribe",
        "language": LANGUAGES.get(language, language),
        "duration": row["duration"],
        "text": row["pred_text"],
    }
    if "segment" in granularities:
        phrases = make_phrases(row["pred_words"])
        answer["segments"] = [_segment(number, phrase, vocab) for number, phrase in enumerate(phrases)]
    if "word" in granularities:
        # `confidence` is not in the protocol; clients keep it
        answer["words"] = [
            {**{name: word[name] for name in ("word", "start", "end")}, "confidence": word["conf"]}
            for word in row["pred_words"]
        ]
    return _dump({**answer, "usage": _usage(row)})


def _segment(number: int, words: Sequence[Mapping[str, Any]], vocab: Vocab) -> dict[str, Any]:
    text = join_texts(word["word"] for word in words)
    try:
        tokens = [*map(int, vocab.encode(text))]
    except BadUtterance:
        # a part of a word that was divided
        tokens = []
    data = text.encode()
    logs = [max(math.log(word["conf"]), LOWEST_LOG_PROB) if word["conf"] > 0 else LOWEST_LOG_PROB for word in words]
    return {
        "id": number,
        "seek": int(words[0]["start"] * FRAMES_PER_S),
        "start": words[0]["start"],
        "end": max(word["end"] for word in words),
        # with a leading space, as Whisper writes it: clients join segments without one
        "text": f" {text}" if " " in vocab.symbols else text,
        "tokens": tokens,
        "temperature": 0.0,
        "avg_logprob": round(sum(logs) / len(logs), 4),
        "compression_ratio": round(len(data) / len(zlib.compress(data)), 4),
        # segments contain speech only
        "no_speech_prob": 0.0,
    }


def _usage(row: Row) -> dict[str, Any]:
    return {"type": "duration", "seconds": row["duration"]}


def _dump(answer: Mapping[str, Any]) -> Answer:
    return json.dumps(answer, ensure_ascii=False), "application/json"


FORMATS: Mapping[str, Callable[[Row, str, Vocab, Sequence[str]], Answer]] = {
    "json": _json,
    "text": _text,
    "srt": _srt,
    "verbose_json": _verbose,
    "vtt": _vtt,
}
"""Formats of answers by the name of `response_format`."""
