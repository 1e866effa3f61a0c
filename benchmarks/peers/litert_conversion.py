"""litert-torch's conversion to float, and ai-edge-quantizer's to int8."""

from __future__ import annotations

from collections.abc import Callable

import litert_torch
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe

from benchmarks.peers.conversions import SAMPLES, serve_conversions
from benchmarks.peers.networks import NETWORKS


def _conversion(task: str) -> Callable[[], bytes]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, shape = NETWORKS[task]
    net, x = network().eval(), torch.rand(SAMPLES, *shape)
    if len(shape) == 3:
        net = litert_torch.to_channel_last_io(net, args=[0])
        x = x.permute(0, 2, 3, 1).contiguous()

    def convert() -> bytes:
        plain = litert_torch.convert(net, (x[:1],)).model_content()
        ((signature, ends),) = Interpreter(model_content=plain).get_signature_list().items()
        static = quantizer.Quantizer(bytearray(plain), recipe.static_wi8_ai8())
        samples = [{ends["inputs"][0]: row[None].numpy()} for row in x]
        calibrated = static.calibrate({signature: samples}, num_threads=1)
        return bytes(static.quantize(calibrated, enable_progress_report=False).quantized_model)

    return convert


if __name__ == "__main__":
    serve_conversions(_conversion)
