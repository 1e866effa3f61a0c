"""What ``qtorch compile`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from export.bundle.manifest import manifest_file
from export.bundle.outcome_page import agreement_table
from export.compiled_file.compiled import CompiledFile
from export.compiled_file.fewer_operators import saved_in_words
from export.compiled_file.request import Request
from export.console.page import Block, Line, printable
from export.cost.board_cost import counted_in_words
from export.cost.board_share import BoardShare, in_lines
from export.faults.avoided import in_a_line
from export.figures.kernel_choice import kernels_in_words
from export.figures.left_out import in_sentences
from export.figures.working_memory import working_memory
from export.interface.tensor_code import summary
from export.interface.tensor_layout import TensorLayout

__all__ = ["compile_page"]


def compile_page(
    compiled: CompiledFile, request: Request, out: Path, project: Path | None, kept: Sequence[Path]
) -> Iterator[Block]:
    """Who agrees, how inputs and outputs lie, what it takes, what lies where.

    Args:
        compiled: the files.
        request: what they were made for.
        out: where they lie.
        project: where the firmware project lies, if there is one.
        kept: what was in the way, and is called otherwise now.
    """
    metrics = compiled.metrics
    yield agreement_table(compiled.engines, tuple(compiled.engines))
    if "taken" in metrics:
        yield Line(printable(metrics["taken"]), "attention")
    if "moved_inside" in metrics:
        yield Line(
            f"{metrics['moved_inside']} constants lay behind the flatbuffer, where TFLite Micro reads other bytes "
            "without a word: proven is the file with all inside, which --tflite writes; do not ship the one that "
            "came",
            "attention",
        )
    if "folded" in metrics:
        yield Line(
            f"{metrics['folded']} SPACE_TO_BATCH_ND pad with a byte that TFLite Micro never sets, or have a batch "
            "whose size was left open, of which it computes one picture: proven is the file with a dilated convolution "
            "in the place of each, its convolution and BATCH_TO_SPACE_ND, or with PAD where these are apart, which "
            "--tflite writes; do not ship the one that came",
            "attention",
        )
    if "outputs_alike" in metrics:
        yield Line(
            f"all {metrics['outputs_alike']:,} inputs give the same codes, which proves little: hand over recorded "
            "ones with --inputs",
            "attention",
        )
    yield Line()
    for entry in metrics["c_tensors"]:
        layout = TensorLayout.from_json(entry)
        yield Line(f"{layout.label}: {summary(layout)}")
    c = metrics["c"]
    said = f"plain C: {c['constant_bytes']:,} bytes of constants, {working_memory(c)}"
    if "state_bytes" in c:
        said += f", {c['state_bytes']:,} bytes of states"
    if "board" in c:
        said += f", {c['program_flash_bytes']:,} bytes of program and constants on {c['board']}"
    if c["not_run"] is None:
        yield Line(said)
    else:
        yield Line(f"{said}; not run: {c['not_run']}", "attention")
    if said := kernels_in_words(c):
        yield Line(said)
    inference = c.get("inference", {})
    if "absent" in inference:
        yield Line(f"not counted: {inference['absent']}", "attention")
    elif inference:
        yield Line(counted_in_words(inference))
    for line in in_lines([BoardShare(**share) for share in metrics["shares"]]):
        yield Line(line)
    if metrics.get("arena_plan", {}).get("in_file"):
        yield Line(metrics["arena_plan"]["words"])
    if "fewer" in metrics:
        yield Line(saved_in_words(metrics["fewer"]))
    if compiled.faults:
        yield Line(
            f"{request.edition.description} would compute the file otherwise, the C not: " + in_a_line(compiled.faults),
            "attention",
        )
    for sentence in metrics.get("tflm", {}).get("sentences", ()):
        yield Line(sentence)
    for sentence in in_sentences(metrics.get("left_out", {})):
        yield Line(sentence, "attention")
    yield Line()
    yield Line(f"written to {out}/: {', '.join((*compiled.files, manifest_file(compiled.name)))}")
    if project is not None:
        yield Line(f"project for {request.target.name} written to {project}/: begin with its README.md")
    for path in kept:
        yield Line(f"not of the last run, or changed since: what was {path.stem} is kept as {path}", "attention")
