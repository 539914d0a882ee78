from ds2cli.stages.data_overlap import Missing, Overlap, find_overlaps


def overlaps(fields, most=3, **manifests):
    def reader(rows):
        return lambda: (tuple(row.get(field) for field in fields) for row in rows)

    return list(find_overlaps([(name, reader(rows)) for name, rows in manifests.items()], fields, most))


def test_values_in_two_manifests_are_counted_with_their_rows():
    train = [{"text": "yes"}, {"text": "no"}, {"text": "yes"}]
    test = [{"text": "yes"}, {"text": "maybe"}, {"text": "yes"}, {"text": "no"}]
    assert overlaps(["text"], train=train, dev=[{"text": "perhaps"}], test=test) == [
        Overlap("text", "train", "test", ("no", "yes"), 2, 3, 4)
    ]
    assert overlaps(["text"], 1, train=train, test=test) == [Overlap("text", "train", "test", ("no",), 2, 3, 4)]


def test_every_pair_and_field_is_compared():
    found = overlaps(
        ["speaker", "text"],
        a=[{"speaker": "s", "text": "x"}],
        b=[{"speaker": "s", "text": "y"}],
        c=[{"speaker": "t", "text": "y"}, {"speaker": "s", "text": "z"}],
    )
    assert [(item.field, item.first, item.second, item.shared) for item in found] == [
        ("speaker", "a", "b", 1),
        ("speaker", "a", "c", 1),
        ("speaker", "b", "c", 1),
        ("text", "b", "c", 1),
    ]


def test_rows_without_a_value_are_named_and_not_equal():
    rows = [{"id": "a"}, {"id": "b", "speaker": ""}, {"id": "c", "speaker": "s"}]
    assert overlaps(["speaker"], a=rows, b=rows[:2]) == [Missing("speaker", "a", 2, 3), Missing("speaker", "b", 2, 2)]


def test_recordings_are_the_same_by_any_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").touch()
    (tmp_path / "link.wav").symlink_to("a.wav")
    paths = ["a.wav", "./a.wav", "x/../a.wav", str(tmp_path / "a.wav"), "link.wav"]
    for path in paths:
        (found,) = overlaps(["audio_filepath"], a=[{"audio_filepath": "a.wav"}], b=[{"audio_filepath": path}])
        assert found.values == (str(tmp_path / "a.wav"),)
    assert overlaps(["audio_filepath"], a=[{"audio_filepath": "a.wav"}], b=[{"audio_filepath": "b/a.wav"}]) == []


def test_descriptions():
    assert Overlap("audio_filepath", "a", "b", ("x",), 1, 1, 2).describe() == (
        "b: 1 of 2 rows shares its recording with a: 'x'"
    )
    assert Overlap("text", "a", "b", ("x", "y"), 3, 5, 9).describe() == (
        "b: 5 of 9 rows share their text with a: 'x', 'y' and 1 more"
    )
    assert Missing("speaker", "a", 1, 3).describe() == "a: 1 of 3 rows has no speaker to compare"
