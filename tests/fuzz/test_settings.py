"""Fuzz settings: TOML of any content for every command, damaged TOML files, `--set` and option values of any text."""

import json
from pathlib import Path

import tomli_w
from fuzzing import allowed_errors, ds2, fuzz
from hypothesis import strategies as st
from inputs import ENCODINGS, LINE_ENDS, TEXTS, UNICODE, damaged, encode

from ds2cli.config.align import AlignConfig
from ds2cli.config.base import as_dict, build, parse_set, read_toml, to_toml
from ds2cli.config.data import FixConfig, OverlapConfig, SplitConfig, SubsetConfig, ValidateConfig
from ds2cli.config.decode import DecodeConfig, TranscribeConfig
from ds2cli.config.describe import annotated_toml
from ds2cli.config.emit import EmitConfig
from ds2cli.config.featurize import FeaturizeConfig
from ds2cli.config.filter import FilterConfig
from ds2cli.config.lm import InfoConfig, LmConfig, MixConfig
from ds2cli.config.score import ScoreConfig
from ds2cli.config.train import TrainConfig
from ds2cli.corpora.csv import Options as CsvOptions
from ds2cli.corpora.folder import Options as FolderOptions

CONFIGS = (
    *(AlignConfig, FixConfig, OverlapConfig, SplitConfig, SubsetConfig, ValidateConfig, DecodeConfig, TranscribeConfig),
    *(
        EmitConfig,
        FeaturizeConfig,
        FilterConfig,
        InfoConfig,
        LmConfig,
        MixConfig,
        ScoreConfig,
        TrainConfig,
        CsvOptions,
        FolderOptions,
    ),
)
NAMES = sorted({name for config in CONFIGS for name in config.__dataclass_fields__} | {"kind", "made_by", "x"})
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), UNICODE, st.dates(), st.just([])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES) | UNICODE, inner, max_size=3)
    ),
    max_leaves=6,
)
TABLES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4)
COMMANDS = (
    *(("featurize",), ("train",), ("emit",), ("align",), ("decode",), ("score",), ("transcribe",), ("lm", "estimate")),
    *(("filter",), ("prepare", "folder"), ("prepare", "csv"), ("data", "subset"), ("data", "split")),
    ("data", "validate"),
)
SET_TEXTS = st.one_of(
    TEXTS,
    st.tuples(st.sampled_from([*NAMES, "optim.lr", "model.rnn_size", "a.b.c", "."]), TEXTS | st.floats().map(str)).map(
        "=".join
    ),
).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text))


@fuzz(TABLES, st.sampled_from(CONFIGS))
def test_any_settings(values, config_type):
    Path("x.toml").write_text(tomli_w.dumps(values), "utf-8")
    with allowed_errors():
        config = build(config_type, ("x.toml", read_toml("x.toml")))
        Path("resolved.toml").write_text(to_toml(config, {"ds2cli": "1"}))
        assert build(config_type, ("resolved.toml", read_toml("resolved.toml"))) == config
        Path("annotated.toml").write_text(annotated_toml(config))
        assert as_dict(build(config_type, ("annotated.toml", read_toml("annotated.toml")))) == as_dict(config)


@fuzz(st.data(), st.sampled_from(CONFIGS), ENCODINGS, LINE_ENDS)
def test_damaged_settings(data, config_type, encoding, end):
    required = {"src": "x"} if "src" in config_type.__dataclass_fields__ else {}
    with allowed_errors():
        text = annotated_toml(build(config_type, ("test", required))).replace("\n", end)
        Path("x.toml").write_bytes(data.draw(damaged(encode(text, encoding))))
        build(config_type, ("x.toml", read_toml("x.toml")))


@fuzz(st.sampled_from(COMMANDS), TABLES, st.lists(SET_TEXTS, max_size=2))
def test_the_settings_of_a_command(command, values, assignments):
    Path("x.toml").write_text(tomli_w.dumps(values), "utf-8")
    sets = [word for text in assignments for word in ("--set", text or "x")]
    run = ds2(*command, "--config", "x.toml", *sets, "--print-config")
    if run.status == 0:
        Path("again.toml").write_text(run.stdout)
        assert ds2(*command, "--config", "again.toml", "--print-config").stdout == run.stdout


@fuzz(SET_TEXTS)
def test_any_assignment(text):
    with allowed_errors():
        json.dumps(parse_set(text.replace("\n", " ")), default=str)
