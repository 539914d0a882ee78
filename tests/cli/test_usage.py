"""A wrong command line is one line: the command, what is wrong, the nearest option, and the command that helps."""

import re
import sys
from dataclasses import fields

import pytest
import typer

from ds2cli.cli.main import app
from ds2cli.config.align import AlignConfig
from ds2cli.config.base import Config, parse_set
from ds2cli.config.data import SubsetConfig
from ds2cli.config.decode import DecodeConfig, TranscribeConfig
from ds2cli.config.effects import refuse_without_effect
from ds2cli.config.lm import LmConfig, MixConfig
from ds2cli.config.optim import OptimConfig
from ds2cli.config.score import ScoreConfig
from ds2cli.config.train import TrainConfig
from ds2cli.errors import Ds2Error, UsageError


def usage_error(monkeypatch, *arguments):
    """The UsageError of `ds2 ARGUMENTS`, run in this process."""
    monkeypatch.setattr(sys, "argv", ["ds2", *arguments])
    with pytest.raises(UsageError) as e:
        typer.main.get_command(app).main([*arguments], prog_name="ds2")
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("data subset --frist 3", "data subset: there is no option --frist, did you mean --first?"),
        ("data sort --zzz", "data sort: there is no option --zzz"),
        ("score a --wrst=3", "score: there is no option --wrst, did you mean --worst?"),
        ("decode e --alphas 1", "decode: there is no option --alphas: expected --set alphas=VALUE"),
        ("train a b --lr 1", "train: there is no option --lr: expected --set optim.lr=VALUE"),
        ("train a b --model-cell gru", "train: there is no option --model-cell: expected --set model.cell=VALUE"),
        ("data split", "data split: IN is missing"),
        ("train a", "train: EXP is missing"),
        ("lm", None),
        ("lm mix", "lm mix: MODEL… OUT is missing"),
        ("data split a b c", "data split: unexpected argument c"),
        ("data stats a b c", "data stats: unexpected argument b c"),
        ("data subset --first", "data subset: option '--first' requires an argument"),
        ("lm info --most", "lm info: option '--most' requires an argument"),
        ("data subset --first x", "data subset: --first: expected an integer, got 'x'"),
        ("data subset --first 1.5", "data subset: --first: expected an integer, got '1.5'"),
        ("data subset --first -1", "data subset: --first: expected at least 0, got -1"),
        ("data subset --max-duration 1s", "data subset: --max-duration: expected a number, got '1s'"),
        ("data subset --max-duration nan", "data subset: --max-duration: expected a finite number, got nan"),
        ("featurize a b --nj 0", "featurize: --nj: expected 1 to 1024, got 0"),
        ("score a --unit words", "score: --unit: expected one of word, char, both, mixed, token, got 'words'"),
        ("data show a --most 0", "data show: --most: expected at least 1, got 0"),
        ("data augment a b --rate 8k", "data augment: --rate: expected an integer, got '8k'"),
        ("--nope", "there is no option --nope"),
    ],
)
def test_one_line_names_the_mistake(monkeypatch, capsys, arguments, message):
    if message is None:
        with pytest.raises(SystemExit) as e:
            typer.main.get_command(app).main(arguments.split(), prog_name="ds2")
        assert e.value.code == 2 and "Commands:" in capsys.readouterr().err
        return
    text = usage_error(monkeypatch, *arguments.split())
    command = re.sub(r"^ds2 ?(.*?) --help$", r"\1", text.rpartition("(")[2].removesuffix(")"))
    assert text.startswith(message), text
    assert arguments.startswith(command.replace("lm estimate", "lm")), (
        "the command that helps is the one that was given"
    )


def test_a_file_whose_name_begins_with_a_hyphen_is_no_unknown_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-xa b.wav").write_bytes(b"x")
    error = usage_error(monkeypatch, "transcribe", "exp", "-xa b.wav")
    assert error == (
        "transcribe: there is no option -x: expected ./-xa b.wav for the file of this name (ds2 transcribe --help)"
    )


