"""QAT network to Graph: the only reader of torch modules in this package.

Every tensor keeps PyTorch's axis order; an op whose kernel wants channels last gets transposes around it, which
:mod:`export.graph.passes.layout` then makes disappear.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import torch
from torch import fx

from export.graph.ir import Graph, Node, Value, check
from qtorch.capture.nodes import shape_of
from qtorch.errors import BadConfiguration, NotFinite
from qtorch.network.batch_norm import require_statistics
from qtorch.network.quantized_network import QuantizedNetwork
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer
from qtorch.numbers.qparams import INDICES, QParams
from qtorch.preparation.sum_room import require_sum_room
from qtorch.preparation.transparency import is_transparent

__all__ = ["lower"]

_TO_CHANNELS_LAST, _TO_CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def lower(network: fx.GraphModule, *, floats: bool = False) -> Graph:
    """The integers that a prepared and calibrated network stands for, one sample at a time.

    Layers that its configuration skips compute in float32, behind a DEQUANTIZE and before a QUANTIZE.

    Args:
        network: prepared; calibrated unless ``floats``.
        floats: all layers and tensors in float32.

    Raises:
        NotFinite: a parameter, or a batch norm's running statistics, hold NaN or infinity.
        BadConfiguration: a range was never measured.
        AccumulatorOverflow: a layer's sums could leave their integer type for some input.
    """
    if isinstance(network, QuantizedNetwork):
        network.require_unchanged()
    require_statistics(network)
    return _Lowering(network, floats).graph()


class _Lowering:
    def __init__(self, network: fx.GraphModule, floats: bool) -> None:
        self.network, self.floats = network, floats
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.names: dict[fx.Node, tuple[str, ...]] = {}

    def graph(self) -> Graph:
        inputs: list[str] = []
        outputs: tuple[str, ...] = ()
        for node in self.network.graph.nodes:
            module = self.network.get_submodule(node.target) if node.op == "call_module" else None
            if node.op == "placeholder":
                self.names[node] = (node.name,)
            elif node.op == "output":
                parts = node.args[0] if isinstance(node.args[0], tuple | list) else node.args
                outputs = tuple(self.names[part][0] for part in parts)
            elif isinstance(module, QuantizedOp):
                self._op(node, module)
            elif isinstance(module, Quantizer):
                name = node.args[0].name
                self.values[name] = Value(_sample(shape_of(node)), self._grid_of(module, self.floats))
                self.names[node] = (name,)
                inputs.append(name)
            elif node.target is operator.getitem:
                self.names[node] = (self.names[node.args[0]][node.args[1]],)
            elif is_transparent(self.network, node):
                self.names[node] = self.names[node.args[0]]
        return check(Graph(self.values, tuple(self.nodes), tuple(inputs), outputs), laid_out=False)

    def _op(self, node: fx.Node, op: QuantizedOp) -> None:
        name = str(node.target)
        arguments: list[Any] = list(node.args)
        rank = len(shape_of(arguments[0]))
        in_float = self.floats or op.config.skip
        inputs = {
            role: self._in_form(self.names[source][0], None if in_float else op.sources[role])
            for role, source in zip(op.sources, arguments, strict=True)
        }
        if op.row.channels_last:
            inputs = {role: self._channels_last(source) for role, source in inputs.items()}
        elif 0 < op.row.merged_axes < rank:
            inputs = {role: self._merged(source, op.row.merged_axes) for role, source in inputs.items()}
        inputs |= self._float_constants(name, op, rank) if in_float else self._constants(name, op, rank)
        ordered = tuple(inputs[role] for role in op.row.input_roles(len(inputs)) if role in inputs)
        value: Any = node.meta.get("value")
        shapes = [_sample(shape) for shape in value] if value is not None else [_sample(shape_of(node))]
        names = tuple(f"{name}.{i}" for i in range(len(shapes))) if value is not None else (name,)
        self.names[node] = names
        qparams = self._grid_of(op.output, in_float)
        if not in_float:
            qparams_of = {role: self.values[inputs[role]].qparams for role in inputs}
            self._require_constraints(name, op, qparams_of, len(names))
            source = qparams_of.get("input")
            if source is not None:
                reach = (code - source.zero_point[0] for code in source.code_range)
                shape = shape_of(arguments[0]) if "input" in op.sources else self.values[inputs["input"]].shape
                require_sum_room(name, op.row, op.attrs, shape, *reach)
        if op.row.channels_last:
            self._channels_last_node(op, ordered, name, shapes[0], qparams)
        elif dict(op.row.kept(op.attrs)) != op.attrs:
            self._dropping_axes(op, ordered, name, shapes[0], qparams)
        elif 0 < op.row.merged_axes < rank:
            merged = f"{name}.merged"
            self.values[merged] = Value(_merged(shapes[0], op.row.merged_axes), qparams)
            self.nodes.append(Node(op.row.name, dict(op.attrs if in_float else op.integer_attrs), ordered, (merged,)))
            self._reshape(merged, name, shapes[0])
        else:
            for each, shape in zip(names, shapes, strict=True):
                self.values[each] = Value(shape, qparams)
            attrs = op.attrs if in_float else op.integer_attrs
            self.nodes.append(
                Node(op.row.name, {} if op.row.measured and not op.row.frozen else dict(attrs), ordered, names)
            )
        if in_float and op.rounds_output and not self.floats:
            self.names[node] = tuple(self._in_form(each, op.output) for each in names)

    @staticmethod
    def _grid_of(quantizer: Quantizer, in_float: bool) -> QParams | None:
        return INDICES if quantizer.of_indices else None if in_float else quantizer.qparams()

    def _in_form(self, name: str, quantizer: Quantizer | None) -> str:
        """A tensor in float32, or on a quantizer's grid; made once for all who want it."""
        value = self.values[name]
        if value.of_indices or (value.qparams is None) == (quantizer is None):
            return name
        op, suffix = ("dequantize", "real") if quantizer is None else ("quantize", "codes")
        converted = f"{name}.{suffix}"
        if converted not in self.values:
            self.values[converted] = Value(value.shape, None if quantizer is None else quantizer.qparams())
            self.nodes.append(Node(op, {}, (name,), (converted,)))
        return converted

    def _require_constraints(
        self, name: str, op: QuantizedOp, qparams: dict[str, QParams | None], outputs: int
    ) -> None:
        """What calibration made true may have become false in training since."""
        results = dict.fromkeys(op.row.output_roles(outputs), op.output.qparams())
        broken = op.row.violations({**qparams, **results})
        if broken:
            raise BadConfiguration(
                where=f"layer {name!r}",
                expected="a grid that the kernel can compute onto",
                got="; ".join(broken),
                remedy="calibrate again: the weights have outgrown the ranges that were measured",
            )

    def _channels_last_node(
        self, op: QuantizedOp, inputs: tuple[str, ...], name: str, shape: tuple[int, ...], qparams: QParams | None
    ) -> None:
        image = _image(shape)
        inner = f"{name}.channels_last"
        self.values[inner] = Value(tuple(image[axis] for axis in _TO_CHANNELS_LAST), qparams)
        self.nodes.append(Node(op.row.name, dict(op.attrs), inputs, (inner,)))
        outer = name if image == shape else f"{name}.image"
        self._transpose(inner, outer, _TO_CHANNELS_FIRST)
        if image != shape:
            self._reshape(outer, name, shape)

    def _dropping_axes(
        self, op: QuantizedOp, inputs: tuple[str, ...], name: str, shape: tuple[int, ...], qparams: QParams | None
    ) -> None:
        """With its axes kept, and a reshape to drop them: what no axis order can disturb."""
        attrs, kept = dict(op.row.kept(op.attrs)), f"{name}.kept"
        example = torch.empty(self.values[inputs[0]].shape, device="meta")
        result = op.row.forward(attrs, {op.row.roles[0]: example})
        self.values[kept] = Value(tuple(result.shape), qparams)
        self.nodes.append(Node(op.row.name, attrs, inputs, (kept,)))
        self._reshape(kept, name, shape)

    def _channels_last(self, source: str) -> str:
        """``source`` as an image with its channels last; made once for all who want it."""
        value, name = self.values[source], f"{source}.to_channels_last"
        if name in self.values:
            return name
        image = _image(value.shape)
        if image != value.shape:
            self._reshape(source, f"{source}.to_image", image)
            source = f"{source}.to_image"
        self._transpose(source, name, _TO_CHANNELS_LAST)
        return name

    def _merged(self, source: str, axes: int) -> str:
        """``source`` with its rows in front, in a tensor of so many axes; made once for all who want it."""
        name = f"{source}.to_rows"
        if name not in self.values:
            self._reshape(source, name, _merged(self.values[source].shape, axes))
        return name

    def _transpose(self, source: str, name: str, perm: tuple[int, ...]) -> None:
        value = self.values[source]
        self.values[name] = Value(tuple(value.shape[axis] for axis in perm), value.qparams)
        self.nodes.append(Node("transpose", {"perm": perm}, (source,), (name,)))

    def _reshape(self, source: str, name: str, shape: tuple[int, ...]) -> None:
        self.values[name] = Value(shape, self.values[source].qparams)
        self.nodes.append(Node("reshape", {"shape": shape}, (source,), (name,)))

    def _require_finite(self, name: str, op: QuantizedOp) -> None:
        for role, tensor in op.constants.own().items():
            if not torch.isfinite(tensor).all():
                raise NotFinite(
                    where=f"{role} of layer {name!r}",
                    expected="finite values",
                    got="NaN or infinity",
                    remedy="lower the learning rate or check the data, and train again",
                )

    def _float_constants(self, name: str, op: QuantizedOp, rank: int) -> dict[str, str]:
        self._require_finite(name, op)
        names = {}
        for role, constant in op.constants.stored_floats().items():
            data = constant.detach().cpu().numpy().astype(np.float32)
            if role in op.row.roles[: op.row.runtime]:
                data = data.reshape([1] * (rank - data.ndim) + list(data.shape))
            self.values[f"{name}.{role}"] = Value(data.shape, None, np.ascontiguousarray(data))
            names[role] = f"{name}.{role}"
        return names

    def _constants(self, name: str, op: QuantizedOp, rank: int) -> dict[str, str]:
        self._require_finite(name, op)
        names = {}
        for role, constant in op.constants.integers().items():
            qparams = constant.qparams
            codes = constant.codes.cpu().numpy()
            if role in op.row.roles[: op.row.runtime]:
                codes = codes.reshape([1] * (rank - codes.ndim) + list(codes.shape))
            data = codes.astype("int8" if qparams.dtype == "int4" else qparams.dtype)
            self.values[f"{name}.{role}"] = Value(data.shape, qparams, np.ascontiguousarray(data))
            names[role] = f"{name}.{role}"
        op.require_accumulator(name)
        return names


def _sample(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1, *shape[1:])


def _merged(shape: tuple[int, ...], axes: int) -> tuple[int, ...]:
    """Of so many axes, the first of which has those that are more."""
    return (math.prod(shape[: len(shape) - axes + 1]), *shape[len(shape) - axes + 1 :])


def _image(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``[N, C]`` as ``[N, C, 1, 1]``, ``[N, C, L]`` as ``[N, C, 1, L]``, ``[N, C, H, W]`` as it is."""
    return (*shape[:2], *[1] * (4 - len(shape)), *shape[2:])
