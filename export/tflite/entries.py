"""The networks of a file that can be run by themselves: its signatures; and one of them put in front.

TFLite Micro runs a file's first subgraph, whatever signatures there are. Another signature is therefore taken by
writing the file again with its subgraph in front.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from export.tflite.contents import read_contents
from export.tflite.file_data import FileContents
from export.tflite.soundness import require_sound
from export.tflite.writer import IDENTIFIER
from qtorch.errors import BadConfiguration

__all__ = ["Entry", "Taken", "entries", "taken"]

#: By operator that runs other subgraphs, the options that number them. Those of StableHLO stand in a second table,
#: which is not read; files that have them have signatures, which say what can be run.
_CALLED = {
    "CALL": ("Subgraph",),
    "CALL_ONCE": ("InitSubgraphIndex",),
    "IF": ("ThenSubgraphIndex", "ElseSubgraphIndex"),
    "WHILE": ("CondSubgraphIndex", "BodySubgraphIndex"),
}


@dataclass(frozen=True)
class Entry:
    """A network that can be run by itself.

    Attributes:
        name: its signature's key; without one its subgraph's name, or number.
        subgraph: its index.
    """

    name: str
    subgraph: int


@dataclass(frozen=True)
class Taken:
    """A file with the chosen network in front.

    Attributes:
        data: the whole file; the very bytes that came, where the network was the first.
        entry: which it is, as it came.
        others: what else can be run, in the file's order.
    """

    data: bytes
    entry: Entry
    others: tuple[Entry, ...]

    @property
    def sentence(self) -> str:
        """What was taken, and what there is; empty where there is nothing to choose."""
        if not self.others:
            return ""
        also = ", ".join(repr(each.name) for each in self.others)
        said = f"the network taken is {self.entry.name!r}; the file also has {also}, which --signature NAME takes"
        if self.entry.subgraph:
            said += "; TFLite Micro runs a file's first network, which this is not: ship what --tflite writes"
        return said


def entries(contents: FileContents) -> tuple[Entry, ...]:
    """What can be run by itself in a file: at least its first subgraph, which is the first of them.

    Of two signatures of one subgraph each is there.
    """
    signed = [Entry(each.key, each.subgraph) for each in contents.signatures]
    known = {each.subgraph for each in signed}
    called = set(_called(contents))
    for index, graph in enumerate(contents.subgraphs):
        if index in known or (index and (index in called or (signed and _has_regions(contents)))):
            continue
        names = {each.name for each in signed}
        signed.append(Entry(graph.name if graph.name and graph.name not in names else str(index), index))
    return tuple(sorted(signed, key=lambda entry: entry.subgraph))


def taken(model: bytes, signature: str = "", where: str = "model", option: str = "--signature") -> Taken:
    """A file with a network of it in front.

    Args:
        model: the whole file.
        signature: the name of an :class:`Entry`, or its subgraph's number; without it the first is taken.
        where: what to call the file in an error.
        option: what to call the name in an error.

    Raises:
        BadModelFile: truncated, damaged, or no .tflite file; or a tensor is no good.
        BadConfiguration: there is no such network; names those that there are.
    """
    contents = read_contents(model, where)
    known = entries(contents)
    chosen = known[0]
    if signature:
        found = [each for each in known if each.name == signature] or [
            each for each in known if str(each.subgraph) == signature
        ]
        if not found:
            raise BadConfiguration(
                where=option, expected=f"one of the networks in {where}: {', '.join(repr(e.name) for e in known)}",
                got=repr(signature), remedy="choose one, or leave the option out for the first",
            )  # fmt: skip
        chosen = found[0]
    others = tuple(each for each in known if each.subgraph != chosen.subgraph)
    if not chosen.subgraph:
        return Taken(model, chosen, others)
    require_sound(contents, where, outside=True)
    return Taken(_in_front(model, contents, chosen.subgraph), chosen, others)


def _called(contents: FileContents) -> Iterator[int]:
    for graph in contents.subgraphs:
        for operator in graph.operators:
            yield from (operator.options.get(field, 0) for field in _CALLED.get(operator.name, ()))


def _has_regions(contents: FileContents) -> bool:
    return any(each.name.startswith("STABLEHLO_") for graph in contents.subgraphs for each in graph.operators)


def _in_front(model: bytes, contents: FileContents, chosen: int) -> bytes:
    """The file written again, a subgraph in front, its constants where they were read from."""
    whole = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(model)))
    for found, buffer in zip(whole.buffers or (), contents.buffers, strict=True):
        if buffer.outside:
            found.data, found.offset, found.size = list(buffer.data), 0, 0
    order = [chosen, *(index for index in range(len(contents.subgraphs)) if index != chosen)]
    places = {old: new for new, old in enumerate(order)}
    whole.subgraphs = [whole.subgraphs[index] for index in order]
    for graph in whole.subgraphs:
        for operator in graph.operators or ():
            _renumber(operator, places)
    for each in whole.signatureDefs or ():
        each.subgraphIndex = places[each.subgraphIndex]
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _renumber(operator: Any, places: dict[int, int]) -> None:
    for table in (operator.builtinOptions, operator.builtinOptions2):
        for field, index in vars(table).items() if table is not None else ():
            if "subgraph" in field.lower() and index in places:
                setattr(table, field, places[index])
