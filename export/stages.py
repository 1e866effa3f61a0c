"""Test figures of a trained run at every stage: float, post-training quantized, trained quantized, on the device."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, fx, nn

from export.engines import TFLM, Engine, tflm_available
from export.integers import integer_graph
from export.interpret import interpret
from export.ir import Graph
from export.post_training import quantize_after_training
from export.tflite import write_tflite
from qtorch.calibration import set_mode
from qtorch.errors import BadConfiguration
from qtorch.fake_quant import Mode
from qtorch.lightning.callback import inputs_of, network_of
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.data import ArrayDataModule
from qtorch.lightning.task import Task

__all__ = ["STAGES", "DeviceNetwork", "figures_of", "float_network", "real_inputs", "stage_figures", "stage_name"]

#: What a person calls the stages of :func:`stage_figures`, and those of float formats.
STAGES = {
    "linear_regression": "linear regression",
    "float": "float network",
    "ptq_int8": "int8, post-training (TFLM)",
    "qat_fake_quant": "QAT network",
    "qat_int8": "int8, QAT (TFLM)",
    "post_training_fake_quant": "post-training network",
    "post_training_int8": "int8, as chosen (TFLM)",
    "float32": "float32 model (TFLM)",
    "float16": "float16 weights (LiteRT)",
    "dynamic_range": "int8 weights (LiteRT)",
}
#: Samples that a network computes at a time.
_CHUNK = 512
#: Samples of a foreign data module that stand for its training part.
_ENOUGH = 2048


def stage_name(stage: str) -> str:
    """What a person calls a stage, with what computed it here.

    Args:
        stage: a key of :data:`STAGES`; another is its own name.
    """
    name = STAGES.get(stage, stage)
    if tflm_available():
        return name
    return name.replace("(TFLM)", "(LiteRT)" if stage == "float32" else "(reference)")


class DeviceNetwork(nn.Module):
    """Real tensors in and out like any network; what lies between runs on TFLM, or the reference where that is absent.

    Args:
        graph: of the model.
        model: its file.
        engine: another one to run it on.
    """

    def __init__(self, graph: Graph, model: bytes, engine: Engine | None = None) -> None:
        super().__init__()
        self.graph, self.model = graph, model
        self.engine = engine or (TFLM if tflm_available() else None)

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Any:
        """float32 of the network's own shapes, ``[N, ...]`` each."""
        graph = self.graph
        codes = []
        for name, x in zip(graph.inputs, inputs, strict=True):
            value, array = graph.values[name], x.cpu().numpy()
            stored = array if value.qparams is None else value.qparams.quantize(array)
            codes.append(graph.view(name).store(stored, value.shape))
        if self.engine is not None:
            outputs = self.engine.run(self.model, tuple(codes))
        else:
            computed = interpret(graph, tuple(codes))
            outputs = tuple(computed[name] for name in graph.outputs)
        real = []
        for name, array in zip(graph.outputs, outputs, strict=True):
            qparams, restored = graph.values[name].qparams, graph.view(name).restore(array)
            real.append(torch.from_numpy(restored if qparams is None else qparams.dequantize(restored)))
        return tuple(real) if len(real) > 1 else real[0]


def float_network(run: Run) -> nn.Module:
    """The network that quantized training started from, in evaluation mode; as far as it is, if none has started."""
    found = copy.deepcopy(run.qat.original)
    found.load_state_dict(run.qat.float_parameters or network_of(run.module).state_dict(), strict=False)
    return found.eval()


def real_inputs(run: Run) -> dict[str, Tensor]:
    """What the network reads of ``"train"`` and ``"test"``, float32 ``[N, ...]``; of foreign data up to some 2,000.

    Raises:
        BadConfiguration: it reads more than one tensor, or there is nothing to measure it by.
    """
    example: Any = run.module.example_input_array
    if isinstance(example, tuple) and len(example) > 1:
        raise BadConfiguration(
            where=type(run.module).__name__,
            expected="a network with one input: figures, headers and test vectors are of one",
            got=f"{len(example)} inputs",
            remedy="export it with integer_graph, write_tflite and parity, as the README's example does",
        )
    if isinstance(run.data, ArrayDataModule):
        return {"train": run.data.arrays.train[0], "test": run.data.arrays.test[0]}
    for owner, method in ((run.module, "test_step"), (run.data, "train_dataloader"), (run.data, "test_dataloader")):
        if not is_overridden(method, owner):
            raise BadConfiguration(
                where=type(owner).__name__,
                expected=f"a {method}: an export measures ranges on training data, and its figures on test data",
                got="none",
                remedy=f"write {method}; a test_step logs the figures, as in self.log('mse', ...)",
            )
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


def figures_of(run: Run) -> Callable[[nn.Module], dict[str, float]]:
    """What gives the test figures of a network: a task's own, or what any other LightningModule's test step logs."""
    return _own_figures(run) if _is_task(run) else _logged_figures(run)


def stage_figures(
    run: Run, graph: Graph, model: bytes, post_training: fx.GraphModule | None = None
) -> dict[str, dict[str, float]]:
    """Figures by stage: baselines, ``float``, ``ptq_int8``, ``qat_fake_quant``, ``qat_int8``, int8 from the device.

    Args:
        run: trained.
        graph: what is exported.
        model: its file.
        post_training: the network that it was made from, if that was not the trained one: then the last two stages are
            ``post_training_fake_quant`` and ``post_training_int8``.
    """
    plain, network = float_network(run), post_training or network_of(run.module)
    set_mode(network, Mode.FAKE)
    kind = "qat" if post_training is None else "post_training"
    stages: dict[str, nn.Module] = {
        "float": plain,
        "ptq_int8": _calibrated_only(run, plain),
        f"{kind}_fake_quant": network.eval(),
        f"{kind}_int8": DeviceNetwork(graph, model),
    }
    figures = figures_of(run)
    found: dict[str, dict[str, float]] = {}
    if isinstance(run.module, Task) and isinstance(run.data, ArrayDataModule):
        found |= run.module.baseline(run.data.arrays.train, run.data.arrays.test)
    return found | {stage: figures(net) for stage, net in stages.items()}


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


def _calibrated_only(run: Run, plain: nn.Module) -> nn.Module:
    """The float network calibrated and exported without any quantized training, on the device."""
    example: Any = run.module.example_input_array
    network = quantize_after_training(plain, real_inputs(run)["train"], run.qat.config, example=example)
    graph = integer_graph(network)
    return DeviceNetwork(graph, write_tflite(graph))
