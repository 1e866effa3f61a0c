"""Faults of an edition, found in a file: whoever wrote it, operator by operator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from export.faults import cmsis_nn, esp_nn, tflm
from export.faults.fault import Effect, Fault, Operator
from export.tflite.contents import read_contents
from export.tflite.file_data import FileContents, FileSubgraph
from qtorch.editions.edition import Edition
from qtorch.errors import BadModelFile

__all__ = ["Finding", "all_faults", "faults_by_edition", "faults_in", "operators"]


@dataclass(frozen=True)
class Finding:
    """A fault of an edition that one operator of a file meets.

    Attributes:
        operator: its index, in the order of execution; ``None`` of one of a file written again that stands for no
            single operator of the file as it came.
        name: of it in the schema.
        output: name of its first output in the file; empty if it has none there.
        fault: that it meets.
        words: what of it meets the fault, with its numbers.
        instead_of: name of the operator with this index, where a file written again has another in its place.
    """

    operator: int | None
    name: str
    output: str
    fault: Fault
    words: str
    instead_of: str = ""

    def __str__(self) -> str:
        """The finding in a line, with what happens.

        >>> str(finding)
        'operator 3 (FULLY_CONNECTED): 3 weight scales, all computed with the first; other codes'
        """
        return f"{self.called(self.place)}: {self.met()}"

    @property
    def place(self) -> str:
        """The operator's number, or the tensor that it writes."""
        return str(self.operator) if self.operator is not None else repr(self.output) if self.output else "a state"

    def called(self, places: str, many: bool = False) -> str:
        """Operators as a sentence names them.

        Args:
            places: of the operator, or of alike ones.
            many: whether there are several.
        """
        if self.operator is None:
            return f"{self.name} that {'write' if many else 'writes'} {places} in the file written again"
        name = f"{self.instead_of}, written again as {self.name}" if self.instead_of else self.name
        return f"operator{'s' if many else ''} {places} ({name})"

    def met(self) -> str:
        """What the operator meets, and what happens, without saying which operator."""
        return f"{self.words}; {_EFFECTS[self.fault.effect]}"

    def as_json(self) -> dict[str, Any]:
        """The finding as ``parity.json`` has it."""
        return {
            "operator": self.operator,
            "name": self.name,
            "fault": self.fault.name,
            "effect": self.fault.effect,
            "processors": list(self.fault.cores),
            "words": self.words,
            "remedy": self.fault.remedy,
            "source": self.fault.source,
            "sure": self.fault.sure,
        }


_EFFECTS = {
    "one step": "codes that may differ by one step",
    "other codes": "other codes",
    "not written": "its output keeps old bytes",
    "overwrites": "bytes of other tensors are overwritten",
    "refused": "the interpreter refuses the model",
    "not linked": "the program doesn't link",
}


@cache
def all_faults() -> tuple[Fault, ...]:
    """Every fault that is known: of TFLite Micro, and of the kernel libraries that take the place of its kernels."""
    return (*tflm.FAULTS, *cmsis_nn.FAULTS, *esp_nn.FAULTS)


def operators(contents: FileContents) -> tuple[Operator, ...]:
    """The operators of a file's subgraphs, in their order, each with its tensors and the bytes of its constants."""
    found: list[Operator] = []
    before = frozenset[str]()
    for subgraph in contents.subgraphs:
        for operator in subgraph.operators:
            inputs = tuple(None if index < 0 else subgraph.tensors[index] for index in operator.inputs)
            held = {
                position: contents.buffers[tensor.buffer]
                for position, tensor in enumerate(inputs)
                if tensor is not None and _is_constant(subgraph, tensor.index, tensor.buffer, tensor.constant_bytes)
            }
            constants = {position: buffer.data for position, buffer in held.items()}
            offsets = {position: buffer.offset for position, buffer in held.items()}
            outputs = tuple(subgraph.tensors[index] for index in operator.outputs if index >= 0)
            found.append(
                Operator(
                    len(found),
                    operator.name,
                    operator.version,
                    operator.options,
                    inputs,
                    outputs,
                    constants,
                    before,
                    offsets,
                )
            )
            # Most add no name: then all that follow share one set.
            before = before if operator.name in before else before | {operator.name}
    return tuple(found)


def _is_constant(subgraph: FileSubgraph, index: int, buffer: int, size: int) -> bool:
    return bool(buffer and size) and index not in subgraph.inputs


def faults_in(
    model: bytes, edition: Edition, cpu: str, where: str = "model", effect: Effect | None = None
) -> tuple[Finding, ...]:
    """What an edition computes otherwise than the newest TFLite Micro, or not at all, in the order of execution.

    Args:
        model: the whole file.
        edition: whose kernels run.
        cpu: as boards name processors.
        where: what to call the file in an error.
        effect: the only one that is asked for; any without it.

    Raises:
        BadModelFile: it is no .tflite file.
    """
    there = [fault for fault in all_faults() if fault.is_in(edition, cpu)]
    if effect is not None:
        wanted = [fault for fault in there if fault.effect == effect]
        # What says the same of another library decides whether it is said again.
        told = {name for fault in wanted for name in fault.repeats}
        there = [fault for fault in there if fault in wanted or fault.name in told]
    found = _once(_met(operators(read_contents(model, where)), there, where)) if there else ()
    return tuple(each for each in found if effect in (None, each.fault.effect))


def faults_by_edition(model: bytes, editions: Iterable[Edition], cpu: str) -> dict[str, tuple[Finding, ...]]:
    """:func:`faults_in` of many editions, by their names: each fault is looked for once.

    Args:
        model: the whole file.
        editions: whose kernels may run.
        cpu: as boards name processors.
    """
    asked = tuple(editions)
    somewhere = [fault for fault in all_faults() if any(fault.is_in(each, cpu) for each in asked)]
    met = _met(operators(read_contents(model)), somewhere)
    return {each.name: _once(finding for finding in met if finding.fault.is_in(each, cpu)) for each in asked}


def _once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Without those that repeat what is said of the same operator."""
    found = tuple(findings)
    said = {(each.operator, each.fault.name) for each in found}
    return tuple(each for each in found if said.isdisjoint((each.operator, name) for name in each.fault.repeats))


def _met(among: Iterable[Operator], faults: Iterable[Fault], where: str = "model") -> tuple[Finding, ...]:
    by_name: dict[str, list[Fault]] = {}
    for fault in faults:
        for name in fault.operators:
            by_name.setdefault(name, []).append(fault)
    found: list[Finding] = []
    for operator in among:
        said: dict[object, str] = {}
        for fault in by_name.get(operator.name, []):
            # A fault of two spans of time is one question.
            if fault.holds not in said:
                said[fault.holds] = _held(fault, operator, where)
            if said[fault.holds]:
                output = operator.outputs[0].name if operator.outputs else ""
                found.append(Finding(operator.index, operator.name, output, fault, said[fault.holds]))
    return tuple(found)


def _held(fault: Fault, operator: Operator, where: str) -> str:
    """What of an operator meets a fault.

    Raises:
        BadModelFile: the operator lacks inputs, outputs, axes or options that every such operator has.
    """
    try:
        # Of numbers that are none, NumPy would warn.
        with np.errstate(all="ignore"):
            return fault.holds(operator)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadModelFile(
            where=f"{where}, operator {operator.index} ({operator.name})",
            expected="the inputs, outputs and options that every such operator has",
            got=f"{len(operator.inputs)} inputs and {len(operator.outputs)} outputs: {error!r:.100}",
            remedy="copy or download the file again, or convert the network again",
        ) from error
