from itertools import product

import pytest

from ds2cli.config.data import SplitConfig, SubsetConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, Ds2Error, UsageError
from tests.stages import data_commands as data

ROWS = [
    {"id": f"u{i}", "speaker": f"s{i % 3}", "duration": float(i + 1), "text": "a b" if i % 2 else "c"} for i in range(7)
]


def ids(rows):
    return [row["id"] for row in rows]


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, "0123456"),
        ({"first": 2}, "01"),
        ({"first": 0}, ""),
        ({"last": 2}, "56"),
        ({"last": 99}, "0123456"),
        ({"last": 0}, ""),
        ({"random": 99}, "0123456"),
        ({"shortest": 3}, "012"),
        ({"speakers": "s0,s2"}, "02356"),
        ({"min_duration": 2.0, "max_duration": 4.0}, "123"),
        ({"max_duration": 0.0}, ""),
        ({"match": "^a"}, "135"),
        ({"match": "b$"}, "135"),
        ({"match": "^a", "first": 1}, "1"),
    ],
)
def test_subset_keeps_matching_rows_and_counts_the_rest(settings, expected):
    ledger = Ledger()
    kept = list(data.subset(SubsetConfig(**settings), ROWS, ledger))
    assert ids(kept) == [f"u{c}" for c in expected]
    assert len(kept) + ledger.unselected.total() == len(ROWS)
    assert (ledger.dropped, ledger.rows, ledger.notes) == (0, [], [])


def test_a_random_subset_depends_on_its_seed_alone():
    def drawn(seed):
        return ids(data.subset(SubsetConfig(random=3, seed=seed), ROWS, Ledger()))

    assert drawn(1) == drawn(1) == sorted(drawn(1))
    assert len({tuple(drawn(s)) for s in range(9)}) > 1


def test_two_selections_exclude_each_other():
    with pytest.raises(UsageError, match="choose one"):
        list(data.subset(SubsetConfig(first=1, last=1), ROWS, Ledger()))


def test_a_list_of_ids(tmp_path):
    (tmp_path / "ids").write_text("u3 x\n\nu1\n")
    assert ids(data.subset(SubsetConfig(ids=str(tmp_path / "ids")), ROWS, Ledger())) == ["u1", "u3"]


@pytest.mark.parametrize("content", ["u3 x\n\nu1\n", '{"id": "u1", "score": 3}\n{"id": "u3"}\n'])
def test_rows_that_are_left_out(tmp_path, content):
    (tmp_path / "ids").write_text(content)
    ledger = Ledger()
    assert ids(data.subset(SubsetConfig(without=str(tmp_path / "ids"), first=3), ROWS, ledger)) == ["u0", "u2", "u4"]
    assert ledger.unselected == {"left-out": 2, "not-chosen": 2}


def test_ids_and_speakers_that_no_row_has_are_reported(tmp_path):
    (tmp_path / "ids").write_text("u3\nzz\nyy\n")
    ledger = Ledger()
    assert ids(data.subset(SubsetConfig(ids=str(tmp_path / "ids"), first=1), ROWS, ledger)) == ["u3"]
    assert ids(data.subset(SubsetConfig(speakers="s1,anna,s2,ben"), ROWS[:2], ledger)) == ["u1"]
    assert ledger.notes == [
        f"--ids {tmp_path}/ids: 2 of 3 ids are in no row, such as yy",
        "--speakers: no row has the speaker anna, ben, s2",
    ]


@pytest.mark.parametrize("by", ["id", "duration"])
@pytest.mark.parametrize("rows, fix", [(4, "--parts 4, or --allow-empty"), (0, "this manifest is empty")])
def test_empty_parts_are_refused_unless_they_are_asked_for(by, rows, fix):
    with pytest.raises(Ds2Error) as e:
        data.split(SplitConfig(parts=5, by=by), ROWS[:rows], "a.jsonl")
    assert str(e.value) == f"a.jsonl: {rows} rows, expected at least one for each of 5 parts ({fix})"
    assert sum(map(len, data.split(SplitConfig(parts=5, by=by, allow_empty=True), ROWS[:rows]))) == rows


