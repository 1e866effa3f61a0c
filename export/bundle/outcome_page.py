"""What an export says at its end, and what a check of a file says: figures of the stages, and who agrees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.bundle.manifest import manifest_file
from export.console.page import Block, Line, Table
from export.cost.board_share import BoardShare, in_lines
from export.cost.choice_cost import ChoiceCost, in_a_sentence
from export.engines import tflm_absent
from export.figures.kernel_choice import kernels_in_words
from export.figures.left_out import in_sentences
from export.figures.output_columns import column_table
from export.figures.provenance import day
from export.figures.quantization_advice import FEW_STEPS
from export.figures.stage_names import stage_name
from export.figures.verdict import OUTCOMES, Verdict
from export.figures.working_memory import working_memory
from export.interface.tensor_code import summary
from export.interface.tensor_layout import TensorLayout
from export.options import ExportOptions
from export.parity.outputs import EngineParity, NotRun, shown_share

if TYPE_CHECKING:
    from export.bundle.bundle import Bundle

__all__ = ["agreement_table", "outcome_page", "verdict_page", "whole_page", "written_page"]


def whole_page(bundle: Bundle) -> Iterator[Block]:
    """All that is said of an export: what it reaches, where it was written, if it was, and whether to ship it."""
    yield from outcome_page(bundle)
    yield from written_page(bundle, bundle.out, bundle.options)


def outcome_page(bundle: Bundle) -> Iterator[Block]:
    """Test figures of every stage, sizes, and what the parity check found; findings are marked."""
    test = bundle.metrics["test"]
    if test:
        columns = bundle.metrics["columns"] or list(test["float"])
        rows = tuple(
            (stage_name(stage, bundle.metrics["float_network"]), *(_figure(figures[column]) for column in columns))
            for stage, figures in test.items()
        )
        yield Table(("test set", *columns), "l" + "r" * len(columns), rows, "what each stage reaches")
    if bundle.metrics.get("unknown_columns"):
        named = ", ".join(map(repr, bundle.metrics["unknown_columns"]))
        yield Line(f"columns name {named}, which no test logs: correct the names", "attention")
    for sentence in in_sentences(bundle.metrics.get("left_out", {})):
        yield Line(sentence, "attention")
    if "outputs" in bundle.metrics:
        yield Line()
        yield column_table(bundle.metrics["outputs"], FEW_STEPS)
    yield Line()
    if bundle.parity is None:
        yield Line("every node judged by its float function, see parity.json")
        yield Line(f"{bundle.metrics['tflite_bytes']:,} bytes of model")
        yield from _tensors(bundle.metrics)
        yield from _shares(bundle.metrics)
        return
    yield agreement_table(bundle.parity.engines, bundle.parity.judges, bundle.parity.not_run)
    file = bundle.parity.file
    yield Line()
    yield Line(f"{file.tensors} scales and zero points, {file.values} weights and biases: all as trained")
    yield from _edition(bundle.metrics.get("tflm", {}))
    model_bytes = f"{bundle.metrics['tflite_bytes']:,} bytes of model"
    if bundle.arena_bytes:
        yield Line(f"{model_bytes}, {bundle.arena_bytes:,} bytes of arena (64-bit)")
        if bundle.metrics.get("arena_plan", {}).get("in_file"):
            yield Line(bundle.metrics["arena_plan"]["words"])
    else:
        yield Line(model_bytes)
        yield Line(f"arena not measured: {tflm_absent()}", "attention")
    yield from _tensors(bundle.metrics)
    yield from map(Line, bundle.form_lines)
    yield from _findings(bundle.metrics["quantization"]["findings"])
    if "c" in bundle.metrics:
        figures = bundle.metrics["c"]
        yield Line(
            f"plain C: {figures['constant_bytes']:,} bytes of constants, {working_memory(figures)}"
            + (
                f", {figures['program_flash_bytes']:,} bytes of program and constants on {figures['board']}"
                if "board" in figures
                else ""
            )
            + ("" if figures["not_run"] is None else f"; not run: {figures['not_run']}"),
            "plain" if figures["not_run"] is None else "attention",
        )
        if said := kernels_in_words(figures):
            yield Line(said)
    yield from _shares(bundle.metrics)
    for entry in bundle.metrics.get("choices", ()):
        sentence = in_a_sentence(ChoiceCost.from_json(entry))
        if sentence:
            yield Line(sentence, "attention")


def _edition(figures: Mapping[str, Any]) -> Iterator[Line]:
    """For which TFLite Micro, and what was written otherwise for it."""
    if not figures:
        return
    others = figures["others_disagree"]
    said = f"; {len(others)} others that are known would compute it otherwise, see parity.json" if others else ""
    yield Line(f"exact on {figures['description']}{said}")
    yield from map(Line, figures["sentences"])


def _findings(findings: Sequence[Mapping[str, str]]) -> Iterator[Line]:
    """Each advice once, with the tensors that it is for."""
    tensors: dict[tuple[str, str], list[str]] = {}
    for each in findings:
        tensors.setdefault((each["finding"], each["advice"]), []).append(each["tensor"])
    for (finding, advice), names in tensors.items():
        yield Line(f"{', '.join(names)}: {finding}: {advice}", "attention")


def _tensors(metrics: Mapping[str, Any]) -> Iterator[Line]:
    """In which order a device is handed its inputs, and gives its outputs."""
    for key, taker in (("tensors", ""), ("c_tensors", "plain C's ")):
        for entry in metrics.get(key, ()):
            layout = TensorLayout.from_json(entry)
            yield Line(f"{taker}{layout.label}: {summary(layout)}")


def _shares(metrics: Mapping[str, Any]) -> Iterator[Line]:
    """What the network takes of the board, or of some well-known ones."""
    shares = [BoardShare(**entry) for entry in metrics["shares"]]
    for line in in_lines(shares):
        yield Line(line, "plain" if all(share.fits for share in shares) else "attention")


def agreement_table(
    engines: Mapping[str, EngineParity], judges: Sequence[str], not_run: Mapping[str, NotRun] | None = None
) -> Table:
    """One row per engine; marked are those that could not run, or have other outputs than the reference.

    Args:
        engines: what each computed, by name.
        judges: names of those that must agree, with ``", how"`` behind the name where that is to be said.
        not_run: those that computed nothing, and why.
    """
    rows: list[tuple[object, ...]] = []
    for name, engine in engines.items():
        how = next((judge[len(name) :] for judge in judges if judge.split(",")[0] == name), None)
        judged = "" if how is None else f"must agree{how}"
        rows.append((name, engine.inputs, shown_share(engine.exact_share), engine.max_lsb, judged))
    apart = {i for i, engine in enumerate(engines.values()) if engine.mismatches}
    rows += [(name, "", "", "", f"not run: {absent.error}") for name, absent in (not_run or {}).items()]
    return Table(
        ("agrees with the integers", "inputs", "exact", "max LSB", ""),
        "lrrrl",
        tuple(rows),
        "who computes the same integers",
        frozenset(apart | set(range(len(engines), len(rows)))),
    )


def written_page(bundle: Bundle, out: Path | None, options: ExportOptions) -> Iterator[Block]:
    """What lies where, behind an empty line; then what it is of, and at the end whether to ship it."""
    yield Line()
    if out is not None:
        yield Line(f"written to {out}/: {', '.join((*bundle.files, manifest_file(bundle.name)))}")
    if out is not None and options.firmware is not None and bundle.firmware:
        yield Line(f"project for {options.target} written to {options.firmware}/: begin with its README.md")
    for path in bundle.kept:
        yield Line(f"not of the last export, or changed since: what was {path.stem} is kept as {path}", "attention")
    hashes = bundle.metrics.get("sha256", {})
    if hashes:
        said = ", ".join(f"{what.replace('_', ' ')} {digest}" for what, digest in hashes.items())
        yield Line(f"{day()}, SHA-256: {said}")
    if bundle.verdict is not None:
        yield from verdict_page(bundle.verdict)


def verdict_page(verdict: Verdict) -> Iterator[Block]:
    """What was compared, by which criterion, and, as the last line, the answer; marked unless it is to ship."""
    yield Line()
    if verdict.comparisons:
        rows = [
            (
                each.against,
                _figure(each.figure),
                f"{each.worse_by:.4g}",
                f"{each.low:.4g} to {each.high:.4g}",
                OUTCOMES[each.outcome],
            )
            for each in verdict.comparisons
        ]
        about = f"{verdict.figure} on {verdict.samples:,} test samples, the {verdict.better} the better"
        yield Table(
            ("the device beside", verdict.figure, "worse by", "95 % interval", "criterion"),
            "lrrrl",
            tuple(rows),
            about,
            frozenset(i for i, each in enumerate(verdict.comparisons) if each.outcome != "met"),
        )
        assert verdict.device is not None
        yield Line(f"{about}: {_figure(verdict.device)} on the device, {verdict.low:.4g} to {verdict.high:.4g}")
    for remark in verdict.remarks:
        yield Line(remark, "attention")
    if verdict.criterion:
        yield Line(f"criterion: {verdict.criterion}")
    yield Line(f"verdict: {verdict.answer}: {verdict.reason}", "heading" if verdict.answer == "ship" else "attention")


def _figure(value: float) -> str:
    """Four digits; as many as it takes for shares near 1 to differ."""
    return f"{value:.4f}" if 0.1 <= abs(value) <= 1 else f"{value:.4g}"
