"""Test figures of a trained run at every stage: float, post-training quantized, trained quantized, on the device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import fx, nn

from export.engines import TFLM, Engine, tflm_available
from export.graph.build import integer_graph
from export.graph.encoding import codes_of
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.lightning_run.real_inputs import RealInputs, in_words, real_inputs
from export.lightning_run.recorded_test import Record, TestRecorder, sha256_of
from export.lightning_run.test_batches import drawn_alike, drawn_test_batches, served
from export.tflite.writer import write_tflite
from qtorch.capture.call_form import tensors_in
from qtorch.capture.capture import CapturedNetwork
from qtorch.capture.samples import Samples
from qtorch.capture.tracing import is_leaf
from qtorch.errors import BadConfiguration, BadData, BadInput
from qtorch.lightning.callback import network_of
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.data import ArrayDataModule
from qtorch.lightning.replacing import counted_calls, network_replaced
from qtorch.lightning.task import Task
from qtorch.network.calibration import in_mode
from qtorch.network.quantizer import Mode
from qtorch.post_training.steps import quantize_after_training
from qtorch.surroundings import evaluating

__all__ = [
    "STAGES",
    "DeviceNetwork",
    "StageFigures",
    "figures_of",
    "float_name",
    "float_network",
    "measured",
    "real_inputs",
    "stage_figures",
    "stage_name",
    "weights_loaded",
]

#: What a person calls the stages of :func:`stage_figures`, and those of float formats.
STAGES = {
    "linear_regression": "linear regression",
    "float": "float network",
    "ptq_int8": "int8, post-training (TFLM)",
    "qat_float": "QAT network's weights in float",
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
#: How the names of parameters end that a float network does not have.
_SCALES = ("log_scale", "log_weight_scale", "zero_share")


def stage_name(stage: str, float_name: str = STAGES["float"]) -> str:
    """What a person calls a stage, with what computed it here.

    Args:
        stage: a key of :data:`STAGES`; another is its own name.
        float_name: see :func:`float_name`.
    """
    name = float_name if stage == "float" else STAGES.get(stage, stage)
    if tflm_available():
        return name
    return name.replace("(TFLM)", "(LiteRT)" if stage == "float32" else "(reference)")


class DeviceNetwork(nn.Module):
    """Real tensors in and out like any network; what lies between runs on TFLM, or the reference where that is absent.

    Args:
        graph: of the model.
        model: its file.
        engine: another one to run it on.
        like: the network that it stands for, which knows the order of arguments that are given by name.
    """

    def __init__(self, graph: Graph, model: bytes, engine: Engine | None = None, like: nn.Module | None = None) -> None:
        super().__init__()
        self.graph, self.model = graph, model
        # Not as a child: it is not a part of it.
        self.__dict__["like"] = like
        self.engine = engine or (TFLM if tflm_available() else None)

    def compile(self, *arguments: Any, **options: Any) -> None:
        """Nothing: a module that compiles its network meets this one in its place, and there is nothing to compile."""

    @torch.no_grad()
    def forward(self, *inputs: Any, **named: Any) -> Any:
        """float32 of the network's own shapes, ``[N, ...]`` each."""
        graph = self.graph
        like: nn.Module | None = self.__dict__["like"]
        codes = codes_of(graph, _tensors(like, inputs, named))
        if self.engine is not None:
            outputs = self.engine.run(self.model, codes)
        else:
            computed = interpret(graph, codes)
            outputs = tuple(computed[name] for name in graph.outputs)
        real = []
        for name, array in zip(graph.outputs, outputs, strict=True):
            qparams, restored = graph.values[name].qparams, graph.view(name).restore(array)
            real.append(torch.from_numpy(restored if qparams is None else qparams.dequantize(restored)))
        found = tuple(real) if len(real) > 1 else real[0]
        form = like.outputs if isinstance(like, CapturedNetwork) else None
        return found if form is None else form.rebuilt(found)


