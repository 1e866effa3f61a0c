"""qtorch's conversion: prepare, calibrate, lower, write, and compare every scale and constant of the file read back."""

from __future__ import annotations

from collections.abc import Callable

import torch

import qtorch
from benchmarks.peers.conversions import SAMPLES, serve_conversions
from benchmarks.peers.networks import NETWORKS
from export.graph.build import integer_graph
from export.graph.encoding import codes_of
from export.parity.outputs import compare_file, parity
from export.tflite.writer import write_tflite

__all__ = ["conversion"]


def conversion(task: str, verified: bool = False) -> Callable[[], bytes]:
    """What converts the network of that name.

    Args:
        task: the network's name.
        verified: run the file by all engines too, on the samples; TFLite Micro must compute the very integers.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, shape = NETWORKS[task]
    net, x = network().eval(), torch.rand(SAMPLES, *shape)

    def convert() -> bytes:
        qat = qtorch.prepare(net, x[:1])
        qtorch.calibrate(qat, [x])
        graph = integer_graph(qat)
        model = write_tflite(graph)
        if not verified:
            compare_file(graph, model)
            return model
        parity(graph, model, codes_of(graph, x), qat)
        return model

    return convert


if __name__ == "__main__":
    serve_conversions(conversion)
