"""The bundle of an int8 network: quantized, written, proven, measured, described."""

from __future__ import annotations

from typing import Any

from torch import fx

from export.boards import Board, board
from export.bundle.attempted import Attempted
from export.bundle.bundle import Bundle
from export.bundle.device_headers import c_headers, device_headers
from export.bundle.editions import edition_figures, editions_of
from export.bundle.int8_files import Int8Files, int8_files
from export.bundle.manifest import TIMINGS
from export.bundle.metrics import Measured, int8_metrics, json_bytes
from export.bundle.phases import Phases
from export.bundle.proof import proof
from export.cost.board_cost import board_cost, counted_in_words
from export.cost.board_share import BoardShare, in_lines
from export.cost.choice_cost import choice_costs
from export.device.firmware_project import firmware_project
from export.figures.judgement import as_good_as_its_weights, judgement
from export.figures.quantization_report import csv_text, network_report
from export.figures.stages import stage_figures
from export.figures.subject import Subject
from export.html.facts import facts_of
from export.html.page import page
from export.options import ExportOptions
from qtorch.errors import BadConfiguration
from qtorch.network.calibration import quantizers
from qtorch.network.quantized_network import QuantizedNetwork
from qtorch.post_training.steps import PostTraining, quantize_after_training

__all__ = ["int8_bundle"]


def int8_bundle(
    subject: Subject, name: str, options: ExportOptions, checkpoint: bytes | None, attempted: Attempted
) -> Bundle:
    """Export a network as integers.

    Args:
        subject: what it is made of.
        name: of the model, a C identifier.
        options: how to export.
        checkpoint: the file that the networks are kept in, if they are in one.
        attempted: what nobody asked for by name.

    Raises:
        ParityError: a comparison that must be exact is not.
        UnsupportedByEdition: the board's TFLite Micro, which was asked for, computes something otherwise, or refuses
            it, in every form.
        NotFinite, BadConfiguration: the network can't be exported.
        BadData: post-training quantization without training data.
    """
    target = board(options.target)
    phases = Phases(_phase_count(options, target), dict(subject.history.seconds))
    with phases.together():
        return _bundle(subject, name, options, checkpoint, attempted, target, phases)


def _phase_count(options: ExportOptions, target: Board) -> int:
    return 7 + options.post_training + _counts(options, target)


def _counts(options: ExportOptions, target: Board) -> bool:
    """Whether one inference is to be counted on an emulated machine."""
    return options.writes_c and target.cpu != "host"


def _bundle(
    subject: Subject, name: str, options: ExportOptions, checkpoint: bytes | None, attempted: Attempted, target: Board,
    phases: Phases,
) -> Bundle:  # fmt: skip
    network = _quantized(subject, options, phases)
    files = int8_files(subject, network, name, target, options, phases, attempted)
    options = files.options
    proven = proof(name, files, network, subject.inputs, target, options.forms, phases, attempted)
    measured = _measured(subject, network, files, target, options, phases)
    project = options.firmware is not None and "firmware" not in attempted.left_out
    editions = editions_of(files.file.data, target.cpu)
    proof_as_json = {**proven.report.as_json(), "edition": options.edition.name, "editions": editions}
    if files.file.plan:
        proof_as_json["arena_plan"] = files.file.plan.words
    metrics = int8_metrics(subject, files, proven, measured, target, project, checkpoint, attempted)
    metrics["tflm"] = edition_figures(options.edition, files.avoided, editions)
    with phases("writing the report, with what each layer costs"):
        if "tflm" in attempted.left_out:
            headers = c_headers(name, files.graph, files.layouts, subject.ends.interface, proven.codes)
        else:
            headers = device_headers(name, files, subject.ends.interface, proven.codes, options.edition)
        facts = facts_of(
            subject, name, metrics, proof_as_json, files.graph, network, _tested(subject), measured.errors,
            options.input_layout, measured.records, files.c.network if files.c else None,
        )  # fmt: skip
        report = page(facts).encode()
    texts = {**(files.c.files if files.c else {}), **headers}
    contents = {
        f"{name}.tflite": files.file.data,
        **({} if options.strip else {f"{name}_named.tflite": files.file.named}),
        **{file: content for form in proven.forms.values() for file, content in form.files.items()},
        **{file: text.encode() for file, text in texts.items()},
        **({} if _tested(subject) is None else {"quantization_report.csv": csv_text(measured.errors).encode()}),
        "metrics.json": json_bytes(metrics),
        "parity.json": json_bytes(proof_as_json),
        # Of all files the one that differs from one export to the next.
        TIMINGS: json_bytes({"seconds": {phase: round(spent, 3) for phase, spent in phases.seconds.items()}}),
        "report.html": report,
    }
    figures = (
        *in_lines([BoardShare(**share) for share in metrics["shares"]]),
        counted_in_words((measured.counted or {}).get("inference", {})),
    )
    firmware = {}
    if project:
        firmware = firmware_project(name, contents, target, files.layouts, figures, options.edition)
    lines = tuple(form.line for form in proven.forms.values())
    return Bundle(
        name,
        contents,
        metrics,
        proven.report,
        files.file.arena_bytes,
        firmware,
        measured.verdict,
        lines,
        options=options,
    )


