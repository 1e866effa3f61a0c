"""The file that an export hands out: names, metadata, and the arena that this very file needs."""

from __future__ import annotations

from dataclasses import dataclass

from export.c_language.names import c_identifier
from export.engines import tflm_available
from export.graph.ir import Graph
from export.tflite.arena import LARGEST_ARENA, NoArena, smallest_arena
from export.tflite.metadata import ModelMetadata, class_names, entry, weights_hash
from export.tflite.offline_plan import NAME, OfflinePlan, Planner
from export.tflite.writer import write_tflite
from qtorch.errors import BadConfiguration
from qtorch.features import Interface

__all__ = ["ModelFile", "model_file", "model_metadata", "require_file_options", "too_large"]

#: A new arena size changes the text that stands in the file; it settles at once unless TFLM looks at that text.
_ATTEMPTS = 4


@dataclass(frozen=True)
class ModelFile:
    """A finished file.

    Attributes:
        data: its bytes; no device pays for the tensors' names, so they are not in it.
        named: the same with names, for people who look into it; without a plan, so that TFLite Micro can keep all of
            its tensors.
        arena_bytes: measured on ``data``; 0 where TFLite Micro is absent.
        plan: what a plan in ``data`` does, or why there is none; ``None`` where none was searched.
    """

    data: bytes
    named: bytes
    arena_bytes: int
    plan: OfflinePlan | None = None


def require_file_options(form: str, strip: bool, metadata: bool, version: str) -> None:
    """Refuse options that an export would leave out.

    Args:
        form: of the export, ``"int8"`` or one with float activations.
        strip: whether the file with names shall be left out.
        metadata: whether there shall be metadata.
        version: for the metadata.

    Raises:
        BadConfiguration: they contradict each other.
    """
    if form != "int8" and (metadata or strip):
        raise BadConfiguration(
            where="export.metadata, export.strip",
            expected="format int8: float files have no names and no metadata",
            got=f"format {form}",
            remedy="leave the option out",
        )
    if version and not metadata:
        raise BadConfiguration(
            where="export.version",
            expected="metadata, where the version stands",
            got="no metadata",
            remedy="set export.metadata, or leave export.version out",
        )


def model_metadata(name: str, version: str, graph: Graph, interface: Interface, classifies: bool) -> ModelMetadata:
    """What a model's file says of itself.

    Args:
        name: of the model, any string.
        version: of the model, any text.
        graph: whose weights are hashed.
        interface: what its numbers mean.
        classifies: whether its outputs are classes.
    """
    names = class_names([feature.name for feature in interface.outputs]) if classifies else ()
    return ModelMetadata(c_identifier(name), version, weights_hash(graph), names, interface)


def model_file(graph: Graph, metadata: ModelMetadata | None = None, planner: Planner | None = None) -> ModelFile:
    """Write a graph, with metadata if there is any, and with a plan of the arena if that is worth its bytes.

    Args:
        graph: to write.
        metadata: what the file says of itself.
        planner: makes a plan; without one there is none.

    Raises:
        BadConfiguration: TFLite Micro can't load it.
        AssertionError: the arena that the metadata names is never the one that the file needs.
    """
    plan = None if planner is None else _worthwhile(graph, metadata, planner)
    more = _entry(plan)
    arena_bytes = 0
    for _ in range(_ATTEMPTS):
        data = write_tflite(graph, metadata={**entry(metadata, arena_bytes), **more})
        needed = _measured(data) if tflm_available() else 0
        if metadata is None or needed == arena_bytes:
            named = write_tflite(graph, names=True, metadata=entry(metadata, arena_bytes))
            return ModelFile(data, named, needed, plan)
        arena_bytes = needed
    raise AssertionError(f"arena: expected the size that the metadata names to settle, got {arena_bytes} at last")


def _worthwhile(graph: Graph, metadata: ModelMetadata | None, planner: Planner) -> OfflinePlan | None:
    said = entry(metadata, 0)
    data = write_tflite(graph, metadata=said)
    plan = planner(data)
    if plan is None or not plan.data:
        return plan
    return plan.if_worth(len(write_tflite(graph, metadata={**said, **_entry(plan)})) - len(data))


def _entry(plan: OfflinePlan | None) -> dict[str, bytes]:
    """What of a plan goes into the file's metadata."""
    return {} if plan is None or not plan.data else {NAME: plan.data}


def _measured(data: bytes) -> int:
    try:
        return smallest_arena(data)
    except NoArena as refused:
        raise too_large(refused.words) from refused


def too_large(got: str) -> BadConfiguration:
    """The refusal of a network that TFLite Micro does not load, because of what ``got`` says."""
    return BadConfiguration(
        where="arena",
        expected=f"a network that TFLite Micro loads in at most {LARGEST_ARENA:,} bytes",
        got=got,
        remedy="make the tensors of its largest layer smaller: pool or stride earlier, or give it fewer channels",
    )
