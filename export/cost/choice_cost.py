"""What a choice makes larger: the export's own figures beside those of the same network without that choice.

4-bit weights, 16-bit activations and float layers are compared with 8 bits, calibrated and not trained on; options of
the export with the same integers without them. The file, TFLite Micro's arena (its tensors' memory where that
can't be measured) and plain C are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor, fx, nn

from export.boards import Board
from export.c.memory_plan import plan
from export.c.model import limits_of
from export.c.network import c_network
from export.c.source import c_source
from export.c.tensor_buffers import tensor_buffers
from export.engines import tflm_available
from export.engines.apart import EngineRefused
from export.graph.build import integer_graph, with_ends
from export.graph.ir import Graph
from export.options import ExportOptions
from export.tflite.arena import smallest_arena
from export.tflite.writer import write_tflite
from qtorch.config import QuantizationConfig
from qtorch.errors import BadInput
from qtorch.post_training.steps import quantize_after_training

__all__ = ["ChoiceCost", "Sizes", "choice_costs", "in_a_sentence", "without"]

#: Samples that a network to compare with is calibrated on: ranges hardly move a size.
_SAMPLES = 512


@dataclass(frozen=True)
class Sizes:
    """Bytes of one export.

    Attributes:
        file: of the .tflite file, metadata apart.
        tensors: of RAM, the network's tensors alone, inputs and outputs among them.
        c_constants: of plain C, in flash; ``None`` where it is not written, or has no form.
        c_memory: of plain C, working memory; likewise.
        arena: of TFLite Micro, all that a device allocates; ``None`` where it can't be measured.
    """

    file: int
    tensors: int
    c_constants: int | None = None
    c_memory: int | None = None
    arena: int | None = None


#: What a person calls them.
_CALLED = {
    "file": "the file",
    "tensors": "the tensors' memory",
    "c_constants": "plain C's constants",
    "c_memory": "plain C's working memory",
    "arena": "TFLite Micro's arena",
}


@dataclass(frozen=True)
class ChoiceCost:
    """One choice.

    Attributes:
        choice: in words.
        instead: what it is compared with.
        chosen: bytes with it.
        other: bytes without; ``None`` where that can't be had.
        unknown: then, why.
    """

    choice: str
    instead: str
    chosen: Sizes
    other: Sizes | None
    unknown: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values, for metrics.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> ChoiceCost:
        """The opposite of :meth:`as_json`."""
        sizes = {key: Sizes(**entry[key]) if entry[key] else None for key in ("chosen", "other")}
        return cls(**{**entry, **sizes})


def in_a_sentence(cost: ChoiceCost) -> str:
    """What became larger, with both figures, and beside it what became smaller; empty if nothing became larger.

    >>> in_a_sentence(ChoiceCost("weights of 4 bits", "8 bits", Sizes(1328, 40, 748), Sizes(1840, 40, 684)))
    "weights of 4 bits: plain C's constants take 748 bytes instead of 684 (8 bits); the file 1,328 instead of 1,840"
    """
    if cost.other is None:
        return f"{cost.choice}: not compared with {cost.instead}: {cost.unknown}"
    measured = None not in (cost.chosen.arena, cost.other.arena)
    pairs = [
        (_CALLED[key], mine, theirs)
        for key, mine in asdict(cost.chosen).items()
        # What a device allocates is the arena, with the tensors in it.
        if not (key == "tensors" and measured)
        and mine is not None
        and (theirs := asdict(cost.other)[key]) is not None
        and mine != theirs
    ]
    larger = [pair for pair in pairs if pair[1] > pair[2]]
    if not larger:
        return ""
    (called, mine, theirs), *others = larger
    first = f"{cost.choice}: {called} take{'' if called.endswith('s') else 's'} {mine:,} bytes instead of {theirs:,}"
    rest = [*others, *(pair for pair in pairs if pair not in larger)]
    return f"{first} ({cost.instead})" + "".join(f"; {each} {a:,} instead of {b:,}" for each, a, b in rest)


def without(config: QuantizationConfig, field: str, plain: object) -> QuantizationConfig:
    """The configuration with one field as ``plain`` in every layer."""
    layers = {
        name: {key: value for key, value in settings.items() if key != field}
        for name, settings in config.layers.items()
    }
    changes: dict[str, Any] = {field: plain, "layers": layers}
    return replace(config, **changes)


def choice_costs(
    graph: Graph,
    network: fx.GraphModule,
    options: ExportOptions,
    target: Board,
    config: QuantizationConfig,
    plain: Callable[[], nn.Module],
    calibration: Tensor | None,
    example: Any,
) -> tuple[ChoiceCost, ...]:
    """Of each choice that was made, the bytes with it and without; nothing of an export with default choices.

    Args:
        graph: what is exported, integers at its ends.
        network: that it was lowered from.
        options: of the export.
        target: whose processor plain C is made for.
        config: how the network was quantized.
        plain: gives its float network.
        calibration: training inputs; ``None`` where they can't be had.
        example: an input of the network.
    """
    choices = []
    for words, field, value in _quantized_choices(graph):
        other, unknown = None, "there are no training data to calibrate on"
        if calibration is not None:
            other_config = without(config, field, value)
            try:
                quantized = quantize_after_training(plain(), calibration[:_SAMPLES], other_config, example=example)
                other = _sizes(integer_graph(quantized, options.input_layout), options, target)
            except (BadInput, OverflowError) as error:
                unknown = " ".join(str(error).split())
        instead = "8 bits, calibrated and not trained"
        choices.append((words, instead, other, "" if other else unknown))
    if options.io != "int8":
        choices.append(("float32 inputs and outputs", "int8", _sizes(graph, replace(options, io="int8"), target), ""))
    if options.input_layout != "nhwc":
        choices.append(("input_layout nchw", "nhwc", _sizes(integer_graph(network), options, target), ""))
    if options.optimize not in ("size", "balanced") and options.writes_c:
        plain_c = _sizes(graph, replace(options, optimize="size"), target)
        choices.append((f"optimize {options.optimize}", "size", plain_c, ""))
    if not choices:
        return ()
    chosen = _sizes(graph, options, target)
    return tuple(ChoiceCost(words, instead, chosen, other, unknown) for words, instead, other, unknown in choices)


def _quantized_choices(graph: Graph) -> Iterator[tuple[str, str, object]]:
    """What is not 8 bits in a graph: in words, the field of the configuration, and its default."""
    dtypes = {value.dtype for value in graph.values.values()}
    if "int4" in dtypes:
        yield "weights of 4 bits", "weight_bits", 8
    if "int16" in dtypes:
        yield "16-bit activations", "activations", "int8"
    if graph.has_float_nodes:
        yield "layers left in float32", "skip", False


def _sizes(graph: Graph, options: ExportOptions, target: Board) -> Sizes:
    final = with_ends(graph, options.io)
    constants, memory = None, None
    if options.writes_c:
        # What has no form in C, or does not fit, has no figure.
        with suppress(BadInput, OverflowError):
            limits = limits_of(target, graph, options.flash, options.fast_memory)
            source = c_source("m", c_network(graph, target.cpu, options.optimize, limits=limits))
            constants, memory = sum(source.constant_bytes.values()), source.scratch_bytes
    model = write_tflite(final)
    return Sizes(len(model), plan(tensor_buffers(final)).peak, constants, memory, _arena(model))


def _arena(model: bytes) -> int | None:
    if not tflm_available():
        return None
    try:
        return smallest_arena(model)
    # What TFLite Micro does not load has no figure.
    except EngineRefused:
        return None
