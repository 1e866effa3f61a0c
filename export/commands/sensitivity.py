"""``python -m export sensitivity CHECKPOINT``: what each layer's quantization costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from export.command_line.reader import POSITIONAL, read_options
from export.console.terminal import show
from export.figures.sensitivity import layer_costs, sensitivity_table
from qtorch.post_training.steps import quantize_after_training

__all__ = ["SensitivityOptions", "sensitivity_command"]


@dataclass(frozen=True)
class SensitivityOptions:
    """Quantize the float network of a checkpoint one layer at a time, calibrated and not trained, and print what each
    layer costs. To spare a layer, set --qat.layers in training, for example to {"NAME": {"activations": "int16"}} or
    {"NAME": {"skip": true}}.

    Example:
        qtorch sensitivity build/kws/kws.ckpt
        qtorch sensitivity build/kws/kws.ckpt --bits 4

    Attributes:
        checkpoint: written by training; its classes are imported, so trust it.
        bits: of the weights, instead of the checkpoint's.
    """

    checkpoint: Annotated[Path, POSITIONAL]
    bits: Literal[8, 4] | None = None


def sensitivity_command(arguments: Sequence[str]) -> None:
    """Print a table of layers, the dearest first.

    Raises:
        BadInput: the checkpoint can't be read, or its data are gone.
    """
    asked = read_options(SensitivityOptions, arguments, "sensitivity")
    # Lightning takes seconds to import, which the help has no need of.
    from export.lightning_run.subject import subject_of
    from qtorch.lightning.checkpoint import load_run

    subject = subject_of(load_run(asked.checkpoint))
    networks, inputs, evaluation = subject.networks, subject.inputs, subject.evaluation
    config = networks.config if asked.bits is None else replace(networks.config, weight_bits=asked.bits)
    calibration, tested = inputs["train"], inputs["test"]
    network = quantize_after_training(networks.float_network(), calibration, config, example=networks.example)
    judged = evaluation.of_outputs
    if judged is not None:
        costs, columns = layer_costs(network, judged.inputs, judged.figures), evaluation.columns
    else:
        costs, columns = layer_costs(network, tested), ()
    show([sensitivity_table(costs, columns)])
