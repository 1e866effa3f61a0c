"""Whether a step of training computes the codes that the exported file gives in TFLite Micro."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import fx, nn

from benchmarks.suite import share
from export.engines import TFLM
from export.graph.build import integer_graph
from export.graph.encoding import codes_of
from export.parity.outputs import EngineParity
from export.tflite.writer import write_tflite
from qtorch.capture.call_form import tensors_in
from qtorch.capture.samples import Samples
from qtorch.network.calibration import freeze_batch_norm, in_mode
from qtorch.network.mode import Mode
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer

__all__ = ["agreement", "equal_in_training", "recorded"]

#: Samples that are computed at a time.
_CHUNK = 256


def agreement(network: fx.GraphModule, samples: Samples) -> EngineParity:
    """The output codes of training's forward pass, recorded for the gradient, beside the file's in TFLite Micro.

    Args:
        network: prepared and calibrated, its ranges at rest; left as it was. Its batch norms count as frozen, and
            dropout as switched off, which no device has.
        samples: float32, ``[N, ...]`` each; both sides get what of them lies on the grids of the network's inputs.
    """
    graph = integer_graph(network)
    codes = codes_of(graph, samples)
    expected = TFLM.run(write_tflite(graph), codes)
    parts = []
    with torch.enable_grad(), _training(network), in_mode(network, Mode.QUANTIZED):
        for start in range(0, len(codes[0]), _CHUNK):
            held = zip(graph.inputs, (array[start : start + _CHUNK] for array in codes), strict=True)
            outputs = tensors_in(network(*(torch.from_numpy(graph.decode(*each)) for each in held)))
            parts.append([tensor.detach().numpy() for tensor in outputs])
    by_name = zip(graph.outputs, zip(*parts, strict=True), strict=True)
    got = tuple(graph.encode(name, np.concatenate(arrays)) for name, arrays in by_name)
    return EngineParity.of(TFLM.version, got, expected)


def recorded(found: EngineParity) -> dict[str, int]:
    """What :func:`equal_in_training` reads, for a JSON file."""
    return {"outputs": found.outputs, "mismatches": found.mismatches}


def equal_in_training(runs: Iterable[Mapping[str, int]]) -> str:
    """The share of equal outputs of the worst of what :func:`agreement` found, run by run; nothing without a run."""
    worst = max(runs, key=lambda run: run["mismatches"] / run["outputs"], default=None)
    return "" if worst is None else share(worst["mismatches"], worst["outputs"])


@contextmanager
def _training(network: nn.Module) -> Iterator[None]:
    """Quantizers and quantized ops in training for a block, batch norms frozen; then each back to what it was."""
    before = [(module, module.training) for module in network.modules()]
    ops = [(module, module.norm_frozen) for module in network.modules() if isinstance(module, QuantizedOp)]
    try:
        network.eval()
        for module in network.modules():
            if isinstance(module, QuantizedOp | Quantizer):
                module.train()
        freeze_batch_norm(network)
        yield
    finally:
        for module, training in before:
            module.training = training
        for op, frozen in ops:
            op.norm_frozen = frozen
