"""The bundle of a network with float activations: written, judged node by node, measured, described."""

from __future__ import annotations

from export.boards import board
from export.bundle.attempted import Attempted
from export.bundle.bundle import Bundle
from export.bundle.editions import require_edition
from export.bundle.float_formats import float_files
from export.bundle.metrics import Measured, float_metrics, json_bytes
from export.figures.judgement import judgement
from export.figures.subject import Subject
from export.graph.build import FloatFormat
from export.html.facts import facts_of
from export.html.page import page
from export.options import ExportOptions
from qtorch.progress import stage

__all__ = ["float_bundle"]


def float_bundle(
    subject: Subject, name: str, options: ExportOptions, kind: FloatFormat, checkpoint: bytes | None,
    attempted: Attempted,
) -> Bundle:  # fmt: skip
    """Export the float network in a float format.

    Args:
        subject: what it is made of.
        name: of the model, a C identifier.
        options: how to export.
        kind: their format.
        checkpoint: the file that the networks are kept in, if they are in one.
        attempted: what nobody asked for by name.

    Raises:
        ParityError: a node computes something else than its float function.
        BadConfiguration: the network can't be exported.
        UnsupportedByEdition: the board's TFLite Micro has an op not yet, or takes other numbers of a tensor.
    """
    with stage("writing the file, comparing every op with its float function, taking test figures"):
        written = float_files(subject, name, kind, options.input_layout, options.equalize)
    if options.format == "float32":
        # What no TFLite Micro runs is for LiteRT.
        require_edition(written.files[f"{name}.tflite"], options)
    files, test, model = dict(written.files), written.test, written.files[f"{name}.tflite"]
    measured = Measured(kind, test, judgement(subject, test, kind))
    metrics = float_metrics(
        subject, kind, model, written.layouts, measured, board(options.target), checkpoint, attempted
    )
    report = page(facts_of(subject, name, metrics, written.parity, records=measured.records)).encode()
    files |= {
        "metrics.json": json_bytes(metrics), "parity.json": json_bytes(written.parity), "report.html": report,
    }  # fmt: skip
    return Bundle(name, files, metrics, None, 0, verdict=measured.verdict, options=options)
