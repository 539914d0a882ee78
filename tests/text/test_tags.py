"""Tags of what is not speech."""

import pytest

from ds2cli.errors import BadUtterance
from ds2cli.text.normalize import TextRules, normalize
from ds2cli.text.tags import SOUNDS, TagError, parse_names, resolve_tags


@pytest.mark.parametrize(
    "tag",
    [
        "[sneeze]",
        "[NOISE]",
        "[vocalized-noise]",
        "[ background speech ]",
        "{uh}",
        "<unk>",
        "</s>",
        "<b>",
        "*click*",
        "**door slams**",
        "(sigh)",
        "(LAUGHS)",
        "(clears throat)",
        "(speaks foreign)",
        "((maybe this))",
        "((xxx))",
        "（笑）",
        "［音］",
        "【音乐】",
        "(смех)",
        "(rires)",
        "(GÜLÜYOR)",
        "(müzik çalıyor)",
        "(خنده)",
        "(हँसी)",
        "(oklaski)",
        "(웃음)",
        "[[nested]]",
    ],
)
@pytest.mark.parametrize("text", ["{} please hold", "please {} hold", "please hold{}"])
def test_a_tag_is_an_error_that_names_it(tag, text):
    with pytest.raises(BadUtterance, match="is a tag, not a spoken word") as e:
        normalize(text.format(tag))
    assert e.value.reason == "tags"


@pytest.mark.parametrize("text", ["(door slams)", " (Speaks French.) ", "(the audience rises)!"])
def test_a_text_in_round_brackets_is_a_tag(text):
    with pytest.raises(TagError):
        normalize(text)


@pytest.mark.parametrize(
    "text, clean",
    [
        ("call me (my dear) tomorrow", "call me my dear tomorrow"),
        ("the (old) house", "the old house"),
        ("it was (as the noise of the sea is) loud", "it was as the noise of the sea is loud"),
        ("first a) then b)", "first a then b"),
        ("of (the", "of the"),
        ("smile :-)", "smile"),
        ("你好(世界)", "你好 世界"),
    ],
)
def test_round_brackets_around_spoken_words_are_punctuation(text, clean):
    assert normalize(text) == clean


@pytest.mark.parametrize(
    "text, reason",
    [
        ("hold (...) please", "symbols"),
        ("hold [...] please", "symbols"),
        ("hold () please", "symbols"),
        ("[sigh please hold", "symbols"),
        ("sigh] please hold", "symbols"),
        ("please } hold", "symbols"),
        ("(sigh please hold", "tags"),
        ("sigh) please hold", "tags"),
        ("the employee(s) left", "symbols"),
        ("(in)complete", "symbols"),
        ("press * now", "symbols"),
        ("press * or * now", "symbols"),
        ("a < b", "symbols"),
        ("a \\ b", "symbols"),
    ],
)
def test_brackets_and_stars_that_leave_a_word_out_are_errors(text, reason):
    with pytest.raises(BadUtterance) as e:
        normalize(text)
    assert e.value.reason == reason


def test_tags_are_removed_by_name():
    names = parse_names("Laughter, [clears_throat],noise")
    assert names == {"laughter", "clears throat", "noise"}
    text = "[laughter] it (clears throat) is *noise* on <Noise> fire{LAUGHTER}"
    assert normalize(text, remove_tags=names) == "it is on fire"
    with pytest.raises(TagError, match=r"'\[cough\]'") as e:
        normalize("[laughter] it is [cough]", remove_tags=names)
    assert e.value.name == "cough"
    assert parse_names("") == parse_names(" , ") == set()


@pytest.mark.parametrize("tag", ["[laughter]", "(clears throat)", "<background noise>", "*x-y*"])
def test_the_option_that_an_error_names_helps(tag):
    import shlex

    rules = TextRules(has_options=True)
    with pytest.raises(BadUtterance, match="or try --remove-tags") as e:
        rules.normalize(f"hello {tag} world")
    (name,) = shlex.split(e.value.detail.rpartition("--remove-tags ")[2])
    assert TextRules(remove_tags=parse_names(name)).normalize(f"hello {tag} world") == "hello world"


def test_an_error_names_no_option_that_a_command_does_not_have():
    for text in ("[x] a", "room 5"):
        with pytest.raises(BadUtterance) as e:
            TextRules().normalize(text)
        assert "--" not in e.value.detail


def test_names_of_sounds_are_as_they_are_compared():
    assert all(parse_names(sound) == {sound} for sound in SOUNDS)


def test_a_text_without_brackets_is_returned_as_it_is():
    assert resolve_tags("hello  world") == "hello  world"


def test_names_of_tags_differ_in_their_marks():
    assert resolve_tags("[हँसी] ठीक", parse_names("हँसी")).split() == ["ठीक"]
    with pytest.raises(TagError):
        resolve_tags("[हिस] ठीक", parse_names("हँसी"))
