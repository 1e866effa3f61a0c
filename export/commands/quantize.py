"""``qtorch quantize CKPT --data DATA --out DIR``: a float network that anybody trained, quantized without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from export.bundle.bundle import Bundle
from export.bundle.outcome_page import whole_page
from export.calls.network import export_network
from export.command_line.declared import with_listed
from export.command_line.invocation import program
from export.console.page import Line
from export.console.terminal import show
from export.figures.handed_over import output_shapes, samples_of
from export.float_networks.checkpoint import float_network
from export.float_networks.data import Pair, data_of
from export.float_networks.named import options_below
from export.options import ExportOptions
from qtorch.config import QuantizationConfig
from qtorch.errors import BadConfiguration, BadData
from qtorch.lightning.classification import Classification, classification_metrics
from qtorch.lightning.command_line.help_sections import SectionedParser
from qtorch.lightning.regression import Regression, regression_metrics
from qtorch.progress import in_lines, stage

__all__ = ["quantize_command"]

#: Options that have others below them, which are arguments of what they name.
_WITH_ARGUMENTS = ("model", "data", "test")


def quantize_command(arguments: Sequence[str]) -> None:
    """Quantize the float network of a checkpoint, and export it.

    Raises:
        BadInput: the checkpoint, the data, the options or the folder are no good.
        ParityError: a comparison that must be exact is not.
    """
    words, below = options_below(arguments, _WITH_ARGUMENTS)
    asked = _parser().parse_args(words)
    out = _folder(asked.out)
    options = _options(asked.export)
    config = QuantizationConfig(**_plain(asked.qat))
    with in_lines(), stage("opening the checkpoint"):
        read = float_network(Path(asked.checkpoint), asked.model, below["model"])
    with in_lines(), stage("reading the data"):
        calibration = _fitting("--data", data_of("--data", asked.data, below["data"], read.net), read.net)
        test = None
        if asked.test is not None:
            test = _fitting("--test", data_of("--test", asked.test, below["test"], read.net), read.net)
            _require_targets(test, asked.test)
    with in_lines():
        bundle = _exported(read.net, out, asked.name, calibration, test, config, options)
    notes = (*read.remarks, *calibration.remarks)
    show((Line(), *(Line(note, "attention") for note in notes), Line(), *whole_page(bundle)))


def _folder(written: str) -> Path:
    if not written.strip():
        raise BadConfiguration(
            where="--out", expected="the name of a folder", got="nothing", remedy="say where the files shall lie"
        )
    return Path(written)


def _parser() -> SectionedParser:
    parser = SectionedParser(
        prog=program("quantize"),
        description="Quantize a float network that was trained elsewhere, without training, and export it.",
        epilog="""CKPT: a Lightning checkpoint of any module; torch.save of a network, of its state_dict, or of a dict
with either; SafeTensors. What it and --model name is imported, so trust it.
DATA: numbers in .npy, .npz (x and y), .pt or .csv; my_package.MyData, a LightningDataModule or
Dataset; or my_package:function. Arguments of a class or function stand below its option, as in
--model.width 8.
example: %(prog)s net.pt --data train.npz --test test.npz --out build/net --export.c""",
    )
    parser.add_argument("checkpoint", type=str, metavar="CKPT", help="file of the float network")
    parser.add_argument("--data", type=str, required=True, metavar="DATA", help="inputs like those of training")
    parser.add_argument("--test", type=str | None, metavar="DATA", help="inputs and targets that nobody trained on")
    parser.add_argument("--model", type=str | None, metavar="CLASS", help="of the network, where the file has weights")
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help="folder for the artefacts")
    parser.add_argument("--name", type=str | None, help="of the model and its files (default: the last part of --out)")
    parser.add_class_arguments(QuantizationConfig, "qat")
    # Nothing else is done here.
    parser.add_class_arguments(ExportOptions, "export", skip={"post_training"})
    with_listed(parser, ExportOptions, "export")
    return parser


def _options(asked: Any) -> ExportOptions:
    chosen = _plain(asked)
    return ExportOptions(**chosen, post_training=chosen["format"] == "int8")


def _plain(asked: Any) -> dict[str, Any]:
    return dict(asked.as_dict()) if hasattr(asked, "as_dict") else dict(vars(asked))


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


def _exported(
    net: nn.Module, out: Path, name: str | None, calibration: Pair, test: Pair | None, config: QuantizationConfig,
    options: ExportOptions,
) -> Bundle:  # fmt: skip
    figures, better = (None, None) if test is None else _figures(net, test)
    return export_network(
        net, out, name=name, calibration=calibration.inputs,
        test=None if test is None else (test.inputs, test.targets), figures=figures, better=better, config=config,
        options=options,
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
