"""CTC on a real GPU: the test suite's cases compared with the formulas in float64, with bit-identical repeated runs.

    python native/tests/ctc_cuda_check.py
    export PYTORCH_NO_CUDA_MEMORY_CACHING=1     # one allocation per tensor, so that memcheck sees its bounds
    compute-sanitizer --tool memcheck  --error-exitcode 1 python native/tests/ctc_cuda_check.py --every 6
    compute-sanitizer --tool racecheck --error-exitcode 1 python native/tests/ctc_cuda_check.py --every 12
    compute-sanitizer --tool synccheck --error-exitcode 1 python native/tests/ctc_cuda_check.py --every 6
    compute-sanitizer --tool initcheck --error-exitcode 1 python native/tests/ctc_cuda_check.py --every 12

Needs a torch with CUDA and the built library. Exits with status 1 if a case fails. initcheck may report torch's own
kernels; only reports about kernels in the namespace ds2 concern this library.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

import numpy as np
import torch

from ds2cli.nn.ctc import native_op
from ds2cli.nn.ctc.reference import ctc_ref

ROOT = Path(__file__).parents[2]


def solve(case, dtype, utterance_major):
    """Compute costs, verdicts and gradients (T, N, V) of a case on the GPU."""
    logits = torch.from_numpy(case.logits).to("cuda", dtype)
    if utterance_major:
        logits = logits.transpose(0, 1).contiguous().transpose(0, 1)
    labels = [torch.from_numpy(x).cuda() for x in (case.targets, case.input_lengths, case.target_lengths)]
    costs, verdicts, saved = native_op.ctc(logits, *labels, case.blank, True)
    costs_only, _, _ = native_op.ctc(logits, *labels, case.blank, False)
    dlogits = native_op.ctc_backward(logits, saved, torch.ones_like(costs), case.targets.shape[1], case.blank)
    np.testing.assert_array_equal(costs_only.cpu(), costs.cpu(), err_msg="costs without a gradient differ")
    return costs.cpu().numpy(), verdicts.cpu().numpy(), dlogits.float().cpu().numpy()


def check(case, dtype):
    """Raise AssertionError unless the results agree with the formulas and are identical in repeated runs."""
    if dtype is torch.bfloat16:
        case = case._replace(logits=torch.from_numpy(case.logits).bfloat16().float().numpy())
    costs, gradients = ctc_ref(case.logits, case.targets, case.input_lengths, case.target_lengths, case.blank)
    first = solve(case, dtype, False)
    np.testing.assert_allclose(first[0], costs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(first[2], gradients, rtol=2**-8 if dtype is torch.bfloat16 else 0, atol=1e-5)
    for other in (solve(case, dtype, False), solve(case, dtype, True)):
        for x, y in zip(first, other, strict=True):
            np.testing.assert_array_equal(x, y, err_msg="repeated runs differ")


def main() -> int:
    """Check all cases or one in --every; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, metavar="K", help="check one case in K, without the longest")
    every = parser.parse_args().every
    module = runpy.run_path(str(ROOT / "tests" / "native" / "ctc_cases.py"))
    cases = [*module["cases"]()]
    if every == 1:
        cases += [*module["edges"](module["LONG_EDGES"]), *module["long"]()]
    failed = 0
    print(torch.cuda.get_device_name())
    for case in cases[::every]:
        for dtype in (torch.float32, torch.bfloat16):
            try:
                check(case, dtype)
            except AssertionError as error:
                failed += 1
                print(f"{case.name} {dtype}: {error}")
    print(f"{2 * len(cases[::every]) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