@pytest.mark.parametrize("by, parts", [*product(["id", "duration"], [1, 2, 3, 9]), *product(["speaker"], [1, 2, 3])])
def test_split_and_combine_are_inverse(by, parts):
    cut = data.split(SplitConfig(parts=parts, by=by, allow_empty=parts > len(ROWS)), ROWS)
    assert len(cut) == parts
    assert list(data.combine(cut, Ledger())) == ROWS
    assert all(ids(part) == sorted(ids(part)) for part in cut)
    if by == "speaker":
        speakers_of_parts = [{row["speaker"] for row in part} for part in cut]
        assert sum(map(len, speakers_of_parts)) == len(set().union(*speakers_of_parts))


def test_combine_drops_a_repeated_id():
    ledger = Ledger()
    assert list(data.combine([ROWS[:3], [{**ROWS[2], "text": "other"}, ROWS[3]]], ledger)) == ROWS[:4]
    assert (ledger.reasons, ledger.bad) == ({"duplicate-id": 1}, 1)


def test_sort_repairs_order_and_line_ends(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id":"b","text":"first"}\r\n{"id":"a"}\n{"id":"b","text":"again"}\nnot json\n')
    ledger = Ledger()
    assert list(data.sort(str(path), ledger)) == [{"id": "a"}, {"id": "b", "text": "first"}]
    assert [(row["id"], row["reason"]) for row in ledger.rows] == [
        (f"{path}:3", "duplicate-id"),
        (f"{path}:4", "not-json"),
    ]


def test_stats():
    counts = data.stats(ROWS)
    assert (counts["utterances"], counts["hours"], counts["speakers"]) == (7, round(28 / 3600, 3), 3)
    assert (counts["words"], counts["characters"], counts["alphabet"]) == (10, 13, " abc")
    assert (counts["shortest"], counts["median"], counts["longest"]) == (1.0, 4.0, 7.0)
    assert (counts["distinct_words"], counts["characters_per_second"]) == (3, round(13 / 28, 1))
    assert data.stats([{"id": f"{i:02}", "duration": float(i)} for i in range(100)])["p95"] == 95.0


def test_stats_of_an_empty_manifest_is_an_error():
    with pytest.raises(DataError, match=r"^in\.jsonl: no utterances, expected"):
        data.stats([], "in.jsonl")


def test_sort_is_by_code_point(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(f'{{"id":"{i}"}}\n' for i in ("é", "a", "b", "B", "10", "9")), "utf-8")
    assert ids(data.sort(str(tmp_path / "a.jsonl"), Ledger())) == ["10", "9", "B", "a", "b", "é"]
    rows = [{"id": i, "speaker": "s"} for i in ("B", "a", "é")]
    for by in ("speaker", "duration"):
        assert ids(data.split(SplitConfig(parts=1, by=by), rows)[0]) == ["B", "a", "é"]
    assert ids(data.combine([[{"id": "B"}, {"id": "b"}], [{"id": "a"}, {"id": "é"}]], Ledger())) == ["B", "a", "b", "é"]


def test_split_by_duration_gives_each_part_the_same_hours():
    rows = [{"id": f"u{i:02}", "duration": 10.0 if i == 3 else 1.0} for i in range(11)]
    parts = data.split(SplitConfig(parts=2, by="duration"), rows)
    assert [sum(row["duration"] for row in part) for part in parts] == [10.0, 10.0]
    speakers = [{**row, "speaker": "one" if row["duration"] == 10.0 else "others"} for row in rows]
    assert sorted(map(len, data.split(SplitConfig(parts=2, by="speaker"), speakers))) == [1, 10]


def test_each_condition_has_its_reason(tmp_path):
    (tmp_path / "ids").write_text("u0\n")
    for settings, reason in (
        ({"ids": str(tmp_path / "ids")}, "not-listed"),
        ({"speakers": "s0"}, "other-speaker"),
        ({"max_duration": 1.0}, "duration"),
        ({"match": "c"}, "no-match"),
        ({"first": 1}, "not-chosen"),
    ):
        ledger = Ledger()
        assert ids(data.subset(SubsetConfig(**settings), ROWS[:2], ledger)) == ["u0"]
        assert ledger.unselected == {reason: 1}


def test_the_shortest_utterances_are_found_wherever_they_are():
    rows = [{"id": name, "duration": seconds} for name, seconds in (("a", 3.0), ("b", 1.0), ("c", 2.0), ("d", 1.0))]
    for number, expected in ((1, "b"), (2, "bd"), (3, "bcd")):
        assert ids(data.subset(SubsetConfig(shortest=number), rows, Ledger())) == [*expected]


def test_an_invalid_expression_is_a_usage_error():
    with pytest.raises(UsageError, match=r"^--match \(: not a valid regular expression"):
        list(data.subset(SubsetConfig(match="("), ROWS, Ledger()))


def test_split_by_id_gives_each_part_the_same_number_of_rows():
    for number, parts, expected in ((7, 3, [2, 2, 3]), (11, 4, [2, 3, 3, 3])):
        rows = [{"id": f"u{i:02}"} for i in range(number)]
        assert sorted(map(len, data.split(SplitConfig(parts=parts, by="id"), rows))) == expected


@pytest.mark.parametrize("by", ["speaker", "text"])
def test_rows_that_cannot_be_grouped_are_refused(by):
    rows = [{"id": name, by: name, "duration": 1.0} for name in "abcd"]
    for without in ({"id": "b"}, {"id": "b", by: ""}):
        with pytest.raises(Ds2Error, match=rf"^x\.jsonl: 2 of 4 rows have no {by}, such as b,.*--by duration") as e:
            data.split(SplitConfig(parts=2, by=by), [rows[0], without, {"id": "c"}, rows[3]], "x.jsonl")
        assert e.value.exit_code == 1
    assert len(data.split(SplitConfig(parts=4, by=by), rows)) == 4
    with pytest.raises(Ds2Error, match=rf"^IN: 4 different {by}s, expected .* 5 parts \(--parts 4, or --by duration"):
        data.split(SplitConfig(parts=5, by=by), rows)
    with pytest.raises(Ds2Error, match=f"^IN: 0 different {by}s, .*manifest is empty"):
        data.split(SplitConfig(parts=1, by=by), [])


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_no_part_is_empty_if_there_are_as_many_speakers(seconds):
    rows = [{"id": f"u{i:02}", "speaker": f"s{i % 5}", "duration": seconds} for i in range(40)]
    for number in (2, 3, 5):
        parts = data.split(SplitConfig(parts=number, by="speaker"), rows)
        assert all(parts)
        speakers = [row["speaker"] for part in parts for row in {row["speaker"]: row for row in part}.values()]
        assert sorted(speakers) == [f"s{i}" for i in range(5)]


def test_split_by_text_keeps_equal_texts_together():
    parts = data.split(SplitConfig(parts=2, by="text"), ROWS)
    assert sorted(ids(part) for part in parts) == [["u0", "u2", "u4", "u6"], ["u1", "u3", "u5"]]


def test_sorted_rows_keep_their_files(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_text('{"id":"a","audio_filepath":"x.wav"}\n')
    monkeypatch.chdir(tmp_path)
    assert list(data.sort("in/a.jsonl", Ledger())) == [{"id": "a", "audio_filepath": "in/x.wav"}]


def test_stats_of_rows_without_speakers_and_durations():
    counts = data.stats([{"id": "a", "text": "x"}, {"id": "b"}])
    assert (counts["speakers"], counts["hours"], counts["characters_per_second"]) == (0, 0.0, 0.0)
