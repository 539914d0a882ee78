from dataclasses import dataclass
from typing import Literal

import pytest

from ds2cli.config.base import (
    PRESETS,
    Config,
    as_dict,
    build,
    find_presets,
    parse_set,
    read_toml,
    section,
    setting,
    to_toml,
)
from ds2cli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Optim(Config):
    """The optimizer."""

    lr: float = setting(1e-3, help="Learning rate.", min=0.0)
    epochs: int = setting(10, help="Epochs.", min=1, max=100)


@dataclass(frozen=True, kw_only=True)
class Settings(Config):
    """Settings for these tests."""

    kind: Literal["a", "b"] = setting("a", help="Kind.")
    note: str | None = setting(None, help="Note.")
    share: float = setting(0.5, help="Share.", min=0, max=1)
    sizes: tuple[int, ...] = setting((1, 2), help="Sizes.")
    optim: Optim = section(Optim)


def test_later_sources_win():
    file = {"kind": "b", "optim": {"lr": 1, "epochs": 3}}
    config = build(Settings, ("f.toml", file), ("set", parse_set("optim.lr=3e-4")))
    assert (config.kind, config.optim.lr, config.optim.epochs) == ("b", 3e-4, 3)


def test_saved_config_is_read_back_unchanged(tmp_path):
    config = build(Settings, ("x", {"note": "é", "sizes": [3], "optim": {"lr": 0.5}}))
    (tmp_path / "c.toml").write_text(to_toml(config, {"version": "1", "kept": 3}), "utf-8")
    assert build(Settings, ("c.toml", read_toml(str(tmp_path / "c.toml")))) == config
    assert as_dict(config)["optim"] == {"lr": 0.5, "epochs": 10}


@pytest.mark.parametrize(
    "values, message",
    [
        ({"knd": "a"}, "did you mean 'kind'"),
        ({"optim": {"lrr": 1}}, "optim: unknown setting 'lrr', did you mean 'lr'"),
        ({"kind": "c"}, "expected one of a, b"),
        ({"optim": {"lr": -1}}, "at least 0"),
        ({"optim": {"epochs": 101}}, "1 to 100"),
        ({"optim": {"epochs": 1.5}}, "expected an integer"),
        ({"optim": {"lr": float("nan")}}, "a finite number, got nan"),
        ({"optim": {"lr": float("inf")}}, "a finite number, got inf"),
        ({"optim": {"epochs": True}}, "expected an integer"),
        ({"optim": 3}, "a table of settings"),
        ({"sizes": 3}, "expected a list"),
        ({"sizes": ["x"]}, "expected an integer"),
        ({"note": 3}, "expected text in quotes"),
        ({"note": "a\0b"}, "without NUL"),
    ],
)
def test_wrong_setting_is_named_in_the_message(values, message):
    with pytest.raises(UsageError, match=message):
        build(Settings, ("f.toml", values))


@pytest.mark.parametrize("text", ["optim.lr", "=3"])
def test_set_needs_a_name_and_a_value(text):
    with pytest.raises(UsageError, match="name=value"):
        parse_set(text)


def test_set_reads_a_bare_word_as_text():
    assert parse_set("kind=b") == {"kind": "b"}
    assert parse_set("note=a=b") == {"note": "a=b"}
    assert parse_set("optim.lr = 1") == {"optim": {"lr": 1}}
    # whatever the parser cannot handle is text, too
    assert parse_set("kind=" + "[" * 3000) == {"kind": "[" * 3000}
    assert parse_set("kind=" + "9" * 6000) == {"kind": "9" * 6000}


def test_invalid_toml_is_reported_with_the_file(tmp_path):
    (tmp_path / "c.toml").write_text("lr = = 3")
    with pytest.raises(UsageError, match=r"c\.toml(:\d+)?: not valid TOML"):
        read_toml(str(tmp_path / "c.toml"))
    with pytest.raises(UsageError, match="no such file"):
        read_toml(str(tmp_path / "missing.toml"))
    with pytest.raises(UsageError, match="got a folder"):
        read_toml(str(tmp_path))
    with pytest.raises(UsageError, match="name too long"):
        read_toml("x" * 300)


def test_settings_may_come_through_a_pipe_but_not_from_a_device(piped):
    assert read_toml(piped(b"beam = 3\n")) == {"beam": 3}
    assert read_toml("/dev/null") == {}
    with pytest.raises(UsageError, match=r"^/dev/zero: this is a device, expected a file$"):
        read_toml("/dev/zero")


@pytest.mark.parametrize("value", [b"[" * 3000, b"9" * 6000, b'"\xff"'], ids=["deep", "6000 digits", "not UTF-8"])
def test_toml_that_the_parser_cannot_handle_is_not_valid(tmp_path, value):
    (tmp_path / "c.toml").write_bytes(b"lr = " + value)
    with pytest.raises(UsageError, match=r"c\.toml(:\d+)?: not valid TOML"):
        read_toml(str(tmp_path / "c.toml"))


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_toml_as_windows_writes_it(tmp_path, codec, line_end):
    (tmp_path / "c.toml").write_bytes(f'lr = 3{line_end}name = "é"{line_end}'.encode(codec))
    assert read_toml(str(tmp_path / "c.toml")) == {"lr": 3, "name": "é"}


def test_toml_that_is_not_utf8_names_the_conversion(tmp_path):
    (tmp_path / "c.toml").write_bytes('name = "é"'.encode("latin-1"))
    with pytest.raises(
        UsageError, match=r"not valid TOML: not UTF-8, perhaps Windows-1252 for 'é' \(iconv .*c\.toml > "
    ):
        read_toml(str(tmp_path / "c.toml"))


def test_preset_is_found_by_name_unless_a_file_has_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "38m-rnn-7x1280"
    assert find_presets()[name] == PRESETS / f"{name}.toml"
    assert read_toml(name)["model"]["rnn_size"] == 1280
    (tmp_path / name).write_text("x = 1")
    assert read_toml(name) == {"x": 1}
    with pytest.raises(UsageError, match=r"^38m-rnn-7x1281: no such file, did you mean '38m-rnn-7x1280'\?$"):
        read_toml("38m-rnn-7x1281")
    with pytest.raises(UsageError, match=r"^conf/x\.toml: no such file \(ds2 model list"):
        read_toml("conf/x.toml")


def test_a_value_at_its_limit_is_accepted():
    config = build(Settings, ("x", {"share": 1, "optim": {"lr": 0, "epochs": 100}}))
    assert (config.share, config.optim.lr, config.optim.epochs) == (1.0, 0.0, 100)


def test_a_setting_without_a_default_is_required():
    @dataclass(frozen=True, kw_only=True)
    class Needed(Config):
        name: str = setting(help="Name.")

    assert build(Needed, ("x", {"name": "a"})).name == "a"
    with pytest.raises(UsageError, match="Needed: the setting 'name' is required, but was not given"):
        build(Needed)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a = 1\nb =\n", "c.toml:2: not valid TOML: invalid value at column 4"),
        ("a = 1\na = 2\n", "c.toml:2: not valid TOML: cannot overwrite a value at column 6"),
        ("a = 'x", 'c.toml: not valid TOML: expected "\'" at the end of the file'),
        (f"a = {'[' * 5000}", "c.toml: not valid TOML: its lists or tables are too deeply nested"),
        (f"a = {'9' * 5000}", "c.toml: not valid TOML: a number has too many digits"),
    ],
)
def test_an_error_of_toml_names_the_line(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(UsageError) as e:
        read_toml("c.toml")
    assert str(e.value) == message
