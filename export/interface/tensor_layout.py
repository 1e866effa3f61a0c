"""How the inputs and outputs of a model lie in a device's memory: axes in their order, sizes, scale and zero point.

The order is the graph's own (``Graph.views``). Names of axes follow from what reads or writes them: a convolution or
pooling has height, width and channels (time and channels, where the network has three axes), a linear layer features.
An axis that no op gives a name keeps its number in the network's tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from export.graph.ir import Graph, Node
from qtorch.features import Feature
from qtorch.numbers.qparams import WHOLE

__all__ = ["TensorLayout", "tensor_layouts"]

_CHANNELS_LAST = (None, "height", "width", "channels")

#: For each stored axis its name, as far as it is known.
_Names = list[str | None]


@dataclass(frozen=True)
class TensorLayout:
    """One input or output, without the batch, which is one sample on a device.

    Attributes:
        side: ``"input"`` or ``"output"``.
        index: among its side's.
        count: how many its side has.
        dtype: ``"int8"``, ``"int16"`` or ``"float32"``; ``"int32"`` of indices, which have no
            scale, and of wide codes.
        scale: ``None`` for float32 and indices, as the next.
        zero_point: of the codes.
        shape: of the device's array; axes of size 1 that the network's tensor lacks are left out.
        axes: names of the same, all different.
        order: for each axis of ``shape``, which axis of ``network_shape`` it is, from 0.
        network_shape: in the order of the network's code.
        name: of several, what the network's code calls it; empty where that is not known.
        quantities: what its numbers are outside the network: one for all elements, or one for each; none if unknown.
        whose: the tensor that ``order`` is told beside, in the genitive.
        note: what else is to be known of its codes; empty for nothing.
    """

    side: str
    index: int
    count: int
    dtype: str
    scale: float | None
    zero_point: int | None
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    order: tuple[int, ...]
    network_shape: tuple[int, ...]
    name: str = ""
    quantities: tuple[Feature, ...] = ()
    whose: str = "PyTorch's"
    note: str = ""

    @property
    def elements(self) -> int:
        """Of one sample."""
        return math.prod(self.shape)

    @property
    def of_indices(self) -> bool:
        """Whether its numbers are indices, which nobody converts."""
        return self.dtype in WHOLE and self.scale is None

    @property
    def label(self) -> str:
        """``"input"``, or ``"input 1 (picture)"`` where there are several."""
        if self.count == 1:
            return self.side
        return f"{self.side} {self.index}" + (f" ({self.name})" if self.name else "")

    @property
    def title(self) -> str:
        """The label as a sentence begins with it."""
        return self.label[:1].upper() + self.label[1:]

    @property
    def is_network_order(self) -> bool:
        """Whether the codes lie one after the other as PyTorch's contiguous tensor has them."""
        moved = [axis for axis, size in zip(self.order, self.shape, strict=True) if size > 1]
        return moved == sorted(moved)

    @property
    def order_in_words(self) -> str:
        """Names of the axes, and how they lie to PyTorch's: ``"time, channels; PyTorch's (3, 64) transposed"``."""
        theirs = (
            f"{self.whose} ({', '.join(map(str, self.network_shape))}{',' if len(self.network_shape) == 1 else ''})"
        )
        if list(self.order) == sorted(self.order):
            relation = f"in the order of {theirs}"
        elif self.is_network_order:
            relation = f"in memory the same as {theirs}"
        else:
            relation = f"{theirs} transposed"
        return f"{', '.join(self.axes)}; {relation}"

    @property
    def recorded_order(self) -> tuple[int, ...]:
        """Axes of ``shape`` as a recording or a camera has them: channels last, the others as in the network."""
        return tuple(sorted(range(len(self.shape)), key=lambda i: (self.axes[i] == "channels", self.order[i])))

    @property
    def network_order(self) -> tuple[int, ...]:
        """Axes of ``shape`` as the network's code has them."""
        return tuple(sorted(range(len(self.shape)), key=lambda i: self.order[i]))

    def declaration(self, variable: str) -> str:
        """The array in C: ``int8_t in[64][3]``."""
        kind = "float" if self.dtype == "float32" else f"{self.dtype}_t"
        return f"{kind} {variable}{brackets(self.shape)}"

    def as_json(self) -> dict[str, Any]:
        """Plain values, for metrics.json."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        # Of most there is nothing to say here.
        unsaid = {"whose": TensorLayout.whose, "note": TensorLayout.note}
        return {key: value for key, value in plain.items() if key not in unsaid or value != unsaid[key]}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> TensorLayout:
        """The opposite of :meth:`as_json`."""
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
        }
        fields["quantities"] = tuple(Feature(**each) for each in entry.get("quantities", ()))
        return cls(**fields)


def brackets(sizes: tuple[int, ...]) -> str:
    """``[64][3]``."""
    return "".join(f"[{size}]" for size in sizes)


def tensor_layouts(graph: Graph) -> tuple[TensorLayout, ...]:
    """All inputs, then all outputs.

    Args:
        graph: whose inputs and outputs have a batch of one.
    """
    named = _axis_names(graph)
    return tuple(
        _layout(graph, named[name], side, index, len(names), name)
        for side, names in (("input", graph.inputs), ("output", graph.outputs))
        for index, name in enumerate(names)
    )


def _layout(graph: Graph, names: _Names, side: str, index: int, count: int, tensor: str) -> TensorLayout:
    value, view = graph.values[tensor], graph.view(tensor)
    # Of a file whose one sample has several rows along the first axis, that is an axis too.
    first = 0 if value.rows > 1 else 1
    kept = {stored: axis for axis, stored in enumerate(view.axes) if stored is not None and axis >= first}
    # An axis of size 1 that the stored tensor lacks lies behind all others: where it is named changes no address.
    absent = [axis for axis, stored in enumerate(view.axes) if stored is None and axis >= first]
    order = [*(kept[stored] for stored in sorted(kept)), *absent]
    axis_names = [*(names[stored] for stored in sorted(kept)), *(None for _ in absent)]
    qparams = None if value.of_indices else value.qparams
    return TensorLayout(
        side,
        index,
        count,
        value.dtype,
        None if qparams is None else qparams.scale[0],
        None if qparams is None else qparams.zero_point[0],
        tuple(view.shape[axis] for axis in order) or (1,),
        _said(axis_names, order, len(view.shape) + 1 - first) or ("value",),
        tuple(axis - first for axis in order) or (0,),
        view.shape[first:] or (1,),
    )


def _said(axis_names: list[str | None], order: list[int], rank: int) -> tuple[str, ...]:
    """Names as the network's rank has them; the axis' number in the network's tensor where there is none."""
    if rank == 2:
        return ("features",)
    if rank == 4 and order == [2, 3, 1] and not any(axis_names):
        # Nothing tells but the export itself, which takes four axes for an image's.
        return ("height", "width", "channels")
    spatial = [name for name in axis_names if name in ("height", "width")]
    if rank == 3 and len(spatial) == 1 and "channels" in axis_names:
        axis_names = ["time" if name in spatial else name for name in axis_names]
    return tuple(
        name if name is not None and axis_names.count(name) == 1 else f"axis {axis}"
        for name, axis in zip(axis_names, order, strict=True)
    )


