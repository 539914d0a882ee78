"""Commands that compute no network load no torch, which takes seconds: here they run where it cannot be imported."""

import pytest

WITHOUT_TORCH = 'sys.modules["torch"] = None'


def test_these_commands_need_no_torch(failures):
    assert failures(WITHOUT_TORCH) == {}


def test_a_command_that_needs_torch_fails_here(run_commands):
    """So the test above can fail."""
    (error,) = run_commands(WITHOUT_TORCH, "plan train.jsonl --config train.toml")[0].values()
    assert "torch" in error


@pytest.mark.parametrize("command", ["data stats dev.jsonl", "data sort dev.jsonl sorted.jsonl"])
def test_these_commands_need_neither_numba_nor_scipy(run_commands, command):
    assert run_commands(WITHOUT_TORCH, command) == ({command: ""}, [])
