"""Tags in transcripts: [laughter], (cough), {breath}, <noise>, *click*, ((unclear)). They are not spoken words.

Between square, curly, angle or double round brackets and between stars, everything is a tag. Round brackets are also
ordinary punctuation: they are a tag if they name a sound or speech that was not understood, hold no word, or enclose
the whole text.
"""

from __future__ import annotations

import re
from collections.abc import Container

from ds2cli.errors import BadUtterance
from ds2cli.text.characters import is_letter
from ds2cli.text.profiles import word_set

_TAG = re.compile(r"\(\([^()]*\)\)|\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}|【[^【】]*】|<(?!\s)[^<>]*>|\*+(?!\s)[^*]*\*+")
_BRACKETS = re.compile(r"[\[\]{}()*<>【]")
_LEFT_OVER = re.compile(r"[\[\]{}]")
_AT_ROUND_BRACKET = re.compile(r"\(\s?([^\W\d_]+)|\b([^\W\d_]+)\s?\)")
_MAX_WORDS = 3
"""Longer texts in round brackets are spoken remarks, even if they name a sound."""

SOUNDS = word_set(
    """
    applause beep beeping beeps breath breathe breathes breathing breaths bleep buzz buzzing chatter
    cheering cheers chuckle chuckles chuckling clapping clears click clicks cough coughing coughs crosstalk cry crying
    exhale exhales filler foreign garbled gasp gasps giggle giggles giggling groan groans hesitation hiss hum humming
    inaudible incomprehensible indecipherable indiscernible indistinct inhale inhales knocking laugh laughing laughs
    laughter lipsmack mumble mumbles mumbling murmur murmuring music noise noises overlap overlapping pause ringing
    ringtone scream screaming screams sigh sighing sighs sil silence silent singing smack sneeze sneezes sniff sniffling
    sniffs snore snoring sob sobbing sobs throat unclear unintelligible unk unknown unspoken
    whispering whispers whistle whistles whistling xxx yawn yawning yawns
    bruit rires rire applaudissements musique toux gelächter lachen lacht husten hustet beifall applaus musik geräusch
    rauschen unverständlich risas risa aplausos música tos ruido inaudível risate risata applausi musica
    tosse rumore incomprensibile gelach muziek hoest смех смеётся смеется аплодисменты музыка кашель шум неразборчиво
    gülme gülüyor gülüşmeler kahkaha alkış müzik öksürük öksürüyor gürültü anlaşılmıyor sessizlik
    risos aplausos ruído inaudível śmiech oklaski muzyka kaszel szum niewyraźne skratt applåder сміх оплески
    خنده موسیقی سرفه تشویق نامفهوم ضحك ضحكات موسيقى تصفيق سعال हँसी हंसी संगीत तालियाँ तालियां खाँसी खांसी शोर
    웃음 박수 음악 기침
    笑 笑い 笑声 笑聲 拍手 咳 音楽 音乐 音樂 掌声 掌聲
    """
)
"""Names of sounds, and of speech that was not understood."""


NOT_UNDERSTOOD = word_set(
    """
    crosstalk foreign garbled inaudible incomprehensible indecipherable indiscernible indistinct mumble mumbles mumbling
    murmur murmuring overlap overlapping singing unclear unintelligible unk unknown unspoken whispering whispers xxx
    unverständlich inaudível incomprensibile неразборчиво anlaşılmıyor niewyraźne نامفهوم
    """
)
"""Those of `SOUNDS` that stand for speech: without them a word is missing."""

_ASIDES = ("b aside", "e aside", "vocalsound", "nonvocalsound")
"""Further tags of conversations that stand for no word (Switchboard, AMI)."""


class SoundNames(Container[str]):
    """The names of tags that stand for no word: all that name a sound, and `names`."""

    def __init__(self, names: Container[str] = ()) -> None:
        self.names = names

    def __contains__(self, name: object) -> bool:
        words = str(name).split()
        is_sound = not SOUNDS.isdisjoint(words) and NOT_UNDERSTOOD.isdisjoint(words) and len(words) <= _MAX_WORDS
        return is_sound or name in _ASIDES or name in self.names


