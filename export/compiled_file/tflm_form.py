"""The file written again, for TFLite Micro: in forms that the board's edition computes as the newest does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from export.arena.offline import offline_plan
from export.bundle.project_edition import require_project_edition
from export.bundle.written_model import WrittenModel
from export.compiled_file.model_in_file import ModelInFile
from export.compiled_file.request import Request
from export.device.firmware_project import require_int8_ends
from export.faults.avoided import Avoided, avoided, newer_edition, refusal
from export.faults.found import Finding, faults_in
from export.graph.ir import Graph
from export.interface.tensor_layout import TensorLayout
from export.tflite.model_file import model_file
from export.tflite.writer import nodes_of_operators

__all__ = ["TflmForm", "faults_of_file", "in_given_file", "tflm_form"]


@dataclass(frozen=True)
class TflmForm:
    """The file as it is written again.

    Attributes:
        written: graph, file and layouts.
        avoided: what the edition would compute otherwise, and what was done about it.
    """

    written: WrittenModel
    avoided: Avoided


def faults_of_file(model: ModelInFile, request: Request) -> tuple[Finding, ...]:
    """What the board's TFLite Micro would compute otherwise of the file as it came; nothing where it has none."""
    if not _runs_tflm(request):
        return ()
    found = faults_in(model.data, request.edition, request.target.cpu, model.where)
    return tuple(in_given_file(model, each) for each in found)


def in_given_file(model: ModelInFile, finding: Finding) -> Finding:
    """What an operator of a model's data meets, by its number in the file as it came: what TFLite Micro would compute
    by chance was written again before anything else was done."""
    return _in_file(model, finding, finding.output) if model.folded else finding


def _in_file(model: ModelInFile, finding: Finding, output: str) -> Finding:
    """What an operator of a file written again meets, by the number that the file as it came has for it.

    Args:
        model: in the file as it came.
        finding: in the other.
        output: what the model calls the first output of the operator's node.
    """
    there = model.operators.get(output)
    if there is None:
        return replace(finding, operator=None, output=output)
    instead_of = "" if there.name == finding.name else there.name
    return replace(finding, operator=there.number, output=output, instead_of=instead_of)


def _avoided(model: ModelInFile, final: Graph, request: Request) -> Avoided:
    """:func:`avoided`, its operators by the numbers that the file as it came has for them."""
    other = avoided(final, request.edition, request.target.cpu)
    layers: dict[int | None, str] = dict(enumerate(nodes_of_operators(other.graph)))
    rewritten = [replace(each, finding=_in_file(model, each.finding, each.layer)) for each in other.rewritten]
    left = [_in_file(model, each, layers[each.operator]) for each in other.left]
    return replace(other, rewritten=tuple(rewritten), left=tuple(left))


def tflm_form(model: ModelInFile, request: Request, layouts: Sequence[TensorLayout]) -> TflmForm:
    """The file written again.

    Args:
        model: in the file.
        request: a project in TFLite Micro hands integers in and out, so there the float ends are left out.
        layouts: of the inputs and outputs of the file that is written.

    Raises:
        UnsupportedByEdition: the board's TFLite Micro computes something otherwise, or refuses it, in every form.
        BadConfiguration: the application can't fill its inputs.
    """
    project = request.firmware == "tflm"
    if project:
        require_int8_ends(model.core, compiling=True)
    graph = final = model.core
    other = Avoided(graph, request.edition)
    if not project and model.core is not model.graph:
        final = model.graph
    if _runs_tflm(request):
        other = _avoided(model, final, request)
        if other.left:
            newer = newer_edition(final, request.edition, request.target.cpu)
            where = f"--target {request.target.name}, whose TFLite Micro is"
            raise refusal(other.left, request.edition, where, newer, compiling=True)
        final = other.graph
    planner = partial(offline_plan, edition=request.edition, cpu=request.target.cpu)
    file = model_file(final, planner=planner)
    written = WrittenModel(_with_integer_ends(final, model.core), final, file, None, tuple(layouts))
    if project:
        require_project_edition(written.file.data, request.target, request.edition)
    return TflmForm(written, other)


def _runs_tflm(request: Request) -> bool:
    return request.target.tflm and request.target.cpu != "host"


def _with_integer_ends(final: Graph, core: Graph) -> Graph:
    """What test vectors are of: the graph itself where its ends are integers."""
    return final if final.inputs == core.inputs and final.outputs == core.outputs else core
