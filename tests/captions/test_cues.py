"""How words become subtitles."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2cli.captions.cues import Limits, break_lines, divide, make_cues
from ds2cli.captions.phrases import MAX_PHRASE, make_phrases
from ds2cli.captions.tokens import join, tokenize, width

HOUR = 36000.0


def spoken(text, pauses=(), start=0.0):
    """The words of a text, 0.3 s each and 0.05 s apart; pauses: longer ones (s), by the number of the word after it."""
    words, time = [], start
    for i, word in enumerate(text.split()):
        time += dict(pauses).get(i, 0.05)
        words.append({"word": word, "start": round(time, 3), "end": round(time + 0.3, 3)})
        time += 0.3
    return words


def texts(cues):
    return [" / ".join(cue.lines) for cue in cues]


def test_no_words_and_one_word():
    assert make_cues([], Limits()) == []
    (cue,) = make_cues([{"word": "yes", "start": 2, "end": 2.2}], Limits())
    assert (cue.lines, cue.start, cue.end) == (("yes",), 2000, 3000)
    # not after the end of the recording
    assert make_cues([{"word": "yes", "start": 2, "end": 2.2}], Limits(), duration=2.5)[0].end == 2500
    # a second of 40 characters is shown for two
    (cue,) = make_cues([{"word": "a" * 40, "start": 0, "end": 0.2}], Limits())
    assert cue.end == 2050


def test_cues_break_at_pauses():
    words = spoken("the cat sat on the mat and the dog lay down", {6: 0.9})
    assert texts(make_cues(words, Limits())) == ["the cat sat on the mat", "and the dog lay down"]
    # a cue that is full breaks at the pause before its last word, a short one
    words = spoken(f"{'word ' * 14}next {'word ' * 12}", {14: 0.4})
    assert [text.startswith("next") for text in texts(make_cues(words, Limits()))] == [False, True]


def test_cues_break_at_the_ends_of_sentences():
    words = spoken(
        "He came in late that night. She had gone to sleep early, and the lights were out. Nothing moved in it."
    )
    found = texts(make_cues(words, Limits(line_length=60, max_lines=1)))
    assert found == [
        "He came in late that night.",
        "She had gone to sleep early, and the lights were out.",
        "Nothing moved in it.",
    ]


def test_no_single_word_is_left_over():
    words = spoken("one two three four five six seven eight nine ten")
    found = texts(make_cues(words, Limits(line_length=24, max_lines=1)))
    assert all(len(text.split()) > 1 for text in found), found


def test_a_cue_stays_after_its_last_word():
    words = [{"word": "a", "start": 0, "end": 5}, {"word": "b", "start": 8, "end": 14.9}]
    assert [(cue.start, cue.end) for cue in make_cues(words, Limits())] == [(0, 5400), (8000, 15000)]
    assert make_cues(words, Limits(), duration=14.95)[1].end == 14950


def test_a_cue_may_be_shown_until_the_next_one():
    words = [{"word": "a" * 30, "start": 0, "end": 0.3}, {"word": "b", "start": 1.2, "end": 1.3}]
    first, second = make_cues(words, Limits(line_length=31, max_lines=1))
    assert (first.end, second.start, second.end) == (1200, 1200, 2200)


def test_overlapping_zero_and_falling_times_still_rise():
    words = [
        {"word": "a" * 40, "start": 1.0, "end": 3.0},
        {"word": "b" * 40, "start": 1.0, "end": 1.0},
        {"word": "c" * 40, "start": 0.5, "end": 0.5},
        {"word": "d" * 40, "start": 3.0, "end": 2.0},
    ]
    cues = make_cues(words, Limits(max_lines=1))
    assert [(cue.start, cue.end) for cue in cues] == [(1000, 1001), (1001, 1002), (1002, 2550), (3000, 5050)]


def test_lines_are_even_and_few():
    tokens = tokenize(spoken("aaaa bbbb cccc dddd"))
    assert break_lines(tokens, Limits(line_length=19)) == ("aaaa bbbb cccc dddd",)
    assert break_lines(tokens, Limits(line_length=18)) == ("aaaa bbbb", "cccc dddd")
    assert break_lines(tokens, Limits(line_length=3)) == ("aaaa", "bbbb", "cccc", "dddd")


def test_chinese_counts_two_columns_and_breaks_within_a_word():
    text = "今天天气很好我们去公园玩吧，然后再去吃饭。"
    cues = make_cues([{"word": text, "start": 0, "end": 10}], Limits(line_length=16))
    assert [cue.lines for cue in cues] == [("今天天气很好我", "们去公园玩吧，"), ("然后再去吃饭。",)]
    # in proportion to their characters
    assert cues[1].start == round(10000 * 14 / 21)


def test_the_times_of_characters_decide_where_chinese_breaks():
    chars = [{"char": c, "start": i + (5 if i > 3 else 0), "end": i + 0.5} for i, c in enumerate("今天天气很好")]
    chars[4] = {"char": "很", "start": 9.0, "end": 9.5}
    chars[5] = {"char": "好", "start": 10.0, "end": 10.5}
    cues = make_cues([{"word": "今天天气很好", "start": 0, "end": 10.5}], Limits(), chars)
    assert [(cue.lines, cue.start) for cue in cues][-1] == (("很好",), 9000)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("hello", ["hello"]),
        ("日本語", ["日", "本", "語"]),
        ("「はい」、きょう。", ["「は", "い」、", "きょ", "う。"]),
        ("コーヒー", ["コー", "ヒー"]),
        ("GPUで3回", ["GPU", "で", "3", "回"]),
        ("한국어를", ["한국어를"]),
        ("か\u3099く", ["か\u3099", "く"]),
        ("👩\u200d🚀", ["👩\u200d🚀"]),
    ],
)
def test_where_a_word_may_break(text, tokens):
    assert [token.text for token in tokenize([{"word": text, "start": 0, "end": 1}])] == tokens


def test_columns():
    assert [width(text) for text in ("abc", "é", "e\u0301", "日本", "한", "Ａ", "\u200b")] == [3, 1, 1, 4, 2, 2, 0]


def test_phrases_break_at_a_second_of_silence_and_after_15_s():
    words = spoken("a b c d", {2: 1.5})
    assert [[w["word"] for w in phrase] for phrase in make_phrases(words)] == [["a", "b"], ["c", "d"]]
    words = spoken("word " * 100, {30: 0.3})
    phrases = make_phrases(words)
    assert len(phrases[0]) == 30 and [w for phrase in phrases for w in phrase] == words
    assert all(phrase[-1]["end"] - phrase[0]["start"] <= MAX_PHRASE for phrase in phrases)


def test_a_long_word_of_chinese_is_divided_between_phrases():
    word = {"word": "天地" * 30, "start": 0.0, "end": 60.0, "conf": 0.5}
    phrases = make_phrases([word])
    assert "".join(w["word"] for (w,) in phrases) == word["word"] and len(phrases) >= 4
    assert all(w["conf"] == 0.5 for (w,) in phrases)
    assert all(a["end"] == b["start"] for (a,), (b,) in itertools.pairwise(phrases))


LETTERS = st.text(st.sampled_from("abcäß.,?!\"'&<>-→日本語。、「」한국\u0301\u200d"), min_size=1, max_size=12)
TIMES = st.one_of(st.floats(0, 30), st.sampled_from([0.0, 1.0, 0.05, HOUR]))


@st.composite
def word_lists(draw, ordered=True):
    words, time = [], draw(TIMES)
    for text in draw(st.lists(LETTERS, max_size=30)):
        if not text.split():
            continue
        start = time + draw(st.sampled_from([0.0, 0.0, 0.05, 0.4, 1.0, 3.0])) if ordered else draw(TIMES)
        time = start + draw(st.sampled_from([0.0, 0.06, 0.3, 0.7, 8.0])) if ordered else draw(TIMES)
        words.append({"word": text, "start": round(start, 3), "end": round(time, 3)})
    return words


LIMITS = st.builds(
    lambda line, lines, speed, longest, shortest: Limits(line, lines, speed, longest, min(shortest, longest)),
    st.sampled_from([8, 20, 42]),
    st.integers(1, 3),
    st.sampled_from([1.0, 15.0, 1000.0]),
    st.sampled_from([0.1, 2.0, 7.0, 3600.0]),
    st.sampled_from([0.0, 1.0, 5.0]),
)


@settings(deadline=None, max_examples=150)
@given(word_lists() | word_lists(ordered=False), LIMITS)
def test_what_holds_for_all_cues(words, limits):
    cues = make_cues(words, limits)
    tokens = tokenize(words)
    parts = divide(tokens, limits)
    assert [token for part in parts for token in part] == tokens
    assert join(tokens) == " ".join(word["word"] for word in words)
    assert len(parts) == len(cues)
    for before, after in itertools.pairwise(cues):
        assert before.end <= after.start
    for part, cue in zip(parts, cues, strict=True):
        # a line may end where a space is, or within a word that may break
        assert "".join(cue.lines).replace(" ", "") == join(part).replace(" ", "")
        assert cue.start < cue.end and (cue.end - cue.start <= 1000 * limits.max_cue + 1 or cue.start + 1 == cue.end)
        longest = max(token.width for token in part)
        assert all(width(line) <= max(limits.line_length, longest) for line in cue.lines)
        assert len(cue.lines) <= limits.max_lines
        assert all(width(line) <= limits.line_length or len(tokenize([{"word": line, "start": 0, "end": 0}])) == 1
                   for line in cue.lines if " " not in line)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(word_lists(), LIMITS)
def test_when_cues_of_words_in_order_are_shown(words, limits):
    cues, parts = make_cues(words, limits), divide(tokenize(words), limits)
    starts = [1000 * part[0].start for part in parts]
    for i, (part, cue) in enumerate(zip(parts, cues, strict=True)):
        # several that begin at once move by a millisecond each
        assert abs(cue.start - starts[i]) <= 1 + len(parts)
        room = min(starts[i + 1] if i + 1 < len(parts) else float("inf"), starts[i] + 1000 * limits.max_cue)
        wanted = min(room, starts[i] + 1000 * max(limits.min_cue, part[-1].end - part[0].start))
        assert cue.end >= wanted - 1


@settings(deadline=None, max_examples=100)
@given(word_lists(), st.sampled_from([8, 20]), st.integers(1, 2))
def test_the_division_costs_least(words, line_length, max_lines):
    """Against all divisions of a few words: a plain search with the same costs."""
    from ds2cli.captions import cues as module

    words = words[:7]
    limits, tokens = Limits(line_length, max_lines), tokenize(words)[:9]

    def cost(division):
        total = 0.0
        for begin, end in itertools.pairwise(division):
            part = tokens[begin:end]
            columns = len(join(part)) if join(part).isascii() else width(join(part))
            lines = break_lines(part, limits)
            too_long = max(t.end for t in part) - part[0].start > limits.max_cue
            if len(part) > 1 and (len(lines) > limits.max_lines or too_long):
                return float("inf")
            following = tokens[end] if end < len(tokens) else None
            total += module._cost(part[0], part[-1], following, columns, limits)
            total += sum(module._cost_within(a, b, limits) for a, b in itertools.pairwise(part))
        return total

    size = len(tokens)
    if size:
        inner = range(1, size)
        divisions = [[0, *c, size] for k in range(size) for c in itertools.combinations(inner, k)]
        found = list(itertools.accumulate((len(part) for part in divide(tokens, limits)), initial=0))
        assert cost(found) <= min(map(cost, divisions)) + 1e-9
