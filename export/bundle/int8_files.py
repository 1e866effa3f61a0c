"""An int8 network as it is written: its integers, the .tflite file, plain C, and how inputs and outputs lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import fx

from export.arena.offline import offline_plan
from export.boards import Board
from export.bundle.attempted import Attempted
from export.bundle.editions import for_board, require_edition
from export.bundle.phases import Phases
from export.bundle.project_edition import require_project_edition
from export.bundle.written_model import WrittenModel
from export.c.model import CModel, c_model
from export.device.firmware_project import require_int8_ends
from export.faults.avoided import Avoided
from export.figures.subject import Subject
from export.graph.build import integer_graph, with_ends
from export.graph.ir import Graph
from export.interface.network_layouts import network_interface, network_layouts
from export.interface.tensor_layout import TensorLayout
from export.options import ExportOptions
from export.parity.outputs import compare_file
from export.tflite.metadata import ModelMetadata
from export.tflite.model_file import model_file, model_metadata
from export.tflite.writer import write_tflite
from qtorch.features import Feature, Interface

__all__ = ["Int8Files", "int8_files"]


@dataclass(frozen=True)
class Int8Files(WrittenModel):
    """What is written of an int8 network; nothing of it is proven yet but that the files are the graphs.

    Attributes:
        plain: ``graph`` before it was brought into those forms, of which plain C is made.
        avoided: what that TFLite Micro would compute otherwise, and what was done about it.
        int8_model: the file of ``graph``, without metadata.
        c: plain C of ``plain``; ``None`` where none is written.
        titles: what the numbers of the one output are called; none where they have no names.
        c_layouts: of those of ``graph``.
        options: of the export, as far as they could be had.
    """

    plain: Graph
    avoided: Avoided
    int8_model: bytes
    c: CModel | None
    titles: tuple[str, ...]
    c_layouts: tuple[TensorLayout, ...]
    options: ExportOptions


def int8_files(
    subject: Subject, network: fx.GraphModule, name: str, target: Board, options: ExportOptions, phases: Phases,
    attempted: Attempted,
) -> Int8Files:  # fmt: skip
    """Write a network.

    Args:
        subject: of the export.
        network: quantized and calibrated.
        name: of the model, a C identifier.
        target: whose processor plain C is made for.
        options: of the export.
        phases: of it.
        attempted: what nobody asked for by name.

    Raises:
        NotFinite, BadConfiguration: the network can't be exported.
        UnsupportedByEdition: the board's TFLite Micro, which was asked for, computes something otherwise, or refuses
            it, in every form.
        ParityError: a file is not the graph that it was written of.
    """
    what = f"the integers, and plain C for {target.name}" if options.writes_c else "the integers"
    with phases(f"writing {what}", "export"):
        plain = integer_graph(network, options.input_layout)
        other, options, attempted = for_board(plain, options, attempted)
        graph = other.graph
        outputs = graph.values[graph.outputs[0]].shape[-1] if len(graph.outputs) == 1 else None
        titles = subject.ends.titles(outputs)
        final = with_ends(graph, options.io)
        if final is not graph:
            require_edition(write_tflite(final), options)
        layouts, c_layouts = (
            network_layouts(subject.networks.trained, each, subject.ends.interface) for each in (final, graph)
        )
        c = None
        if options.writes_c:
            with attempted("c"):
                c = c_model(name, plain, target, options.optimize, c_layouts, options.fast_memory, options.flash)
    metadata = _metadata(subject, name, graph, titles, options.version) if options.metadata else None
    with phases("writing the file, and searching for the smallest arena in which it runs", "arena"):
        file = model_file(final, metadata, partial(offline_plan, edition=options.edition, cpu=target.cpu))
    int8_model = file.data if final is graph else write_tflite(graph)
    if options.firmware is not None:
        with attempted("firmware"):
            require_int8_ends(graph)
            require_project_edition(int8_model, target, options.edition)
    compare_file(graph, int8_model)
    compare_file(final, file.named)
    return Int8Files(graph, final, file, metadata, layouts, plain, other, int8_model, c, titles, c_layouts, options)


def _metadata(subject: Subject, name: str, graph: Graph, titles: tuple[str, ...], version: str) -> ModelMetadata:
    interface, classifies = network_interface(graph, subject.ends.interface), subject.ends.are_classes(titles)
    if classifies and (subject.rows is None or subject.ends.interface is None):
        interface = Interface(interface.inputs, tuple(map(Feature, titles)))
    return model_metadata(name, version, graph, interface, classifies)
