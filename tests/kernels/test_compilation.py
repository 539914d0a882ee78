"""The clock that stands still while kernels compile."""

import time

import numba
import pytest

from ds2cli.kernels import _jit, compilation


@pytest.fixture
def now(monkeypatch):
    """A function that moves the time of this module on."""
    state = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: state[0])
    monkeypatch.setattr(compilation, "_state", (0, 0.0, 0.0))
    monkeypatch.setattr(compilation, "on_first", None)

    def move(seconds):
        state[0] += seconds

    return move


def test_nested_compilations_count_once(now):
    started = compilation.working_clock()
    now(1)
    compilation.begin()
    now(2)
    compilation.begin()
    now(4)
    compilation.end()
    now(8)
    assert compilation.seconds() == 14 and compilation.working_clock() - started == 1
    compilation.end()
    now(16)
    assert compilation.seconds() == 14 and compilation.working_clock() - started == 17
    compilation.begin()
    now(32)
    compilation.end()
    assert compilation.seconds() == 46 and compilation.working_clock() - started == 17


@pytest.mark.usefixtures("now")
def test_the_first_compilation_is_announced_once(monkeypatch):
    calls = []
    monkeypatch.setattr(compilation, "on_first", lambda: calls.append(1))
    for _ in range(2):
        compilation.begin()
        compilation.end()
    assert calls == [1]


def test_numba_reports_what_it_compiles_and_not_what_is_compiled(monkeypatch):
    calls = []
    monkeypatch.setattr(compilation, "on_first", lambda: calls.append(1))
    function = numba.njit(lambda x: x + 1)
    before = compilation.seconds()
    assert function(1) == 2
    after = compilation.seconds()
    assert after > before and calls == [1] and compilation._state[0] == 0
    assert function(1) == 2 and compilation.seconds() == after


def test_every_kernel_is_listed():
    from ds2cli.kernels.edit import count_steps

    assert count_steps in _jit.KERNELS
