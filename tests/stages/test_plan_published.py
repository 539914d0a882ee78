"""Estimates for GPUs against published times: nothing was measured here, so the model is held to these figures.

Estimates are divided by published times; plan_estimate.OFF_BY are the limits of the inverse.

Left out: a user of OpenSeq2Seq reports 3.2 s per step of 8 x 32 utterances on V100s (issue 541), several times the
estimate, but neither the lengths of the data are known nor whether reading them was the limit.
"""

from __future__ import annotations

import numpy as np
import pytest

from ds2cli.config.base import build
from ds2cli.config.plan import find_gpu
from ds2cli.config.train import TrainConfig
from ds2cli.stages.model import NetworkSpec
from ds2cli.stages.plan_estimate import OFF_BY
from ds2cli.stages.plan_gpu import (
    Machine,
    Shapes,
    product_seconds,
    recurrence_seconds,
    spread_lengths,
    time_batches,
    time_step,
)
from ds2cli.stages.plan_layers import LayerCost, Products, Recurrence, count_parameters, list_costs

LOWEST, HIGHEST = 1 / OFF_BY[1], 1 / OFF_BY[0]

DEEPBENCH = [
    # baidu-research/DeepBench, results/train/DeepBench_NV_*.xlsx: GPU, precision, gates, units, utterances, frames;
    # milliseconds forward, backward to the inputs, backward to the weights
    ("v100", "float32", 3, 1024, 32, 1500, 59.1, 66.9, 19.9),
    ("v100", "float32", 3, 1024, 64, 1500, 80.2, 87.0, 40.0),
    ("v100", "float32", 3, 1536, 32, 750, 43.7, 52.4, 23.1),
    ("v100", "float32", 3, 2048, 32, 375, 37.9, 36.6, 20.2),
    ("v100", "float32", 3, 2560, 32, 1500, 199.6, 183.4, 134.2),
    ("v100", "float32", 3, 2816, 32, 187, 32.6, 44.1, 19.7),
    ("v100", "float32", 1, 1760, 64, 50, 4.67, 3.80, 1.65),
    ("v100", "float32", 1, 2560, 128, 50, 7.77, 7.39, 5.76),
    ("v100", "float16", 3, 1024, 64, 1500, 44.3, 52.8, 7.90),
    ("v100", "float16", 3, 1536, 32, 187, 12.4, 12.2, 1.25),
    ("v100", "float16", 3, 1536, 32, 1500, 73.0, 68.9, 8.24),
    ("v100", "float16", 3, 2048, 32, 750, 43.7, 45.4, 6.74),
    ("v100", "float16", 3, 2816, 32, 1500, 180.3, 132.4, 24.7),
    ("v100", "float16", 1, 1760, 16, 50, 2.96, 2.18, 0.21),
    ("v100", "float16", 1, 2560, 128, 50, 4.92, 3.46, 1.11),
    ("titan-x", "float32", 3, 1536, 32, 187, 41.2, 48.5, 17.2),
    ("titan-x", "float32", 3, 2048, 32, 1500, 417.8, 513.5, 239.4),
    ("titan-x", "float32", 3, 2816, 32, 750, 383.5, 382.6, 224.3),
    ("titan-x", "float32", 1, 1760, 32, 50, 11.06, 10.86, 2.54),
    ("titan-x", "float32", 1, 2560, 128, 50, 25.5, 25.2, 17.1),
]

GPUS = (1, 2, 4, 8, 16, 32, 64, 128)
FIGURE_4 = {
    # seconds per epoch of 11,940 h in 8 million utterances, 64 utterances per GPU
    (5, 3, 2560): (217030, 111340, 57919, 31345, 14660, 8458, 4392, 2387),
    (9, 7, 1760): (357811, 189945, 100628, 53439, 33434, 15789, 8338, 4337),
}


def one(*numbers):
    return Shapes(*(np.array([float(n)]) for n in numbers))


def network(bins, **model):
    """A 1D convolution, recurrent layers, fully connected ones; sizes that are the same everywhere, `size`."""
    size = model.pop("size")
    model = {"conv": "1d", "channels": [size], "rnn_size": size, "fc_size": size, "dropout": 0.0, **model}
    config = build(TrainConfig, ("test", {"model": model, "optim": {"method": "sgd"}}))
    return NetworkSpec(config.model, 29, bins, 10.0), config


def without_python(layers):
    """The layers in a library whose recurrences are not loops of Python, as the paper's own."""
    fused = [layer.recurrence and layer.recurrence._replace(fused=True, calls=(0, 0)) for layer in layers]
    return [layer._replace(recurrence=recurrence) for layer, recurrence in zip(layers, fused, strict=True)]


