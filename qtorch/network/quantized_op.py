"""The one quantized layer: a row at work in a network, with its constants, batch norm and output's quantizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from qtorch.capture.constant_expression import ConstantExpression
from qtorch.config import LayerConfig
from qtorch.families.accumulator import require_room
from qtorch.network.batch_norm import BatchNorm
from qtorch.network.folded_normalization import FoldedNormalization
from qtorch.network.layer_constants import LayerConstants
from qtorch.network.mode import Mode
from qtorch.network.opaque_to_compilers import numbered
from qtorch.network.quantizer import Quantizer
from qtorch.network.read_once import ReadOnce
from qtorch.network.routes import computing_route, float_op, integers_of_steps, route_of, sums_route
from qtorch.network.state_quantizer import StateQuantizer
from qtorch.network.sums_together import Together
from qtorch.network.weight_grid import learns_scale
from qtorch.numbers.grid import Grid
from qtorch.packed_state import packed, unpacked
from qtorch.row.constraints import BiasFromAccumulator, CoarserThan, SymmetricWeight
from qtorch.row.row import Attrs, Row
from qtorch.row.steps_by_table import StepTables, tables_of
from qtorch.surroundings import undisturbed, without_autocast, without_values

__all__ = ["QuantizedOp", "permanent_constants"]


class QuantizedOp(nn.Module):
    """One op of a network that is being quantized.

    Example, a hand-written layer behind the quantizer of its input:
        >>> x_quantizer = Quantizer()
        >>> linear = nn.Linear(3, 8)
        >>> layer = QuantizedOp(ROWS["fully_connected"], {"activation": "relu", "keep_num_dims": False},
        ...                     dict(linear.named_parameters()), sources={"input": x_quantizer})
        >>> y = layer(x_quantizer(torch.randn(4, 3)))

    Args:
        row: the op.
        attrs: its attributes.
        constants: parameters and buffers by role, in PyTorch's axis order; they stay the same objects, so an optimizer
            that has them keeps them. What is computed from parameters of other modules is an expression, and those
            parameters stay where they are.
        sources: the quantizers of the tensors that come in at run time, by role, in the order of the call's arguments.
            They belong to the ops that produce those tensors and are not registered here.
        config: how to quantize.
        output: the quantizer of the result, where it is another tensor's too; one of its own if ``None``.
        norm: a batch norm to fold; it is registered where it stands in the network, not here.
        front: a normalization of the input to fold; likewise.
        dropout: of what the op computes, before its batch norm.

    Attributes:
        constants: see :class:`qtorch.network.layer_constants.LayerConstants`. Their tensors are parameters and buffers
            of this module, ``log_weight_scale`` among them where the weight's scale is learned.
        rounds_output: of a layer left in float32, whether its result is brought onto a grid; not if only other such
            layers read it.
        sums_together: whether its sums' figures are worked out with those of others.
        takes_reals: of such a layer, which inputs are on no grid either, by role.
    """

    def __init__(
        self,
        row: Row,
        attrs: Attrs,
        constants: Mapping[str, Tensor | ConstantExpression],
        sources: Mapping[str, Quantizer],
        config: LayerConfig | None = None,
        output: Quantizer | None = None,
        norm: BatchNorm | None = None,
        front: FoldedNormalization | None = None,
        dropout: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.row, self.config = row, config or LayerConfig()
        self.attrs: Attrs = dict(attrs)
        self.bare_attrs: Attrs = {**self.attrs, "activation": "none"}
        # In a container that nn.Module does not look into: each quantizer is saved once, by its owner.
        self.sources = dict(sources)
        # In the kernel's order, whichever a module happens to have registered first.
        order = {role: place for place, role in enumerate(row.roles)}
        roles = sorted(constants, key=lambda role: order.get(role, len(order)))
        expressions: dict[str, ConstantExpression] = {}
        for role in roles:
            tensor = constants[role]
            if isinstance(tensor, ConstantExpression):
                expressions[role] = tensor
            elif isinstance(tensor, nn.Parameter):
                self.register_parameter(role, tensor)
            else:
                self.register_buffer(role, tensor.to(torch.float32))
        owned = output is None
        if output is None:
            output = Quantizer(self.config)
        self.constants = LayerConstants(row, self, roles, self.config, self.sources, output, norm, front, expressions)
        grid = self.constants.weight_grid
        if grid is not None and learns_scale(self.config):
            self.log_weight_scale = nn.Parameter(torch.zeros(grid.shape, dtype=torch.float32))
        #: Of states with a grid of their own, by name.
        self.states: dict[str, StateQuantizer] = {}
        for state in row.states.observed if row.states is not None else ():
            self.states[state.name] = StateQuantizer(state, self.config)
            self.add_module(f"{state.name}_quantizer", self.states[state.name])
        self.dropout = dropout
        self.rounds_output, self.takes_reals = True, frozenset[str]()
        self._mode, self._norm_frozen = Mode.FLOAT, False
        flat = row.name == "fully_connected" and not attrs["keep_num_dims"]
        self.is_linear = flat and output.config.gradient == "clipped"
        self._read, self.number = ReadOnce(), numbered(self)
        self.choose_route()
        if owned:
            self.quantizer = output

    def forward(self, *inputs: Tensor) -> Any:
        """The op on real tensors (FLOAT, CALIBRATE), or on tensors in steps of their quantizers' grids (QUANTIZED).

        But for FLOAT, autocast does not reach inside.

        Raises:
            BadConfiguration: a parameter is not float32.
        """
        if self._mode is Mode.FLOAT or undisturbed():
            return self.route(self, *inputs)
        with without_autocast(inputs[0]):
            return self.route(self, *inputs)

    def tables(self) -> StepTables:
        """Values and slopes of a function of one code; made again when a grid has changed."""
        source, output = self.sources["input"], self.output
        figures = (source.measured, source.zero_point, output.measured, output.zero_point)
        return self._read(figures, "tables", lambda: tables_of(self.row, self.attrs, source.grid, output.grid))

    @property
    def integer_attrs(self) -> Attrs:
        """The attributes of the op in integers: with the grids of its states."""
        return {**self.attrs, **{each.state.attr: each.exponent for each in self.states.values()}}

    def integers(self, inputs: Sequence[Tensor]) -> Any:
        """The device's integers as steps, without gradients, of steps in the order of the sources."""
        return integers_of_steps(self, inputs)

    def choose_route(self) -> None:
        """Take the route that mode, flags and the weight's grid ask for, after one of them has changed."""
        self.route = route_of(self, self._mode)
        if self.constants.computed:
            self.route = partial(computing_route, self.route)
        self.sums_together = self.route is sums_route and Together.takes(self)

    @property
    def mode(self) -> Mode:
        """What the layer computes."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        self.choose_route()

    @property
    def norm_frozen(self) -> bool:
        """Whether the batch norm uses its running statistics in training too, as the device does."""
        return self._norm_frozen

    @norm_frozen.setter
    def norm_frozen(self, frozen: bool) -> None:
        self._norm_frozen = frozen
        self.choose_route()

    @property
    def norm(self) -> BatchNorm | None:
        """The batch norm that is folded into this op."""
        return self.constants.norm

    @property
    def output(self) -> Quantizer:
        """The quantizer of the result."""
        return self.constants.output

    @property
    def has_weight(self) -> bool:
        """Whether the op makes sums of products with a weight."""
        return self.constants.weight_grid is not None

    def compute(self, inputs: Sequence[Tensor], constants: Mapping[str, Tensor], activation: bool = True) -> Tensor:
        """The op's float arithmetic alone, on any constants: no batch norm and no grid.

        Args:
            inputs: float32, in the order of the call's arguments.
            constants: float32 by role, in PyTorch's axis order.
            activation: whether a fused activation is applied.
        """
        tensors = {**dict(zip(self.sources, inputs, strict=True)), **constants}
        y: Tensor = float_op(self, self.attrs if activation else self.bare_attrs, tensors)
        return y

    @torch.no_grad()
    def pin_weight(self, weight: Tensor, scale: Tensor) -> None:
        """Make ``weight`` the weight and ``scale`` its scale for good, as a rounding that was optimized needs it.

        Args:
            weight: float32, of the parameter's shape; with nothing folded into it.
            scale: float32 ``[C]`` or ``[]``.
        """
        grid, front = self.constants.weight_grid, self.constants.front
        assert grid is not None
        self.constants.writable("weight").copy_(weight if front is None else front.unfold(weight))
        grid.pin(scale)
        self.choose_route()

    def widen_output(self) -> bool:
        """Coarsen the output's grid if the kernel could not compute onto it; whether that was so."""
        demand = self.row.constraints["output"]
        if not isinstance(demand, CoarserThan) or not demand.factors:
            return False
        constants = {role: grid for role, (_, grid) in self.constants.with_grids().items()}
        grids = constants | {role: source.grid for role, source in self.sources.items()}
        least = demand.least(self.output.dtype, {role: float(grid.scale.max()) for role, grid in grids.items()})
        if float(self.output.scale) > least:
            return False
        # Next to the bound a requantization factor rounds up to 1.
        self.output.coarsen(1.001 * least)
        return True

    @torch.no_grad()
    def require_accumulator(self, name: str) -> None:
        """Refuse a layer, called ``name``, whose sums could leave the device's integers for some input.

        Raises:
            AccumulatorOverflow: they could.
            NotFinite: a constant is NaN.
        """
        demand = self.row.constraints.get("weight")
        accumulates = isinstance(self.row.constraints.get("bias"), BiasFromAccumulator)
        if self.row.states is not None and not self.config.skip:
            self._require_gates(name)
        if not accumulates or not isinstance(demand, SymmetricWeight) or self.config.skip:
            return
        if without_values(self.constants.folded()["weight"]):
            return
        stored = self.constants.integers_of_numbers()
        weight, bias = stored["weight"], stored.get("bias")
        grids = {"input": self.sources["input"].grid, "weight": weight.grid, "output": self.output.grid}
        require_room(f"layer {name!r}", weight.codes, demand.axis, None if bias is None else bias.codes, grids)

    def _require_gates(self, name: str) -> None:
        """The same of sums with several weights."""
        states = self.row.states
        if states is None or any(map(without_values, self.constants.own().values())):
            return
        stored = self.constants.integers_of_numbers()
        onto = Grid(torch.tensor(states.gate_scale), torch.tensor(0), "int16")
        for each in states.sums:
            source = self.output if each.source == "output" else self.sources[each.source]
            grids = {"input": source.grid, "weight": stored[each.weight].grid, "output": onto}
            bias = None if each.bias is None else stored[each.bias].codes
            require_room(f"layer {name!r}", stored[each.weight].codes, 0, bias, grids)

    def get_extra_state(self) -> Tensor:
        """What a checkpoint keeps beside parameters and buffers, packed."""
        grid = self.constants.weight_grid
        return packed({} if grid is None else grid.state())

    def set_extra_state(self, state: Any) -> None:
        """See :meth:`get_extra_state`."""
        grid = self.constants.weight_grid
        if grid is not None:
            grid.load(unpacked(state))
            self.choose_route()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        if self.constants.computed:
            self.constants.computed.follow({name[len(prefix) :] for name in state_dict if name.startswith(prefix)})
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A shallow copy computes with its own parameters, as every module does.
        super().__setstate__(state)
        # Tensors of a copy count their changes anew.
        self._read, self.number = ReadOnce(), numbered(self)
        self.constants = self.constants.held_by(self)

    def _replicate_for_data_parallel(self) -> QuantizedOp:
        replica: QuantizedOp = super()._replicate_for_data_parallel()
        replica.constants = self.constants.held_by(replica)
        replica.states = {name: getattr(replica, f"{name}_quantizer") for name in self.states}
        return replica

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        if self.constants.weight_grid is not None:
            self.constants.weight_grid.move(fn)
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        """Row and attributes, for ``print(network)``."""
        return f"{self.row.name}, {self.attrs}"


def permanent_constants(network: nn.Module, prefix: str) -> set[str]:
    """The names in a state dict of constants that were computed and were made permanent.

    The float network's state has none of them: what is loaded from it they are computed from again.
    """
    ops = [(f"{prefix}{name}", op) for name, op in network.named_modules() if isinstance(op, QuantizedOp)]
    return {f"{name}.{role}" for name, op in ops for role in op.constants.computed.expressions}
