"""The integers in a file that anyone wrote: its graph, and the part of it between a float interface's ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from export.boards import HOST
from export.faults.avoided import require_without_faults
from export.faults.found import faults_in
from export.faults.tflm_forms import BY_CHANCE
from export.graph.integer_core import integer_core
from export.graph.ir import Graph, Node
from export.parity.foreign import told_by_tflm
from export.tflite.contents import read_contents
from export.tflite.entries import taken
from export.tflite.file_data import FileContents
from export.tflite.file_form import file_form, require_integers
from export.tflite.form import FileForm
from export.tflite.inside import with_constants_inside
from export.tflite.named_graph import named
from export.tflite.reader import read_tflite
from export.tflite.soundness import require_sound
from export.tflite.stored_proof import require_stored_proof
from export.tflite.summary import summarize
from export.tflite.writer import write_tflite
from qtorch.editions.known import NEWEST
from qtorch.errors import BadModelFile

__all__ = ["ModelInFile", "Operator", "model_in_file"]


@dataclass(frozen=True)
class Operator:
    """An operator of a file, as a sentence names it: its number in the order of execution, and its name."""

    number: int
    name: str

    def __str__(self) -> str:
        return f"operator {self.number} ({self.name})"


@dataclass(frozen=True)
class ModelInFile:
    """A file and what it computes.

    Attributes:
        data: the whole file, with its constants inside the flatbuffer, and this network in front.
        where: what to call it in an error.
        graph: all of it; values are called as the tensors in the file.
        core: the same without the QUANTIZE and DEQUANTIZE of a float interface: integers in and out.
        tensors: by name of a value, the index of the file's tensor.
        operators: by name of a value, the operator that writes it in the file as it came.
        inputs: what the file calls its inputs, in order: without the parts that converters add.
        outputs: likewise.
        moved: how many constants lay behind the flatbuffer, where TFLite Micro does not find them.
        folded: how many SPACE_TO_BATCH_ND were padded, which TFLite Micro does with a byte that it never sets, or had a
            batch whose size was left open, of which it computes one picture; in ``data``, written again, there is PAD
            in their place, or a dilated convolution.
        taken: which of the file's networks it is, in a sentence; empty where there is one.
    """

    data: bytes
    where: str
    graph: Graph
    core: Graph
    tensors: dict[str, int]
    operators: dict[str, Operator]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    moved: int = 0
    folded: int = 0
    taken: str = ""


def model_in_file(data: bytes, where: str, signature: str = "") -> ModelInFile:
    """Read a file.

    Args:
        data: the whole file.
        where: what to call it in an error.
        signature: which of its networks; without it the first.

    Raises:
        BadModelFile: it is no model of integers, or one that no row knows; names operator and tensor.
        BadConfiguration: it has no such network.
        ParityError: TFLite Micro computes one of its operators by chance, in a file that can't be written again.
    """
    require_stored_proof(data, summarize(data, where), where)
    data, moved = with_constants_inside(data, where)
    chosen = taken(data, signature, where)
    data = chosen.data
    contents = read_contents(data, where)
    try:
        read = read_tflite(data, where, aligned=False)
    except BadModelFile as unknown:
        # Damage, and what it is, say more than the operator that can't be read, and so does what no device runs.
        require_sound(contents, where)
        require_integers(contents, where)
        raise told_by_tflm(unknown, data, where) from unknown
    graph = named(read, data)
    count = len(contents.subgraphs[0].tensors)
    # What was put beside the file's tensors when it was read is none of them.
    own = {f"t{index}": index for index in range(count)}
    indices = {name: own[old] for name, old in zip(graph.values, read.values, strict=True) if old in own}
    operators = _operators(contents, indices)
    core = integer_core(graph)
    _require_integers(where, core, operators, file_form(contents))
    inputs, outputs = (tuple(map(_short, names)) for names in (graph.inputs, graph.outputs))
    found = [each for each in faults_in(data, NEWEST, HOST.cpu, where) if each.fault.name in BY_CHANCE]
    if found and graph.shifted:
        # A file of uint8 is not written again as such.
        require_without_faults(data, where)
    if found:
        again = model_in_file(write_tflite(graph, names=True), where)
        folded = len({each.operator for each in found})
        operators = {name: operators[name] for name in again.graph.values if name in operators}
        return replace(
            again, operators=operators, inputs=inputs, outputs=outputs, moved=moved, folded=folded,
            taken=chosen.sentence,
        )  # fmt: skip
    return ModelInFile(data, where, graph, core, indices, operators, inputs, outputs, moved, 0, chosen.sentence)


def _operators(contents: FileContents, indices: dict[str, int]) -> dict[str, Operator]:
    found = {
        output: Operator(number, operator.name)
        for number, operator in enumerate(contents.subgraphs[0].operators)
        for output in operator.outputs
    }
    return {name: found[index] for name, index in indices.items() if index in found}


def _require_integers(where: str, core: Graph, operators: dict[str, Operator], form: FileForm) -> None:
    for node in core.nodes:
        if core.is_float(node):
            first = f"{operators.get(node.output, node.op)}, tensor {node.output!r}, in {_dtypes(core, node)}"
            raise BadModelFile(
                where=where,
                expected="integers between the ends of the model",
                got=first if form.is_integers else f"{form.words}; first {first}",
                remedy=form.remedy
                or "convert the model with full integer quantization (representative data, int8 activations)",
            )
    for name in (*core.inputs, *core.outputs):
        if core.values[name].qparams is None:
            raise BadModelFile(
                where=where,
                expected="integers at the ends of the model, or one QUANTIZE behind a float input and one DEQUANTIZE "
                "before a float output",
                got=f"tensor {name!r} in {core.values[name].dtype}",
                remedy="convert the model with int8 inputs and outputs",
            )


def _dtypes(core: Graph, node: Node) -> str:
    return ", ".join(dict.fromkeys(core.values[name].dtype for name in (*node.inputs, *node.outputs)))


def _short(name: str) -> str:
    """``serving_default_image:0`` is ``image`` to whoever converted the model."""
    return name.removeprefix("serving_default_").rpartition(":")[0] or name.removeprefix("serving_default_")
