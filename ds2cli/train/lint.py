"""Checks of the texts of a training run: what the network would learn, or never write, without anyone's wish."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ds2cli.encoding import code_point, explain_undecodable
from ds2cli.errors import BadUtterance
from ds2cli.lm.lint import FATAL_SHARE, FATAL_SHARE_OTHER, Finding, group_mismatches, writable
from ds2cli.text.characters import find_invisible
from ds2cli.text.normalize import APOSTROPHES
from ds2cli.text.units import is_unspaced
from ds2cli.text.vocab import Vocab

CLEAN = "ds2 data fix, which cleans the texts of a manifest"
CLEAN_BOTH = "ds2 data fix, which cleans the texts of a manifest, for both sets"
MAX_NAMED = 5
"""Characters named in a message."""


def clean_text(text: str) -> str:
    """The text with one space between words, whatever white space there was.

    BadUtterance "control-characters" or "not-utf8" for characters that no one can say, which are not removed: they show
    that the text was read or written wrongly.
    """
    clean = " ".join(text.split())
    for c in clean if not clean.isprintable() or "\ufffd" in clean else "":
        if unicodedata.category(c) == "Cc":
            raise BadUtterance("control-characters", f"{code_point(c)} in {text[:40]!r}: delete it")
        if c == "\ufffd" or "\ud800" <= c <= "\udfff":
            raise BadUtterance("not-utf8", explain_undecodable(text) or f"undecodable bytes in {text[:40]!r}")
    return clean


@dataclass
class TextLint:
    """Counts what is unusual in the texts of a set; `add` each of them as it was written."""

    texts: int = 0
    several_words: int = 0
    white_space: int = 0
    decomposed: int = 0
    with_invisible: int = 0
    invisible: Counter[str] = field(default_factory=Counter)
    apostrophes: Counter[str] = field(default_factory=Counter)

    def add(self, text: str) -> None:
        """Count one text."""
        self.texts += 1
        self.several_words += len(text.split()) > 1 or is_unspaced(text)
        self.white_space += text != " ".join(text.split())
        if text.isascii():
            self.apostrophes.update({"'"}.intersection(text))
            return
        self.decomposed += not unicodedata.is_normalized("NFC", text)
        invisible = set(find_invisible(text))
        self.with_invisible += bool(invisible)
        self.invisible.update(invisible)
        self.apostrophes.update(set(APOSTROPHES).intersection(text))

    def findings(self, name: str) -> Iterator[Finding]:
        """The problems found, with their counts; `name` is that of the set: training or dev."""
        of = f"of {self.texts} {name} texts"
        if self.texts and not self.several_words and name == "training":
            message = f"each {of.replace('of ', 'of the ', 1)} is one word: the network will not write a space"
            yield Finding("space", False, message, "as it should for digits and commands")
        if self.white_space:
            message = (
                f"{self.white_space} {of} have line breaks, tabs or more than one space: each is read as one space"
            )
            yield Finding("white space", False, message, CLEAN)
        if self.invisible:
            message = f"{self.with_invisible} {of} have invisible characters, each a symbol to the network: "
            yield Finding("invisible", False, message + _counts(self.invisible), CLEAN)
        if self.decomposed:
            message = f"{self.decomposed} {of} are not in Unicode form NFC: one letter may be two symbols"
            yield Finding("Unicode form", False, message, CLEAN)
        if len(self.apostrophes) > 1:
            message = (
                f"the {name} texts have apostrophes of {len(self.apostrophes)} kinds, each a symbol to the network: "
            )
            yield Finding("apostrophe", False, message + _counts(self.apostrophes), CLEAN)


def check_dev_texts(vocab: Vocab, texts: Sequence[str]) -> list[Finding]:
    """Dev texts that a network of these symbols can never write, fatal ones first."""
    can_write = writable(vocab)
    words = Counter(word for text in texts for word in text.split())
    wrong = sum(not all(map(can_write, text.split())) for text in texts)
    findings = []
    for mismatch in group_mismatches(words, can_write):
        other = mismatch.kind == "other"
        of = f"{sum(words[w] for w in mismatch.words)} of {words.total()} dev words (in {wrong} of {len(texts)} texts)"
        letters = Counter(c for w in mismatch.words for c in w for _ in range(words[w]) if not can_write(c))
        message = f"the network cannot write {of}, such as {next(iter(mismatch.words))!r}: its {len(vocab)} symbols"
        message += f" lack {_counts(letters)}" if letters else " do not spell them"
        if not other:
            message = f"the {mismatch.kind} differs between training and dev texts: {message}"
        fix = "add training texts with them, or leave such texts out of the dev set" if other else CLEAN_BOTH
        fatal = mismatch.share >= (FATAL_SHARE_OTHER if other else FATAL_SHARE)
        findings.append(Finding(mismatch.kind, fatal, message, fix))
    if " " not in vocab.symbols and any(len(text.split()) > 1 for text in texts):
        several = sum(len(text.split()) > 1 for text in texts)
        message = f"no training text has a space, so the network cannot write {several} of {len(texts)} dev texts"
        fatal = several >= FATAL_SHARE_OTHER * len(texts)
        findings.append(Finding("space", fatal, message, "add training texts of several words"))
    return sorted(findings, key=lambda finding: not finding.fatal)


def _counts(characters: Counter[str]) -> str:
    """`'É' (2), U+200B (1)`, the most frequent ones."""
    named = [
        f"{repr(c) if unicodedata.category(c)[0] in 'LNPS' else code_point(c)} ({count})"
        for c, count in characters.most_common(MAX_NAMED)
    ]
    more = len(characters) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")