@pytest.mark.parametrize("row", DEEPBENCH, ids=lambda row: "-".join(map(str, row[:6])))
def test_recurrent_layers_of_deepbench(row):
    gpu, precision, gates, units, utterances, frames, *published = row
    machine = Machine(find_gpu(gpu), 1, precision)
    layer = LayerCost("rnn", 1, units, [], Recurrence(1, gates, units, True, (0, 0)), 0)
    loop = recurrence_seconds(layer, machine, np.array([frames]), np.array([utterances]))
    weights = product_seconds(Products(gates * units**2, "rnn", passes=1), machine, np.array([utterances * frames]))
    assert LOWEST < 1000 * float(loop[0] + weights[0]) / sum(published) < HIGHEST


@pytest.mark.parametrize("name", FIGURE_4, ids=["5-3", "9-7"])
def test_figure_4_of_the_paper(name):
    """Stride 2, as in table 1. On one machine of 8 GPUs estimates are within 0.6 and 1.1 of the paper's times."""
    layers, recurrent, size = name
    sizes = {"kernels": [11], "strides": [2], "rnn_layers": recurrent, "fc_layers": layers - 1 - recurrent}
    spec, config = network(161, size=size, cell="rnn", activation="relu", **sizes)
    parameters = count_parameters(spec)
    assert parameters == pytest.approx(70e6, rel=0.03)
    mean = 11940 * 3600 * 100 / 8e6
    lengths = spread_lengths(64 * 500, mean, 2 * mean).astype(float).reshape(500, 64)
    shapes = Shapes(np.full(500, 64.0), lengths.max(1), lengths.sum(1))
    ratios = []
    for gpus, published in zip(GPUS, FIGURE_4[name], strict=True):
        machine = Machine(find_gpu("titan-x"), gpus, "float32")
        batch = time_batches(without_python(list_costs(spec, config, gpus)), machine, shapes).mean()
        steps = 8e6 / 64 / gpus
        ratios.append(steps * (batch + time_step(parameters, machine, config)) / published)
    assert min(ratios) > LOWEST and max(ratios) < HIGHEST
    assert min(ratios[:4]) > 0.6 and max(ratios[:4]) < 1.1


def test_the_rate_of_a_node_of_the_paper():
    """Paper §4: 24 TFLOP/s on 8 GPUs, 45 % of the peak."""
    spec, config = network(
        161, size=2560, cell="rnn", activation="relu", kernels=[11], strides=[2], rnn_layers=3, fc_layers=1
    )
    machine = Machine(find_gpu("titan-x"), 8, "float32")
    layers = without_python(list_costs(spec, config, 8))
    seconds = time_batches(layers, machine, one(64, 700, 44800))[0] + time_step(count_parameters(spec), machine, config)
    macs = sum(part.macs * part.passes * 22400 for layer in layers for part in layer.products if not part.once)
    assert 24 / 1.6 < 8 * 2 * macs / seconds / 1e12 < 24 * 1.6
    assert 8 * machine.gpu.float32 == pytest.approx(53, abs=0.5)


@pytest.mark.parametrize(
    ("layers", "directions", "frames", "published"),
    [(4, 2, 24000, 0.5965), (4, 2, 32000, 0.5346), (1, 1, 32000, 0.0798)],
    ids=["ctc", "cross-entropy", "one"],
)
def test_lstms_of_torch_in_cudnn(layers, directions, frames, published):
    """Braun (arXiv 1806.01818, results.csv of its repository): PyTorch 0.4, GTX 1080, 32 utterances, 1000 frames."""
    sizes = {"kernels": [1], "strides": [1], "rnn_layers": layers, "bidirectional": directions == 2}
    spec, config = network(123, size=320, cell="lstm", norm="none", **sizes)
    costs = [cost for cost in list_costs(spec, config, 1) if not cost.name.startswith("conv")]
    seconds = time_batches(costs, Machine(find_gpu("gtx-1080"), 1, "float32"), one(32, 1000, frames))
    assert seconds[0] == pytest.approx(published, rel=0.25)


def test_a_recurrence_in_a_loop_of_python():
    """Braun: 0.305 s for 1000 frames of an LSTM cell of plain torch calls, about 13 forward and 17 backward."""
    layer = LayerCost("rnn", 1, 320, [], Recurrence(1, 4, 320, False, (13, 17)), 0)
    machine = Machine(find_gpu("gtx-1080"), 1, "float32")
    assert recurrence_seconds(layer, machine, np.array([1000.0]), np.array([32.0]))[0] == pytest.approx(0.305, rel=0.1)


def test_nine_recurrent_layers_of_neon():
    """NervanaSystems/deepspeech, issue 5: 141 h for 16 epochs of LibriSpeech on one Titan X; batches of 32 (train.py).

    Its loader pads all utterances to 30 s; recurrences are loops of Python.
    """
    sizes = {"kernels": [11], "strides": [3], "rnn_layers": 9, "fc_layers": 1}
    spec, config = network(13, size=1152, cell="rnn", activation="relu", **sizes)
    batch = time_batches(list_costs(spec, config, 1), Machine(find_gpu("titan-x"), 1, "float32"), one(32, 3000, 96000))
    assert LOWEST < batch[0] * 281241 / 32 / 3600 / (141 / 16) < HIGHEST
