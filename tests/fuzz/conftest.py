"""How many inputs each fuzzer tries: few and always the same in the suite, many and random with `make fuzz`."""

import json
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
# the helpers of the fuzzers lie next to them
sys.path.insert(0, str(FOLDER))
collect_ignore_glob = []

try:
    from hypothesis import HealthCheck, Phase, settings
except ImportError:
    # the machine with a GPU has only what its tests need
    collect_ignore_glob.append("test_*.py")
else:
    from hypothesis.configuration import set_hypothesis_home_dir
    from hypothesis.database import DirectoryBasedExampleDatabase

    set_hypothesis_home_dir(ROOT / "build" / "hypothesis")
    # the speed of the machine decides nothing: a hang is what fuzzing.py calls one
    common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
    settings.register_profile(
        "suite", **common, max_examples=6, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
    )
    settings.register_profile(
        "fuzz",
        **common,
        max_examples=int(os.environ.get("DS2_FUZZ_EXAMPLES", "200")),
        print_blob=True,
        database=DirectoryBasedExampleDatabase(ROOT / "build" / "fuzz" / "examples"),
    )
    settings.load_profile("fuzz" if "DS2_FUZZ_EXAMPLES" in os.environ else "suite")


def pytest_sessionfinish():
    """Write how many inputs each fuzzer of this process has tried into the folder DS2_FUZZ_COUNTS."""
    if "DS2_FUZZ_COUNTS" in os.environ and "fuzzing" in sys.modules:
        counts = Path(os.environ["DS2_FUZZ_COUNTS"], f"{os.getpid()}.json")
        counts.write_text(json.dumps(sys.modules["fuzzing"].TRIED))
