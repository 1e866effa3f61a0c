"""``python -m export sensitivity CHECKPOINT``: what each layer's quantization costs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from export.commands.options import parsed
from export.console.terminal import show
from export.figures.sensitivity import layer_costs, sensitivity_table
from export.lightning_run.subject import subject_of
from qtorch.lightning.checkpoint import load_run
from qtorch.post_training.steps import quantize_after_training

__all__ = ["sensitivity_command"]


def sensitivity_command(arguments: Sequence[str]) -> None:
    """Print a table of layers, the dearest first.

    Raises:
        BadInput: the checkpoint can't be read, or its data are gone.
    """
    parser = argparse.ArgumentParser(
        prog="python -m export sensitivity",
        description="Quantize the float network of a checkpoint one layer at a time, calibrated and not trained, and "
        "print what each layer costs. To spare a layer, set --qat.layers in training, for example to "
        '{"NAME": {"activations": "int16"}} or {"NAME": {"skip": true}}.',
    )
    parser.add_argument("checkpoint", type=Path, help="written by training; its classes are imported, so trust it")
    parser.add_argument("--bits", type=int, choices=(8, 4), help="of the weights (default: the checkpoint's)")
    asked = parsed(parser, arguments)
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
