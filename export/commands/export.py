"""``python -m export CHECKPOINT --out DIR``: everything that a trained network's firmware is built from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from export.boards import BOARDS
from export.bundle.outcome_page import whole_page
from export.calls.checkpoint import export_checkpoint
from export.commands.options import BOOLEAN, folder, parsed
from export.console.terminal import show
from export.forms import FORMS
from export.options import ExportOptions

__all__ = ["export_command"]

#: What ``--help`` says of the steps of quantization without training, and of the other commands.
_OTHERS = """other commands, which all have --help:
  python -m export verify MODEL.tflite [--against CHECKPOINT]   repeat the parity check of a file
  python -m export sensitivity CHECKPOINT                       what each layer's quantization costs
  python -m export summary MODEL.tflite                         what stands in a file
  python -m export profile MODEL.tflite                         what an inference takes
  python -m export compare CHECKPOINT                           what other engines and converters say
  python -m export support                                      what can be exported"""

_WITHOUT_TRAINING = {
    "post_training": "export the float network that quantized training started from, calibrated and not trained on",
    "equalize": "with it, or with a float format: even out the sizes of channels between layers",
    "correct_biases": "with it: take the mean error of each layer's outputs off its biases",
    "round_adaptively": "with it: choose for each weight whether it is rounded up or down (AdaRound)",
}


def export_command(arguments: Sequence[str]) -> None:
    """Export a checkpoint.

    Raises:
        BadInput: the checkpoint, the options or the folders are no good.
        ParityError: a comparison that must be exact is not.
    """
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Export a trained checkpoint: model, parity, headers, figures.",
        epilog=_OTHERS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="written by training; its classes are imported, so trust it")
    parser.add_argument("--out", type=folder, required=True, help="folder for the artefacts")
    parser.add_argument("--name", help="name of the model and its files (default: the task's)")
    formats = ("int8", "float32", "float16", "dynamic_range")
    parser.add_argument("--export.format", dest="format", choices=formats, default="int8")
    for step, does in _WITHOUT_TRAINING.items():
        parser.add_argument(f"--export.{step}", dest=step, **BOOLEAN, help=does)
    parser.add_argument("--export.io", dest="io", choices=("int8", "float32"), default="int8")
    parser.add_argument("--export.input_layout", dest="input_layout", choices=("nhwc", "nchw"), default="nhwc")
    parser.add_argument("--export.c", dest="c", **BOOLEAN, help="also write plain C: NAME_model.{h,c}")
    parser.add_argument("--export.optimize", dest="optimize", choices=("size", "speed"), default="size")
    parser.add_argument("--export.strip", dest="strip", **BOOLEAN, help="leave out NAME_named.tflite")
    parser.add_argument("--export.metadata", dest="metadata", **BOOLEAN, help="say in the file what it is")
    parser.add_argument("--export.version", dest="version", default="", help="of the model, for the metadata")
    parser.add_argument(
        "--export.firmware", dest="firmware", type=Path, help="folder for a ready project for the target"
    )
    parser.add_argument("--export.target", dest="target", default="host", help=f"a board: {', '.join(BOARDS)}")
    for form in FORMS.values():
        parser.add_argument(f"--export.{form.option}", dest=form.option, **BOOLEAN, help=form.help)
    asked = parsed(parser, arguments)
    options = ExportOptions(**{field.name: getattr(asked, field.name) for field in fields(ExportOptions)})
    show(whole_page(export_checkpoint(asked.checkpoint, asked.out, name=asked.name, options=options)))
