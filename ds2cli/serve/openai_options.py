"""What a request of OpenAI's protocol asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ds2cli.serve.openai_answers import FORMATS, LANGUAGES, UNKNOWN
from ds2cli.serve.openai_form import FILE, Fields
from ds2cli.serve.refusal import Refusal, bad_request

GRANULARITIES = ("segment", "word")
STREAMED = ("json", "text")
"""Formats that can be asked for with `stream`, whose events have texts only."""

_FIELDS = ("model", "language", "prompt", "response_format", "temperature", "stream")
"""Fields that are given once, besides the file."""


@dataclass(frozen=True)
class Options:
    """What a client asks for, as in the protocol. hotwords: the phrases of `prompt`."""

    form: str = "json"
    granularities: tuple[str, ...] = ("segment",)
    stream: bool = False
    hotwords: tuple[str, ...] = ()


def parse_options(fields: Fields, models: tuple[str, ...], language: str) -> Options:
    """What the fields of a form say. Refusal for a field that is unknown, given twice, or asks for the impossible."""
    values = dict(fields)
    granularities = values.pop("timestamp_granularities[]", []) + values.pop("timestamp_granularities", [])
    for name, given in values.items():
        if name not in _FIELDS:
            raise _bad_field(
                name[:60], f"unknown field, expected {', '.join((FILE, *_FIELDS, 'timestamp_granularities[]'))}"
            )
        if len(given) > 1:
            raise _bad_field(name, "given twice")
    texts = {name: given[0].strip() for name, given in values.items()}
    _check_model(texts.get("model", ""), models)
    _check_language(texts.get("language", ""), language)
    _check_temperature(texts.get("temperature", ""))
    form = texts.get("response_format") or "json"
    if form not in FORMATS:
        raise _bad_field("response_format", f"expected {', '.join(FORMATS)}, got {form[:60]!r}")
    for value in granularities:
        if value not in GRANULARITIES:
            raise _bad_field("timestamp_granularities[]", f"expected segment or word, got {value[:60]!r}")
    if granularities and form != "verbose_json":
        raise _bad_field("timestamp_granularities[]", "only applies to response_format verbose_json")
    stream = texts.get("stream", "").lower()
    if stream not in ("", "true", "false", "1", "0"):
        raise _bad_field("stream", f"expected true or false, got {stream[:60]!r}")
    is_stream = stream in ("true", "1")
    if is_stream and form not in STREAMED:
        raise _bad_field("stream", f"needs response_format json or text, got {form}")
    phrases = (" ".join(phrase.split()) for phrase in re.split(r"[,\n]", texts.get("prompt", "")))
    hotwords = tuple(dict.fromkeys(phrase for phrase in phrases if phrase))
    return Options(form, tuple(granularities) or ("segment",), is_stream, hotwords)


def unknown_model(name: str, models: tuple[str, ...]) -> Refusal:
    """The refusal of a name that is none of this server's models."""
    message = f"model: this server has {' and '.join(models)}, not {name[:60]!r} (--model-names)"
    return Refusal("model_not_found", message, 404, param="model")


def _check_model(name: str, models: tuple[str, ...]) -> None:
    if not name:
        raise _bad_field("model", f"is missing, expected {' or '.join(models)}")
    if name not in models:
        raise unknown_model(name, models)


def _check_language(given: str, language: str) -> None:
    """`given` may have a region, as in en-US, or be a name, such as english."""
    code = re.split("[-_]", given.lower())[0]
    own = re.split("[-_]", language.lower())[0]
    if given and own == UNKNOWN:
        raise _bad_field("language", "leave it out: this server does not know its language (ds2 serve --language)")
    if given and code not in (own, LANGUAGES.get(own)):
        raise _bad_field("language", f"this server understands {language}, not {given[:60]!r}")


def _check_temperature(given: str) -> None:
    try:
        is_zero = not given or float(given) == 0
    except ValueError:
        is_zero = False
    if not is_zero:
        raise _bad_field("temperature", f"expected 0, as nothing is sampled at random here, got {given[:60]!r}")


def _bad_field(name: str, message: str) -> Refusal:
    refusal = bad_request("bad-field", f"{name}: {message}")
    refusal.param = name
    return refusal
