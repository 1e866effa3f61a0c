"""Everything a firmware build needs, made in memory and verified; :mod:`export.bundle.folder` writes it.

A bundle is a mapping from file name to bytes. Nothing touches the output folder until every check has passed.
"""

from __future__ import annotations

from export.bundle.attempted import Attempted
from export.bundle.bundle import Bundle
from export.bundle.float_bundle import float_bundle
from export.bundle.int8_bundle import int8_bundle
from export.c_language.names import c_identifier
from export.figures.handed_over import task_name
from export.figures.subject import Subject
from export.options import ExportOptions

__all__ = ["make_bundle"]


def make_bundle(
    subject: Subject, name: str, options: ExportOptions, checkpoint: bytes | None = None,
    attempted: Attempted | None = None,
) -> Bundle:  # fmt: skip
    """Export a trained network and verify it.

    Args:
        subject: what the export is made of. Where its data can't be had, what needs them is left out, and
            ``metrics["left_out"]`` says what and why.
        name: of the model; becomes a C identifier.
        options: how to export.
        checkpoint: the file that the networks are kept in, if they are in one: the report has its hash.
        attempted: what of the options nobody asked for by name; ``None``: all was asked for.

    Raises:
        ParityError: a comparison that must be exact is not.
        NotFinite, BadConfiguration: the network can't be exported, or the name is no text.
        BadData: post-training quantization without training data.
    """
    name = c_identifier(task_name(name))
    if options.format == "int8":
        return int8_bundle(subject, name, options, checkpoint, attempted or Attempted())
    return float_bundle(subject, name, options, options.format, checkpoint, attempted or Attempted())
