"""``qtorch quantize CKPT --data DATA --out DIR``: a float network that anybody trained, quantized without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor, nn

from export.bundle.bundle import Bundle
from export.bundle.outcome_page import whole_page
from export.calls.network import export_network
from export.command_line.reader import FOLDER, POSITIONAL, read_options
from export.console.page import Line
from export.console.terminal import show
from export.figures.handed_over import output_shapes
from export.float_networks.checkpoint import float_network
from export.float_networks.data import Pair, data_of
from export.float_networks.named import options_below
from export.options import ExportOptions
from qtorch.config import QuantizationConfig
from qtorch.errors import BadData
from qtorch.handed_over.tensors import samples_of
from qtorch.lightning.classification import Classification, classification_metrics
from qtorch.lightning.regression import Regression, regression_metrics
from qtorch.progress import in_lines, stage

__all__ = ["QuantizeExportOptions", "QuantizeOptions", "quantize_command"]

#: Options that have others below them, which are arguments of what they name.
_WITH_ARGUMENTS = ("model", "data", "test")


@dataclass(frozen=True)
class QuantizeExportOptions(ExportOptions):
    """Options of an export without training.

    Attributes:
        post_training: always so here, of int8; a float format has no need of it.
    """

    post_training: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "post_training", self.format == "int8")
        super().__post_init__()


@dataclass(frozen=True)
class QuantizeOptions:
    """Quantize a float network that was trained elsewhere, without training, and export it.

    Example:
        qtorch quantize net.pt --data x.npy --out build/net
        qtorch quantize net.pt --model my_package.MyNet --model.width 8 --data x.npz --test t.npz --out build/net
        qtorch quantize run.ckpt --model my_package.MyModule --data my_package.MyData --data.count 500 --out build/run

    Attributes:
        checkpoint: a Lightning checkpoint of any module; torch.save of a network, of its state_dict, or of a dict with
            either; SafeTensors. What it names is imported, so trust it.
        data: inputs like those of training: numbers in .npy, .npz (x and y), .pt or .csv; my_package.MyData, a
            LightningDataModule or Dataset; or my_package:function.
        out: folder for the files.
        test: the same of inputs and targets that were not trained on.
        model: class of the network or LightningModule, or my_package:function that makes it, where the file has
            weights alone; its arguments stand below it, as in --model.width 8.
        name: of the model and its files, instead of the last part of the folder's.
        qat: how it is quantized.
        export: what is exported, and how.
    """

    checkpoint: Annotated[Path, POSITIONAL]
    data: str
    out: Annotated[Path, FOLDER]
    test: str | None = None
    model: str | None = None
    name: str | None = None
    qat: QuantizationConfig = field(default_factory=QuantizationConfig)
    export: QuantizeExportOptions = field(default_factory=QuantizeExportOptions)


def quantize_command(arguments: Sequence[str]) -> None:
    """Quantize the float network of a checkpoint, and export it.

    Raises:
        BadInput: the checkpoint, the data, the options or the folder are no good.
        ParityError: a comparison that must be exact is not.
    """
    words, below = options_below(arguments, _WITH_ARGUMENTS)
    asked = read_options(QuantizeOptions, words, "quantize")
    with in_lines():
        with stage("opening the checkpoint"):
            read = float_network(asked.checkpoint, asked.model, below["model"])
        with stage("reading the data"):
            calibration = _fitting("--data", data_of("--data", asked.data, below["data"], read.net), read.net)
            test = None
            if asked.test is not None:
                test = _fitting("--test", data_of("--test", asked.test, below["test"], read.net), read.net)
                _require_targets(test, asked.test)
        bundle = _exported(read.net, asked, calibration, test)
    notes = (*read.remarks, *calibration.remarks)
    show((Line(), *(Line(note, "attention") for note in notes), *whole_page(bundle)))


def _fitting(option: str, pair: Pair, net: nn.Module) -> Pair:
    """The same as tensors that the network takes.

    Raises:
        BadInput: it does not take them, or they are no finite numbers.
    """
    fitting = replace(pair, inputs=samples_of(option, pair.inputs))
    output_shapes(net, fitting.inputs, option)
    return fitting


def _require_targets(test: Pair, path: str) -> None:
    if test.targets is None:
        raise BadData(
            where=f"--test {path}", expected="inputs and targets, of which figures are made", got="inputs alone",
            remedy="write both: numpy.savez(path, x=inputs, y=targets)",
        )  # fmt: skip


def _exported(net: nn.Module, asked: QuantizeOptions, calibration: Pair, test: Pair | None) -> Bundle:
    figures, better = (None, None) if test is None else _figures(net, test)
    return export_network(
        net, asked.out, name=asked.name, calibration=calibration.inputs,
        test=None if test is None else (test.inputs, test.targets), figures=figures, better=better, config=asked.qat,
        options=asked.export,
    )  # fmt: skip


def _figures(net: nn.Module, test: Pair) -> tuple[Callable[[Any, Any, Tensor], Mapping[str, float]], Mapping[str, Any]]:
    """What a network is judged by: whole numbers, one for each sample of several outputs, are classes."""
    targets = test.targets
    assert targets is not None
    outputs = output_shapes(net, test.inputs, "--test")
    scores = len(outputs) == 1 and len(outputs[0]) == 1 and outputs[0][0] > 1
    if scores and not targets.is_floating_point() and targets.numel() == len(targets):
        return _classes, Classification.better
    return _numbers, Regression.better


def _classes(_inputs: Any, output: Tensor, target: Tensor) -> Mapping[str, float]:
    """Figures of a classifier.

    Raises:
        BadData: a target is no class.
    """
    classes = output.shape[1]
    if not 0 <= int(target.min()) <= int(target.max()) < classes:
        raise BadData(
            where="--test", expected=f"classes from 0 to {classes - 1}, as the network has {classes} outputs",
            got=f"whole numbers from {int(target.min())} to {int(target.max())}",
            remedy="count classes from 0; write targets that are no classes as floats",
        )  # fmt: skip
    return classification_metrics(output, target.flatten())


def _numbers(_inputs: Any, output: Tensor, target: Tensor) -> Mapping[str, float]:
    """Figures of numbers.

    Raises:
        BadData: there are more or fewer targets than outputs.
    """
    if output.numel() != target.numel():
        raise BadData(
            where="--test", expected=f"a target for each output, {tuple(output.shape)}", got=f"{tuple(target.shape)}",
            remedy="give targets of that shape; of a classifier, whole numbers, one a sample",
        )  # fmt: skip
    return regression_metrics(output, target)
