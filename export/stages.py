"""Test figures of a trained run at every stage: float, post-training quantized, trained quantized, on the device."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, fx, nn

from export.engines import TFLM, tflm_available
from export.integers import integer_graph
from export.interpret import interpret
from export.ir import Graph
from export.tflite import write_tflite
from qtorch.calibration import calibrate, set_mode
from qtorch.fake_quant import Mode
from qtorch.lightning.callback import inputs_of, network_of
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.data import ArrayDataModule
from qtorch.lightning.task import Task
from qtorch.prepare import prepare

__all__ = ["DeviceNetwork", "float_network", "real_inputs", "test_figures"]

#: Samples that a network computes at a time.
_CHUNK = 512
#: Samples of a foreign data module that stand for its training part.
_ENOUGH = 2048


class DeviceNetwork(nn.Module):
    """Real tensors in and out like any network; what lies between runs on TFLM, or the reference where that is absent.

    Args:
        graph: of the integer model.
        model: its file.
    """

    def __init__(self, graph: Graph, model: bytes) -> None:
        super().__init__()
        self.graph, self.model = graph, model

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Any:
        """float32 of the network's own shapes, ``[N, ...]`` each."""
        graph = self.graph
        codes = []
        for name, x in zip(graph.inputs, inputs, strict=True):
            qparams, value = graph.values[name].qparams, graph.values[name]
            assert qparams is not None
            codes.append(graph.view(name).store(qparams.quantize(x.cpu().numpy()), value.shape))
        if tflm_available():
            outputs = TFLM.run(self.model, tuple(codes))
        else:
            computed = interpret(graph, tuple(codes))
            outputs = tuple(computed[name] for name in graph.outputs)
        real = []
        for name, array in zip(graph.outputs, outputs, strict=True):
            qparams = graph.values[name].qparams
            assert qparams is not None
            real.append(torch.from_numpy(qparams.dequantize(graph.view(name).restore(array))))
        return tuple(real) if len(real) > 1 else real[0]


def float_network(run: Run) -> nn.Module:
    """The network that quantized training started from, in evaluation mode."""
    found = copy.deepcopy(run.qat.original)
    found.load_state_dict(run.qat.float_parameters, strict=False)
    return found.eval()


def real_inputs(run: Run) -> dict[str, Tensor]:
    """What the network reads of ``"train"`` and ``"test"``, float32 ``[N, ...]``; of foreign data up to some 2,000."""
    if isinstance(run.data, ArrayDataModule):
        return {"train": run.data.arrays.train[0], "test": run.data.arrays.test[0]}
    run.data.prepare_data()
    found = {}
    for part, stage in (("train", "fit"), ("test", "test")):
        run.data.setup(stage)
        loader: Any = getattr(run.data, f"{part}_dataloader")()
        batches: list[Tensor] = []
        for batch in loader:
            batches.append(inputs_of(run.module, batch))
            if sum(map(len, batches)) >= _ENOUGH:
                break
        found[part] = torch.cat(batches)
    return found


def test_figures(run: Run, graph: Graph, model: bytes) -> dict[str, dict[str, float]]:
    """Figures by stage: baselines, ``float``, ``ptq_int8``, ``qat_fake_quant``, ``qat_int8``, int8 from the device.

    A task's own :meth:`qtorch.lightning.task.Task.metrics`; of any other LightningModule what its test step logs.
    """
    plain, network = float_network(run), network_of(run.module)
    set_mode(network, Mode.FAKE)
    stages: dict[str, nn.Module] = {
        "float": plain,
        "ptq_int8": _post_training(run, plain),
        "qat_fake_quant": network.eval(),
        "qat_int8": DeviceNetwork(graph, model),
    }
    figures_of = _own_figures(run) if _is_task(run) else _logged_figures(run)
    found: dict[str, dict[str, float]] = {}
    if isinstance(run.module, Task) and isinstance(run.data, ArrayDataModule):
        found |= run.module.baseline(run.data.arrays.train, run.data.arrays.test)
    return found | {stage: figures_of(net) for stage, net in stages.items()}


def _is_task(run: Run) -> bool:
    return isinstance(run.module, Task) and isinstance(run.data, ArrayDataModule)


def _own_figures(run: Run) -> Callable[[nn.Module], dict[str, float]]:
    task: Any = run.module
    data: Any = run.data
    x, target = data.arrays.test

    def figures(net: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            output = torch.cat([net(part) for part in x.split(_CHUNK)])
        found: dict[str, float] = task.metrics(x, output, target)
        return found

    return figures


def _logged_figures(run: Run) -> Callable[[nn.Module], dict[str, float]]:
    def figures(net: nn.Module) -> dict[str, float]:
        module: Any = run.module
        trained, module.net = module.net, net
        trainer = pl.Trainer(
            accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False, barebones=False,
            enable_model_summary=False,
        )  # fmt: skip
        try:
            (logged,) = trainer.test(module, datamodule=run.data, verbose=False)
        finally:
            module.net = trained
        return dict(logged)

    return figures


def _post_training(run: Run, plain: nn.Module) -> nn.Module:
    """The float network calibrated and exported without any quantized training, on the device."""
    network: fx.GraphModule = prepare(plain, run.module.example_input_array, replace(run.qat.config, scales="measured"))  # type: ignore[arg-type]
    calibrate(network, real_inputs(run)["train"].split(_CHUNK))
    graph = integer_graph(network)
    return DeviceNetwork(graph, write_tflite(graph))