@pytest.mark.parametrize(
    "arguments, message",
    [("dta show", "no such command 'dta', did you mean 'data'?"), ("data shw", "data: no such command 'shw'")],
)
def test_an_unknown_command_is_one_line(monkeypatch, arguments, message):
    assert usage_error(monkeypatch, *arguments.split()).startswith(message)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("data subset a --seed 3", "--seed only applies with --random"),
        ("data subset a --set seed=1", "--seed only applies with --random"),
        ("data validate a --lang tr --no-normalized", "--lang has no effect with --no-normalized"),
        ("score a --beta 1", "--beta only applies with --why"),
        ("score a --context 2", "--context only applies with --confusions"),
        ("decode e a --greedy --beam 8", "--beam has no effect with --greedy"),
        ("transcribe e a --greedy --prune-logp -5", "--prune-logp has no effect with --greedy"),
        ("decode e a --no-sentence-end", "--no-sentence-end only applies with --lm"),
        ("decode e a --plot x.png", "--plot only applies with --tune"),
        ("decode e a --set alphas=[1]", "--alphas only applies with --tune"),
        ("prepare folder a b --no-text --numbers spell", "--numbers has no effect with --no-text"),
        ("lm a b.arpa --estimator own --memory 1G", "--memory has no effect with --estimator own"),
        ("lm mix a b c.arpa --weights 0.5,0.5 --remove-tags x", "--remove-tags only applies with --dev"),
        ("lm info a --numbers spell", "lm info: --numbers only applies with TEXT"),
        ("train a b --set optim.momentum=0.5", "optim.momentum has no effect with optim.method adamw"),
        ("train a b --set optim.patience=3", "optim.patience has no effect with optim.schedule line"),
        ("train a b --set augment.snr_low=3", "augment.snr_low only applies with augment.noise"),
        ("data augment a b --set augment.rir_share=1", "augment.rir_share only applies with augment.rir"),
    ],
)
def test_an_option_without_effect_is_refused(monkeypatch, arguments, message):
    assert usage_error(monkeypatch, *arguments.split()).startswith(message)


@pytest.mark.parametrize(
    "arguments",
    [
        "data subset a --random 3 --seed 3",
        "data subset a --set made_by.command=x",
        "decode e a --no-tune-speed",
        "decode e a --no-tune",
        "score a --no-calibration",
        "score a --lang tr",
        "decode e a --greedy --config c.toml",
        "train a b --set optim.method=sgd --set optim.momentum=0.5 --set augment.rir=x --set augment.rir_share=1",
    ],
)
def test_an_option_with_effect_or_a_setting_of_a_file_is_accepted(tmp_path, monkeypatch, capsys, arguments):
    """What follows is another error (no such file), or the settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text("beam = 8\nseed = 3\nplot = 'x.png'\n")
    monkeypatch.setattr(sys, "argv", ["ds2", *arguments.split()])
    command = typer.main.get_command(app)
    with pytest.raises((Ds2Error, SystemExit)) as e:
        command.main([*arguments.split(), "--print-config"], prog_name="ds2")
    assert getattr(e.value, "code", None) == 0, e.value
    assert " = " in capsys.readouterr().out


def config_types(base=Config):
    return [base, *(sub for child in base.__subclasses__() for sub in config_types(child))]


def test_settings_without_effect_name_settings():
    for config_type in config_types():
        names = {f.name for f in fields(config_type)} if hasattr(config_type, "__dataclass_fields__") else set()
        for name, (others, values) in config_type.no_effect.items():
            others = {others} if isinstance(others, str) else set(others)
            assert {name} | others <= names and isinstance(values, tuple), f"{config_type.__name__}: {name}"


def test_every_setting_that_needs_another_one_is_refused_without_it():
    found = 0
    for config_type in (DecodeConfig, TranscribeConfig, ScoreConfig, SubsetConfig, TrainConfig, LmConfig, MixConfig):
        for f in fields(config_type):
            if needed := re.match(r"With --([a-z-]+)", f.metadata.get("help", "")):
                found += 1
                assert config_type.no_effect[f.name][0] == needed[1].replace("-", "_"), f.name
    assert found > 10


def test_settings_of_a_section():
    sgd = TrainConfig(optim=OptimConfig(method="sgd"))
    refuse_without_effect(sgd, parse_set("optim.momentum=0.9"))
    with pytest.raises(UsageError, match=r"^optim\.beta2 has no effect with optim\.method sgd$"):
        refuse_without_effect(sgd, parse_set("optim.beta2=0.9"))


def test_a_setting_that_needs_one_of_several():
    for config in (AlignConfig(srt="x"), AlignConfig(vtt="x"), AlignConfig(srt="x", vtt="x")):
        refuse_without_effect(config, {"line_length": 30})
    with pytest.raises(UsageError, match=r"^--line-length only applies with --srt or --vtt$"):
        refuse_without_effect(AlignConfig(textgrid="x"), {"line_length": 30})
