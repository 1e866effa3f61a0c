"""The bundle of a network with float activations: written, judged node by node, measured, described."""

from __future__ import annotations

from export.boards import board
from export.bundle.attempted import Attempted
from export.bundle.bundle import Bundle
from export.bundle.editions import where_chosen
from export.bundle.float_formats import float_files
from export.bundle.metrics import Measured, float_metrics, json_bytes
from export.faults.avoided import refusal
from export.faults.found import faults_in
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
    _require_edition(written.files[f"{name}.tflite"], options)
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


def _require_edition(model: bytes, options: ExportOptions) -> None:
    """Of float32 alone: what no TFLite Micro runs is for LiteRT."""
    if options.format == "float32" and options.runs_tflm:
        found = faults_in(model, options.edition, board(options.target).cpu)
        if found:
            raise refusal(found, options.edition, where_chosen(options))