def _axis_names(graph: Graph) -> dict[str, _Names]:
    """What each stored axis is: first from the ops that say it, then along those that keep axes where they are."""
    names: dict[str, _Names] = {name: [None] * len(value.shape) for name, value in graph.values.items()}
    for node in graph.nodes:
        for name in _runtime(graph, node):
            said = names[name]
            if node.row.channels_last and len(said) == len(_CHANNELS_LAST):
                names[name] = list(_CHANNELS_LAST)
            elif node.op == "fully_connected" and node.attrs["keep_num_dims"] and len(said) > 1 and said[-1] is None:
                said[-1] = "features"
    changed = True
    while changed:
        changed = False
        for node in graph.nodes:
            for one, other, axes in _carried(graph, node):
                for mine, theirs in axes:
                    known = names[one][mine] or names[other][theirs]
                    if names[one][mine] is None is not known or names[other][theirs] is None is not known:
                        names[one][mine], names[other][theirs] = (
                            names[one][mine] or known,
                            names[other][theirs] or known,
                        )
                        changed = True
    return names


def _runtime(graph: Graph, node: Node) -> list[str]:
    return [name for name in (*node.inputs, *node.outputs) if graph.values[name].data is None]


def _carried(graph: Graph, node: Node) -> list[tuple[str, str, list[tuple[int, int]]]]:
    """Pairs of an op's tensors, and which axis of the one is which of the other; the batch's is left out."""
    if node.row.channels_last:
        return []
    sources = [name for name in node.inputs if graph.values[name].data is None]
    pairs = []
    for source in sources:
        for output in node.outputs:
            mine, theirs = graph.values[source].shape, graph.values[output].shape
            if node.op == "transpose":
                axes = [(axis, i) for i, axis in enumerate(node.attrs["perm"])]
            elif node.op == "reshape":
                long = [[i for i, size in enumerate(shape) if size > 1 and i] for shape in (mine, theirs)]
                same = [mine[i] for i in long[0]] == [theirs[i] for i in long[1]]
                axes = list(zip(*long, strict=True)) if same else []
            elif len(mine) != len(theirs):
                axes = []
            elif node.op == "fully_connected":
                axes = [(i, i) for i in range(len(mine) - 1)] if node.attrs["keep_num_dims"] else []
            else:
                axes = [(i, i) for i in range(len(mine))]
            pairs.append((source, output, [(i, j) for i, j in axes if i and j]))
    return pairs
