import pytest

from ds2cli.config.data import SplitConfig, SubsetConfig, ValidateConfig
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.stages import data

ROWS = [
    {"id": f"u{i}", "speaker": f"s{i % 3}", "duration": float(i + 1), "text": "a b" if i % 2 else "c"} for i in range(7)
]


def ids(rows):
    return [row["id"] for row in rows]


@pytest.mark.parametrize(
    "settings, want",
    [
        ({}, "0123456"),
        ({"first": 2}, "01"),
        ({"first": 0}, ""),
        ({"last": 2}, "56"),
        ({"last": 99}, "0123456"),
        ({"shortest": 3}, "012"),
        ({"speakers": "s0,s2"}, "02356"),
        ({"min_duration": 2.0, "max_duration": 4.0}, "123"),
        ({"match": "^a"}, "135"),
        ({"match": "^a", "first": 1}, "1"),
    ],
)
def test_subset_keeps_what_was_asked_and_counts_the_rest(settings, want):
    ledger = Ledger()
    kept = list(data.subset(SubsetConfig(**settings), ROWS, ledger))
    assert ids(kept) == [f"u{c}" for c in want]
    assert len(kept) + ledger.dropped == len(ROWS)
    assert ledger.bad == 0


def test_a_random_subset_depends_on_its_seed_alone():
    def drawn(seed):
        return ids(data.subset(SubsetConfig(random=3, seed=seed), ROWS, Ledger()))

    assert drawn(1) == drawn(1) == sorted(drawn(1))
    assert len({tuple(drawn(s)) for s in range(9)}) > 1


def test_two_limits_contradict_each_other():
    with pytest.raises(UsageError, match="choose one"):
        list(data.subset(SubsetConfig(first=1, last=1), ROWS, Ledger()))


def test_a_list_of_ids(tmp_path):
    (tmp_path / "ids").write_text("u3 x\n\nu1\n")
    assert ids(data.subset(SubsetConfig(ids=str(tmp_path / "ids")), ROWS, Ledger())) == ["u1", "u3"]


@pytest.mark.parametrize("by", ["id", "speaker", "duration"])
@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_parts_of_a_split_make_the_whole(by, parts):
    cut = data.split(SplitConfig(parts=parts, by=by), ROWS)
    assert len(cut) == parts
    assert list(data.combine(cut, Ledger())) == ROWS
    assert all(ids(part) == sorted(ids(part)) for part in cut)
    if by == "speaker":
        homes = [{row["speaker"] for row in part} for part in cut]
        assert sum(map(len, homes)) == len(set().union(*homes))


def test_combine_counts_an_id_that_is_there_twice():
    ledger = Ledger()
    assert ids(data.combine([ROWS[:3], ROWS[2:4]], ledger)) == ["u0", "u1", "u2", "u3"]
    assert ledger.reasons == {"duplicate-id": 1}


def test_sort_repairs_order_and_line_ends(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id":"b"}\r\n{"id":"a"}\n{"id":"b"}\nnot json\n')
    ledger = Ledger()
    assert ids(data.sort(str(path), ledger)) == ["a", "b"]
    assert ledger.reasons == {"duplicate-id": 1, "not-json": 1}


def test_fix_cleans_text_and_drops_what_it_cannot():
    ledger = Ledger()
    rows = [{"id": "a", "text": "Hello!"}, {"id": "b", "text": "5"}, {"id": "c", "audio_filepath": "missing.wav"}]
    assert list(data.fix(rows, ledger)) == [{"id": "a", "text": "hello"}]
    assert ledger.reasons == {"digits": 1, "vanished": 1}


@pytest.mark.parametrize(
    "line, says",
    [
        ('{"id":"a","text":"x"}', None),
        ('{"id":"a","text":"X!"}', "not clean"),
        ('{"id":"a","text":"x","duration":0}', "duration is 0"),
        ('{"id":"a","text":"x","audio_filepath":"no.wav"}', "no file"),
        ('{"id":"a"}', "'text' is missing"),
    ],
)
def test_faults_name_their_line(tmp_path, line, says):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id":"0","text":""}\n' + line + "\n")
    first, second = data.faults(ValidateConfig(needs="id,text"), str(path))
    assert first is None
    if says is None:
        assert second is None
    else:
        assert second.startswith(f"{path}:2: ")
        assert says in second


def test_stats_count_by_hand():
    found = data.stats(ROWS)
    assert (found["utterances"], found["hours"], found["speakers"]) == (7, round(28 / 3600, 3), 3)
    assert (found["words"], found["characters"], found["alphabet"]) == (10, 13, " abc")
    assert (found["shortest"], found["median"], found["longest"]) == (1.0, 4.0, 7.0)


def test_stats_of_nothing_is_an_error():
    with pytest.raises(DataError, match="empty"):
        data.stats([])