def _tested(subject: Subject) -> Any:
    return subject.inputs.get("test")


def _quantized(subject: Subject, options: ExportOptions, phases: Phases) -> fx.GraphModule:
    """The trained network, or the float one quantized without training."""
    networks = subject.networks
    if not options.post_training:
        return _with_ranges(subject)
    with phases("quantizing without training, on the training data", "post_training"):
        steps = PostTraining(options.equalize, options.correct_biases, options.round_adaptively)
        return quantize_after_training(
            networks.float_network(), subject.inputs["train"], networks.config, steps, networks.example
        )


def _with_ranges(subject: Subject) -> fx.GraphModule:
    """The trained network, seen that quantized training had begun, before anything takes time.

    Raises:
        BadConfiguration: the network has not been prepared, or its ranges were never measured.
    """
    network = subject.networks.trained
    ranges = quantizers(network)
    try:
        for quantizer in ranges.values():
            quantizer.qparams()
    except BadConfiguration as error:
        raise subject.networks.uncalibrated from error
    if not ranges or not isinstance(network, fx.GraphModule):
        raise subject.networks.unprepared
    return network


def _measured(
    subject: Subject, network: fx.GraphModule, files: Int8Files, target: Board, options: ExportOptions, phases: Phases
) -> Measured:
    """What the network takes on the board, what it loses on the data, and whether to ship it."""
    counted: dict[str, Any] = {}
    if _counts(options, target):
        with phases(f"counting one inference on the processor of {target.name}", "counting"):
            if files.c is not None:
                counted = {"inference": board_cost(files.plain, target, options.optimize, limits=files.c.limits)}
    tested = _tested(subject)
    # What was quantized without training is told so, whether here or before it was handed over.
    chosen = network if isinstance(network, QuantizedNetwork) and network.post_training else None
    with phases("taking test figures: float, post-training, quantized, on the device"):
        test = stage_figures(subject, files.graph, files.int8_model, chosen)
    stage = "qat_int8" if chosen is None else "post_training_int8"
    verdict, networks = judgement(subject, test, stage), subject.networks
    harmless = as_good_as_its_weights(verdict, networks.float_name)
    with phases("measuring what each tensor loses"):
        errors = (
            ()
            if tested is None
            else network_report(network, files.plain, tested, options.input_layout, files.titles, harmless, files.final)
        )
    with phases("comparing sizes with those of the default choices"):
        choices = choice_costs(
            files.plain, network, options, target, networks.config, networks.float_network, subject.inputs.get("train"),
            networks.example,
        )  # fmt: skip
    return Measured(stage, test, verdict, errors, choices, counted)
