"""A network that any loop trained, or none, exported by one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, Literal

from torch import Tensor, nn

from export.bundle.attempted import Attempted
from export.bundle.bundle import Bundle
from export.bundle.folder import probe_export, temporary_files, write_bundle
from export.bundle.make import make_bundle
from export.calls.choices import Choice, everything, names_of_choices, options_of
from export.calls.network_forms import copied, network_of_call
from export.calls.terms import in_arguments, in_terms_of
from export.figures.handed_over import task_name
from export.figures.subject import subject_of_networks
from export.options import ExportOptions
from qtorch.arguments import spelt
from qtorch.config import QuantizationConfig
from qtorch.errors import BadConfiguration
from qtorch.features import Interface
from qtorch.handed_over.data import Data, data_of
from qtorch.handed_over.named_folder import named_folder
from qtorch.network.quantized_network import QuantizedNetwork
from qtorch.progress import in_lines, stage

__all__ = ["export_network"]

#: Of a model that nobody named, nor its folder.
_UNNAMED = "model"


@in_arguments()
@spelt(names_of_choices)
def export_network(
    network: nn.Module,
    out: str | PathLike[str] | None = None,
    *,
    name: str | None = None,
    calibration: Any,
    test: Any = None,
    figures: Callable[[Any, Any, Tensor], Mapping[str, float]] | None = None,
    better: Mapping[str, Literal["higher", "lower"]] | None = None,
    float_network: nn.Module | None = None,
    interface: Interface | None = None,
    class_names: Sequence[str] = (),
    config: QuantizationConfig | None = None,
    target: str = "host",
    options: ExportOptions | None = None,
    **choices: Any,
) -> Bundle:
    """The whole bundle of a network: model, headers, plain C, ONNX, firmware project, report; verified, and written.

    Example:
        >>> bundle = export.export_network(
        ...     qat, "build/kws", calibration=x, test=(x_test, y_test), target="nano33ble"
        ... )
        >>> bundle.verdict.answer, len(bundle.model)
        ('ship', 24576)

    Without ``options`` everything is made: plain C, ONNX where its packages are installed, a project for ``target`` in
    ``out/project``. What of that can't be had is left out, and ``bundle.left_out`` says why: of a network that the
    board's TFLite Micro computes otherwise, plain C stays. What is named in ``choices`` and can't be had is refused.

    Args:
        network: prepared, calibrated, and trained by any loop; or what :func:`qtorch.quantize` gave; or a float
            network, which is quantized without training. Left as it is.
        out: folder for the files, made if need be; ``None``: they are made in memory alone.
        name: of the model and its files; the last part of ``out`` if ``None``.
        calibration: training inputs: a tensor, an array, a tuple of a network's several, a list of batches, a
            DataLoader or Dataset. With targets, as in ``(x, y)`` or in a loader's batches, a straight line is compared.
        test: inputs and targets that were not trained on, in the same forms.
        figures: of test inputs, the network's outputs and the targets, all samples together: figures by name, the most
            telling first, each a number, or a tensor ``[N]`` of what samples add, whose mean it is, which a verdict can
            compare. ``None``: accuracy where targets are classes, errors and R2 where they are of the outputs' shape.
        better: which of them are better the higher, and which the lower.
        float_network: that ``network`` was prepared from, as a copy from before quantized training.
        interface: names, units and scaling of inputs and outputs.
        class_names: of a classifier, one for each output.
        config: how to quantize a float network.
        target: a board of :data:`export.BOARDS`; ``host`` stands for any.
        options: of the export, in place of everything.
        choices: fields of :class:`~export.options.ExportOptions`.

    Raises:
        UnknownArgument: an argument or a choice is unknown, or one is missing; names the nearest.
        BadInput: the network, the data, the options or the folder are no good.
        ParityError: a comparison that must be exact is not; nothing is written.
    """
    folder = None if out is None else named_folder("out", out)
    called = task_name(name if name is not None else _UNNAMED if folder is None else folder.absolute().name)
    net = network_of_call(network, float_network, config)
    prepared = net if isinstance(net, QuantizedNetwork) else None
    named = ({} if target == "host" else {"target": target}) | choices
    if prepared is None and options is None and named.get("format", "int8") == "int8":
        named = {"post_training": True} | named
    choice = everything(folder, named) if options is None else Choice(options_of(options, named), Attempted())
    if prepared is None and choice.options.format == "int8" and not choice.options.post_training:
        raise BadConfiguration(
            where="post_training", expected="True of a float network, which is quantized without training",
            got="False" if options is None else "options without it",
            remedy="pass post_training=True, or prepare the network, train it, and pass that",
        )  # fmt: skip
    if folder is not None:
        probe_export(folder, choice.options, called)
    before = net if prepared is None else None if float_network is None else copied("float_network", float_network)
    with in_lines(), stage("reading the data"):
        training = data_of("calibration", calibration, net)
        tested = Data(None, None) if test is None else data_of("test", test, net)
    with in_terms_of(_TERMS, _SPOKEN):
        subject = subject_of_networks(
            called, prepared, before, training.inputs, training.targets, tested.inputs, tested.targets, figures,
            better, interface, class_names, config,
        )  # fmt: skip
    remarks = tuple(filter(None, (training.remark, tested.remark)))
    subject = replace(subject, inputs=replace(subject.inputs, remarks=remarks))
    with in_lines(), temporary_files(), in_terms_of(_TERMS, _SPOKEN):
        bundle = make_bundle(subject, called, choice.options, attempted=choice.attempted)
    if folder is None:
        return bundle
    kept = write_bundle(bundle, folder, choice.options.firmware if bundle.firmware else None)
    return replace(bundle, out=folder, kept=kept)


#: What arguments of :func:`export.figures.subject.subject_of_networks` are called here.
_TERMS = {
    "inputs": "calibration",
    "targets": "targets of calibration",
    "test_inputs": "test",
    "test_targets": "targets of test",
    "test_figures": "figures",
    "better": "better",
}
_SPOKEN = r"\b(test_inputs|test_targets|test_figures|(?<=sample of )inputs|(?<=in )inputs)\b"
