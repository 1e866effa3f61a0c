"""``qtorch quantize CKPT --data DATA --out DIR``: a float network that anybody trained, quantized without training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from export.bundle.bundle import Bundle
from export.bundle.outcome_page import whole_page
from export.calls.network import export_network
from export.calls.terms import in_terms_of, on_a_command_line
from export.command_line.reader import FOLDER, POSITIONAL, read_options
from export.console.page import Line
from export.console.terminal import show
from export.figures.handed_over import output_shapes
from export.float_networks.checkpoint import float_network
from export.float_networks.data import Pair, data_of, parts_of
from export.float_networks.named import options_below
from export.options import ExportOptions
from qtorch.capture.call_form import tensors_in
from qtorch.capture.told_apart import inputs_taken
from qtorch.config import QuantizationConfig
from qtorch.errors import BadData
from qtorch.handed_over.tensors import samples_of
from qtorch.progress import in_lines, stage

__all__ = ["QuantizeExportOptions", "QuantizeOptions", "quantize", "quantize_command"]

#: Options that have others below them, which are arguments of what they name.
_WITH_ARGUMENTS = ("model", "data", "test")


@dataclass(frozen=True)
class QuantizeExportOptions(ExportOptions):
    """Options of an export without training.

    Attributes:
        post_training: always so here, of int8; a float format has no need of it.
        equalize: even out the sizes of channels between layers.
    """

    post_training: bool = True
    # Where nothing trains, it is what is tried first.
    equalize: bool = field(default=False, metadata={"first": True})

    def __post_init__(self) -> None:
        object.__setattr__(self, "post_training", self.format == "int8")
        super().__post_init__()


@dataclass(frozen=True)
class QuantizeOptions:
    """Quantize a float network that was trained elsewhere, without training, and export it.

    Example:
        qtorch quantize net.pt --data x.npy --out build/net
        qtorch quantize net.pt --model my_package.Net --model.width 8 --data x.npz --out build/net
        qtorch quantize run.ckpt --model my_package.Net --data x.npz --test t.npz --out build/run

    Attributes:
        checkpoint: a Lightning checkpoint of any module; torch.save of a network, of its state_dict, or of a dict with
            either; SafeTensors. What it names is imported, so trust it.
        data: inputs like those of training: numbers in .npy, .npz (x and y), .pt or .csv; my_package.MyData, a
            LightningDataModule or Dataset; or my_package:function.
        out: folder for the files.
        test: the same and targets, not trained on; a DataModule gives its own.
        model: class of the network or LightningModule, or my_package:function that makes it, where the file has
            weights alone; arguments stand below it, as in --model.width 8.
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
    quantize(read_options(QuantizeOptions, words, "quantize"), below)


def quantize(asked: QuantizeOptions, below: Mapping[str, Mapping[str, Any]]) -> None:
    """Quantize, export and print what came of it.

    Args:
        asked: what is asked for.
        below: arguments of the model, of the data and of the test, by these names.

    Raises:
        BadInput, ParityError: see :func:`quantize_command`.
    """
    with in_lines():
        with stage("opening the checkpoint"):
            read = float_network(asked.checkpoint, asked.model, below["model"])
        with stage("reading the data"):
            parts = parts_of("--data", asked.data, below["data"], read.net, tested=asked.test is None)
            calibration = _fitting("--data", parts.pair, read.net)
            test = parts.test
            if asked.test is not None:
                test = data_of("--test", asked.test, below["test"], read.net)
            if test is not None:
                test = _fitting("--test", test, read.net)
                _require_targets(test, asked.test or asked.data, read.net)
        bundle = _exported(read.net, asked, calibration, test)
    notes = (*read.remarks, *calibration.remarks, *_of_the_test(asked, below, calibration, test))
    show((Line(), *(Line(note, "attention") for note in notes), *whole_page(bundle)))


def _of_the_test(
    asked: QuantizeOptions, below: Mapping[str, Mapping[str, Any]], calibration: Pair, test: Pair | None
) -> Iterator[str]:
    """Where the test data came from, if nobody said so, and whether they are what was calibrated on."""
    if test is None:
        return
    yield from (f"test: {each}" for each in test.remarks if each not in calibration.remarks)
    if asked.test is None:
        yield f"tested on the test part of {asked.data}; --test DATA names other data"
    elif _one_file(asked.data, asked.test) and below["data"] == below["test"] and _equal(calibration, test):
        yield "the test data are the calibration data: figures on others may be worse; --test DATA names others"


def _one_file(data: str, test: str) -> bool:
    return data == test or (Path(data).exists() and Path(test).exists() and Path(data).samefile(test))


def _equal(calibration: Pair, test: Pair) -> bool:
    """Of a class, one name may give other data for each option."""
    of_both = (tensors_in(each.inputs) for each in (calibration, test))
    return all(torch.equal(one, other) for one, other in zip(*of_both, strict=True))


#: What the call's arguments are called here, and where they stand in what it says.
_TERMS = {"calibration": "--data", "targets of calibration": "--data", "test": "--test", "targets of test": "--test"}
_SPOKEN = r"\btargets of (?:calibration|test)\b|(?<=\bof )calibration\b|(?<=\bin )calibration\b"


def _fitting(option: str, pair: Pair, net: nn.Module) -> Pair:
    """The same as tensors that the network takes.

    Raises:
        BadInput: it does not take them, or they are no finite numbers.
    """
    fitting = replace(pair, inputs=samples_of(option, pair.inputs, net))
    output_shapes(net, fitting.inputs, option)
    return fitting


def _require_targets(test: Pair, path: str, net: nn.Module) -> None:
    """Refuse a test without targets, or with more or fewer of them than the network has outputs.

    Raises:
        BadData: so it is.
    """
    if test.targets is None:
        raise BadData(
            where=f"--test {path}", expected="inputs and targets, of which figures are made", got="inputs alone",
            remedy="write both: numpy.savez(path, x=inputs, y=targets)",
        )  # fmt: skip
    outputs = output_shapes(net, test.inputs, "--test")
    if len(outputs) == 1 and test.targets[0].numel() not in (1, math.prod(outputs[0])):
        raise BadData(
            where="--test", expected=f"a target for each output, {(len(test.targets), *outputs[0])}",
            got=f"{tuple(test.targets.shape)}",
            remedy="give targets of that shape; of a classifier, whole numbers, one a sample",
        )  # fmt: skip


def _exported(net: nn.Module, asked: QuantizeOptions, calibration: Pair, test: Pair | None) -> Bundle:
    takes = inputs_taken(net)
    with in_terms_of(_TERMS, _SPOKEN), on_a_command_line():
        return export_network(
            net, asked.out, name=asked.name, calibration=_handed_over(calibration, takes),
            test=None if test is None else _handed_over(test, takes), config=asked.qat, options=asked.export,
        )  # fmt: skip


def _handed_over(pair: Pair, takes: int | None) -> Any:
    """Inputs, and beside them targets: in a way in which one can't be taken for the other."""
    if pair.targets is None:
        return pair.inputs
    alone = takes is None and isinstance(pair.inputs, Tensor)
    return (pair.inputs,) if alone else pair.inputs, pair.targets