def _tensors(like: nn.Module | None, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """The tensors of a call, in the order of the device's inputs."""
    if not isinstance(like, CapturedNetwork):
        return tensors_in((inputs, named))
    return like.inputs_of(inputs[0]) if len(inputs) == 1 and not named else like.form.tensors(inputs, named)


def float_network(run: Run) -> nn.Module:
    """The network that quantized training started from, in evaluation mode; as far as it is, if none has started.

    Raises:
        BadConfiguration: see :func:`weights_loaded`.
    """
    return weights_loaded(run, run.qat.float_parameters or network_of(run.module).state_dict())


def float_name(run: Run) -> str:
    """What a person calls :func:`float_network`: where quantized training began, training had not ended."""
    began, losses = run.qat.began, run.qat.losses["training"]
    if began is None or not run.qat.float_parameters:
        return STAGES["float"]
    if began == 0:
        return "untrained float network"
    epochs = max(losses) + 1 if losses else None
    if epochs is not None and began >= epochs:
        return f"{STAGES['float']}, after {_epochs(began)}"
    return (
        f"half-trained {STAGES['float']}, after {began} of {epochs} epochs"
        if epochs
        else (f"half-trained {STAGES['float']}, after {_epochs(began)}")
    )


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def weights_loaded(run: Run, weights: Mapping[str, Any]) -> nn.Module:
    """A copy of the float network from before it was prepared, in evaluation mode, with other weights.

    Args:
        run: whose network it is.
        weights: by name; names that the float network does not have are left out.

    Raises:
        BadConfiguration: what the run takes for its float network is another one.
    """
    found = copy.deepcopy(run.qat.original)
    # A lone layer has been prepared as a network of one.
    rooted = nn.Sequential(found) if is_leaf(found) else found
    trained = [name for name, _ in network_of(run.module).named_parameters() if not name.endswith(_SCALES)]
    wanted, given = set(rooted.state_dict()), set(trained) & set(weights)
    try:
        if given and not wanted & given:
            raise RuntimeError(f"{type(found).__name__} with {', '.join(sorted(wanted)[:3]) or 'no weights'}")
        rooted.load_state_dict(weights, strict=False)
    # What PyTorch says of shapes that differ.
    except RuntimeError as error:
        raise BadConfiguration(
            where=f"the float network of {type(run.module).__name__}",
            expected=f"the network from before it was prepared, with {', '.join(sorted(given)[:3])}, ...",
            got=" ".join(str(error).split())[:200],
            remedy="put the float network into self.net, and let the QuantizationAwareTraining callback prepare it",
        ) from error
    return found.eval()


def figures_of(run: Run) -> Callable[[nn.Module], dict[str, float]]:
    """What gives the test figures of a network: a task's own, or what any other LightningModule's test step logs.

    In a test step the network stands wherever the module has its own, and it has to be called there.

    Raises:
        BadConfiguration: there is no ``test_step``. What is returned raises it where the test step failed, or called
            another network than the one whose figures were asked for; and :class:`BadData` where data are gone.
    """
    test = _test_of(run)
    return lambda net: test(net)[0]


def _test_of(run: Run) -> Callable[[nn.Module], tuple[dict[str, float], Record]]:
    """See :func:`figures_of`; with what the test met."""
    if _is_task(run):
        return _own_figures(run)
    without = _without_test_step(run)
    if without:
        raise BadConfiguration(
            where=type(run.module).__name__, expected="a test_step that logs figures", got=without, remedy=_WRITE_IT
        )
    return _logged_figures(run)


@dataclass(frozen=True)
class StageFigures:
    """Test figures of a run.

    Attributes:
        figures: by stage, a key of :data:`STAGES`.
        left_out: why some stages have none; ``"test"``: why none has.
        beside: figures of networks that are no stage of the export.
        records: what the test of each stage and of each network beside them met, by name.
    """

    figures: dict[str, dict[str, float]]
    left_out: dict[str, str]
    beside: dict[str, dict[str, float]] = field(default_factory=dict)
    records: Mapping[str, Record] = field(default_factory=dict)

    def unknown_columns(self, module: pl.LightningModule) -> list[str]:
        """Names that the module puts first, and that no stage has."""
        return [
            name
            for name in _put_first(module)
            if self.figures and not any(name in found for found in self.figures.values())
        ]

    def columns(self, module: pl.LightningModule) -> list[str]:
        """Which figures a report shows, by name: those that the module puts first, as far as every stage has them."""
        return [name for name in _put_first(module) if all(name in found for found in self.figures.values())]


def _put_first(module: pl.LightningModule) -> tuple[str, ...]:
    named = getattr(module, "columns", ())
    return (named,) if isinstance(named, str) else tuple(named)


def stage_figures(
    run: Run, inputs: RealInputs, graph: Graph, model: bytes, post_training: fx.GraphModule | None = None
) -> StageFigures:
    """Figures by stage: baselines, ``float``, ``ptq_int8``, ``qat_fake_quant``, ``qat_int8``, int8 from the device.

    Networks are left in the mode in which they are.

    Args:
        run: trained.
        inputs: its :func:`real_inputs`.
        graph: what is exported.
        model: its file.
        post_training: the network that it was made from, if that was not the trained one: then the last two stages are
            ``post_training_fake_quant`` and ``post_training_int8``.

    Raises:
        BadConfiguration: see :func:`figures_of`.
    """
    plain, network = float_network(run), post_training or network_of(run.module)
    kind = "qat" if post_training is None else "post_training"
    left_out = {}
    stages: dict[str, nn.Module] = {"float": plain}
    if inputs.get("train") is None:
        left_out["ptq_int8"] = inputs.why("train")
    elif inputs.get("test") is not None:
        stages["ptq_int8"] = _calibrated_only(run, inputs["train"], plain)
    stages |= {f"{kind}_fake_quant": network, f"{kind}_int8": DeviceNetwork(graph, model, like=network_of(run.module))}
    if post_training is None and run.qat.float_parameters:
        stages["qat_float"] = weights_loaded(run, network.state_dict())
    with evaluating(network), in_mode(network, Mode.FAKE):
        found = measured(run, inputs, stages)
    beside = {name: found.figures.pop(name) for name in ("qat_float",) if name in found.figures}
    figures = found.figures
    if figures and isinstance(run.module, Task) and isinstance(run.data, ArrayDataModule):
        figures = {**run.module.baseline(run.data.arrays.train, run.data.arrays.test), **figures}
    return StageFigures(figures, found.left_out if "test" in found.left_out else left_out, beside, found.records)


def measured(run: Run, inputs: RealInputs, stages: Mapping[str, nn.Module]) -> StageFigures:
    """Test figures of networks by name: of all of them, or of none, and why.

    Raises:
        BadConfiguration: see :func:`figures_of`.
    """
    reason = "" if _is_task(run) else _without_test_step(run)
    if reason:
        return StageFigures({}, {"test": f"{reason}; {_WRITE_IT}"})
    if inputs.get("test") is None:
        return StageFigures({}, {"test": inputs.why("test")})
    test, found = _test_of(run), {}
    records: dict[str, Record] = {}
    for stage, net in stages.items():
        try:
            found[stage], record = test(net)
            first = next(iter(records.values()), record)
            # Of the same samples one copy is enough.
            same = record.samples == first.samples
            records[stage] = replace(record, inputs=first.inputs, others=first.others) if same else record
        except BadData as error:
            return StageFigures({}, {"test": f"no test data: {in_words(error)}"})
        if not found[stage]:
            return StageFigures({}, {"test": f"test_step of {type(run.module).__name__} logs nothing; {_WRITE_IT}"})
    return StageFigures(found, {}, records=records)


def _is_task(run: Run) -> bool:
    """Whether the test part's rows are what the network gets: the task's own steps hand them on as they are."""
    if not (isinstance(run.module, Task) and isinstance(run.data, ArrayDataModule)):
        return False
    hooks = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
    own = any(is_overridden(hook, each) for hook in hooks for each in (run.module, run.data))
    return not own and type(run.module).test_step is Task.test_step


def _own_figures(run: Run) -> Callable[[nn.Module], tuple[dict[str, float], Record]]:
    task: Any = run.module
    data: Any = run.data
    x, target = data.arrays.test
    samples = sha256_of(x, target)

    def figures(net: nn.Module) -> tuple[dict[str, float], Record]:
        with torch.no_grad():
            output = torch.cat([net(part) for part in x.split(_CHUNK)])
        found: dict[str, float] = task.metrics(x, output, target)
        return found, Record(samples, x, output, {1: target})

    return figures


#: What makes figures, in words.
_WRITE_IT = "write a test_step that logs figures, as in self.log('mse', ...)"


def _without_test_step(run: Run) -> str:
    return "" if is_overridden("test_step", run.module) else f"{type(run.module).__name__} has no test_step"


def _gone(error: Exception) -> BadData:
    return BadData(where="test data", expected="batches", got=in_words(error), remedy="bring the data back")


def _logged_figures(run: Run) -> Callable[[nn.Module], tuple[dict[str, float], Record]]:
    where = f"test_step of {type(run.module).__name__}"
    remedy = "call self.net(x) or self(x) in test_step, not parts of the network or another copy of it"
    drawn: list[Any] = []

    def figures(net: nn.Module) -> tuple[dict[str, float], Record]:
        # Each network meets a module that has tested no other: one may keep outputs from batch to batch.
        recorder, module = TestRecorder(), copy.deepcopy(run.module)
        trainer = pl.Trainer(
            accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False, barebones=False,
            enable_model_summary=False, callbacks=[recorder],
        )  # fmt: skip
        owner = module if run.data is None else run.data
        if not drawn:
            try:
                drawn.append(drawn_test_batches(owner))
            except BadInput:
                raise
            # A loader whose data are gone fails in whatever way its libraries do.
            except Exception as error:
                raise _gone(error) from error
        with (
            evaluating(module), network_replaced(module, net), evaluating(net), counted_calls(net) as calls,
            recorder.listening(net), served(owner, drawn[0]), drawn_alike(),
        ):  # fmt: skip
            try:
                logged = trainer.test(module, datamodule=run.data, verbose=False)
            except BadInput:
                raise
            except OSError as error:
                raise _gone(error) from error
            # A test step that wants a layer of the network fails as it will: what runs on a device has no layers.
            except Exception as error:
                raise BadConfiguration(
                    where=where,
                    expected="one that runs with any network in the place of self.net",
                    got=in_words(error),
                    remedy=remedy,
                ) from error
        if not calls.count:
            raise BadConfiguration(
                where=where, expected="calls of self.net", got=f"none in {recorder.batches} batches", remedy=remedy
            )
        # One mapping for each loader; their names differ. A task's own begin with the part.
        prefix = "test_" if isinstance(module, Task) else ""
        return {name.removeprefix(prefix): value for each in logged for name, value in each.items()}, recorder.record()

    return figures


def _calibrated_only(run: Run, calibration: Samples, plain: nn.Module) -> nn.Module:
    """The float network calibrated and exported without any quantized training, on the device."""
    example: Any = run.module.example_input_array
    network = quantize_after_training(plain, calibration, run.qat.config, example=example)
    graph = integer_graph(network)
    return DeviceNetwork(graph, write_tflite(graph), like=network_of(run.module))