class TagError(BadUtterance):
    """A tag that is not among those to be removed. name: what it says, as `parse_names` reads it."""

    def __init__(self, tag: str, name: str, text: str) -> None:
        super().__init__("tags", f"{tag[:40]!r} in {text.strip()[:40]!r} is a tag, not a spoken word: remove it")
        self.name = name


def parse_names(names: str) -> frozenset[str]:
    """The names of a setting such as "laughter, breath" as they are compared: in lower case, without brackets.

    >>> sorted(parse_names("[Laughter], clears_throat"))
    ['clears throat', 'laughter']
    """
    return frozenset(name for part in names.split(",") if (name := _name(part)))


def remove_tags(text: str, removed: Container[str]) -> str:
    """The text without the tags whose names are in `removed`; all others stay."""
    if not removed or not _BRACKETS.search(text):
        return text
    while (shorter := _TAG.sub(lambda m: " " if _name(m[0]) in removed else m[0], text)) != text:
        text = shorter
    return text


def resolve_tags(text: str, removed: Container[str] = (), *, keep_brackets: bool = False) -> str:
    """The text without the tags whose names are in `removed`, and without round brackets that are no tag.

    keep_brackets: these round brackets stay.

    TagError for any other tag, BadUtterance "symbols" for brackets that hold no word, stand inside a word or, if square
    or curly, lack their partner.

    >>> resolve_tags("[laughter] hello (my dear)", {"laughter"}).split()
    ['hello', 'my', 'dear']
    """
    if not _BRACKETS.search(text):
        return text

    enclosed = text.strip(" .,!?-")

    def resolve(match: re.Match[str]) -> str:
        tag, name = match[0], _name(match[0])
        before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
        if name in removed:
            return " "
        if tag[0] != "(" or tag[1] == "(" or _is_tag(tag, enclosed):
            if not name:
                raise BadUtterance("symbols", f"{tag[:40]!r} in {text.strip()[:40]!r}: write the spoken words instead")
            raise TagError(tag, name, text)
        if (_touch(before, tag[1]) or _touch(tag[-2], after)) and name:
            word = text[: match.start()].split(" ")[-1] + tag + text[match.end() :].split(" ")[0]
            raise BadUtterance("symbols", f"{word[:40]!r}: brackets inside a word: write it as spoken")
        return tag if keep_brackets else f" {tag[1:-1]} "

    resolved = _TAG.sub(resolve, text)
    if left := _LEFT_OVER.search(resolved):
        raise BadUtterance("symbols", f"{left[0]!r} in {text.strip()[:40]!r}: a bracket without its partner: remove it")
    for round_bracket in _AT_ROUND_BRACKET.finditer(resolved):
        if (word := round_bracket[1] or round_bracket[2]).casefold() in SOUNDS:
            detail = f"{word!r} in {text.strip()[:40]!r} is at a bracket without its partner: a tag: remove it"
            raise BadUtterance("tags", detail)
    return resolved


def _touch(a: str, b: str) -> bool:
    """Whether two characters are letters of one word, in a script that has spaces between words."""
    return bool(a and b) and is_letter(a) and is_letter(b) and a < "\u0e00" and b < "\u0e00"


def _is_tag(tag: str, text: str) -> bool:
    """Whether round brackets and what they hold are a tag; text: all of it, without punctuation around it."""
    words = _name(tag).split()
    if not any(is_letter(c) or c.isnumeric() for c in tag) or text == tag:
        return True
    return len(words) <= _MAX_WORDS and not SOUNDS.isdisjoint(words)


def _name(tag: str) -> str:
    """What a tag says, as it is compared with other names."""
    # marks are part of a letter: without those of Hindi, हँसी and हिस would be one name
    return " ".join("".join(c if is_letter(c) or c.isalnum() else " " for c in tag).casefold().split())
