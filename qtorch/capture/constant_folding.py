"""What depends on no input, folded: computed once where nothing in it is trained, else an expression of parameters."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from qtorch.capture.constant_expression import ConstantExpression, HeldTensor, Result, Step
from qtorch.capture.kept_calls import drops_out
from qtorch.capture.nodes import draws_numbers, given_arguments, source_line
from qtorch.capture.training_form import InTraining
from qtorch.errors import UnsupportedLayer
from qtorch.surroundings import undisturbed_random_numbers

__all__ = ["ConstantInTraining", "expression_of", "fold_constants", "is_constant", "make_permanent", "without_batch"]

#: Calls that repeat a constant for each sample, as a class token is, with the size that leaves an axis as it is.
_REPEATING: dict[Any, int] = {torch.ops.aten.expand.default: -1, torch.ops.aten.repeat.default: 1}


class ConstantInTraining(UnsupportedLayer):
    """What depends on no input is another one in training at every call, as weights with noise are."""


def fold_constants(traced: fx.GraphModule) -> None:
    """Replace, in a traced network, what no input reaches by constants; changes it in place.

    A read of a parameter or buffer stays as it is. Of the rest, what depends on no parameter is computed now, and a
    ``get_attr`` of a new buffer stands in its place: a persistent one, because a checkpoint of what was drawn when the
    network was made, as random projections are, has to bring what was computed of it. What depends on a parameter, a
    frozen one too since it may be trained later, becomes a ``call_module`` of a
    :class:`qtorch.capture.constant_expression.ConstantExpression`, see :func:`expression_of`.

    The modules that have the parameters have to stay in ``traced``, though no node reads them any more.

    Layers that drop out of a constant are left out: whoever compares the training forms says so.

    Args:
        traced: functions, methods, operators of ATen and modules. In evaluation.

    Raises:
        UnsupportedLayer: a constant is drawn at random or written to; names the call.
        ConstantInTraining: the same in training alone.
    """
    with torch.no_grad(), undisturbed_random_numbers():
        folding = _Folding(traced)
        for node in folding.constants:
            folding.fold(node)
        folding.erase()
    traced.graph.lint()
    traced.recompile()


def expression_of(traced: fx.GraphModule, node: fx.Node) -> ConstantExpression | None:
    """The expression of parameters that a node computes, if :func:`fold_constants` left it there."""
    module = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
    return module if isinstance(module, ConstantExpression) else None


def is_constant(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node reads a parameter or buffer, or computes an expression of such."""
    return node.op == "get_attr" or expression_of(traced, node) is not None


def without_batch(traced: fx.GraphModule, node: fx.Node) -> fx.Node:
    """The constant of one sample that a node repeats for each of a batch, if that is all it does; else the node."""
    if not _repeats(node):
        return node
    constant, (_, *others) = _arguments(node)
    if not is_constant(traced, constant) or any(each != _REPEATING[node.target] for each in others):
        return node
    tensor = expression_of(traced, constant) or fx.Interpreter(traced).fetch_attr(str(constant.target))
    # Else it is several samples, or what a sample's axes are put in front of.
    return constant if tensor.dim() == len(others) + 1 and tensor.shape[0] == 1 else node


def _repeats(node: fx.Node) -> bool:
    """Whether a call repeats its first argument as often as a size says that the graph computes."""
    return node.target in _REPEATING and isinstance(_arguments(node)[1][0], fx.Node)


def _arguments(node: fx.Node) -> Any:
    return node.args


def make_permanent(traced: fx.GraphModule) -> None:
    """Replace every expression by a parameter of the value that it has now; changes ``traced`` in place."""
    names: dict[ConstantExpression, str] = {}
    for node in list(traced.graph.nodes):
        expression = expression_of(traced, node)
        if expression is None:
            continue
        if expression not in names:
            names[expression] = _fresh(traced, str(node.target).removesuffix(_EXPRESSION))
            with torch.no_grad():
                value = expression().detach().clone()
            traced.register_parameter(names[expression], nn.Parameter(value))
        _replace(node, "get_attr", names[expression])
        traced.graph.erase_node(node)
    for name in [name for name, module in traced.named_modules() if module in names]:
        traced.delete_submodule(name)
    if names:
        traced.recompile()


#: Behind the name of the call that is folded.
_EXPRESSION, _VALUE = "_expression", "_value"


class _Folding:
    """The calls of one network that no input reaches, in the order of execution, with what each gives."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.values: dict[fx.Node, Any] = {}
        self.trained: set[fx.Node] = set()
        self.buffers: list[tuple[str, Tensor]] = []
        for node in list(traced.graph.nodes):
            if self._is_dropout_of_constant(node):
                node.replace_all_uses_with(node.all_input_nodes[0])
                traced.graph.erase_node(node)
            elif _repeats(node) and node.args[0] in self.values:
                self._take_sample_out(node)
            elif node.op not in ("placeholder", "output") and all(n in self.values for n in node.all_input_nodes):
                self._compute(node)

    def _is_dropout_of_constant(self, node: fx.Node) -> bool:
        """Whether a call drops out of a constant: a weight is one for a whole batch, and stays as it is in training."""
        alone = len(node.all_input_nodes) == 1 and node.all_input_nodes[0] in self.values
        return alone and drops_out(self.traced, node)

    def _compute(self, node: fx.Node) -> None:
        self._require_pure(node)
        if not _is_taken(node):
            return
        interpreter = fx.Interpreter(self.traced)
        interpreter.env = self.values
        before = torch.random.get_rng_state()
        self.values[node] = interpreter.run_node(node)
        if not torch.equal(before, torch.random.get_rng_state()):
            raise _refused(node, "drawn at random")
        if self._is_trained(node):
            self.trained.add(node)

    def _take_sample_out(self, node: fx.Node) -> None:
        """Let a call that repeats a constant along the batch, and maybe other axes, repeat one of a whole sample."""
        constant, (batch, *others) = _arguments(node)
        stays = _REPEATING[node.target]
        if self.values[constant].dim() <= len(others) or any(each != stays for each in others):
            with self.traced.graph.inserting_before(node):
                constant = self.traced.graph.create_node("call_function", node.target, (constant, [1, *others]))
            constant.meta, constant.stack_trace = dict(node.meta), node.stack_trace
            self._compute(constant)
            if "shape" in constant.meta:
                constant.meta["shape"] = tuple(self.values[constant].shape)
        node.args = (constant, [batch, *[stays] * len(others)])

    @property
    def constants(self) -> list[fx.Node]:
        """They all."""
        return list(self.values)

    def fold(self, node: fx.Node) -> None:
        """Put a constant in the place of a call where others read it than those that are folded with it."""
        if is_constant(self.traced, node):
            return
        readers = [user for user in node.users if user not in self.values]
        if node not in self.trained:
            readers += [user for user in node.users if user in self.trained]
        if not readers:
            return
        value = self.values[node]
        if isinstance(value, Tensor):
            if node in self.trained:
                name = _fresh(self.traced, node.name + _EXPRESSION)
                self.traced.add_submodule(name, ConstantExpression(tuple(self._steps(node))))
                new = _replace(node, "call_module", name, readers)
                self.trained.add(new)
            else:
                new = _replace(node, "get_attr", self._buffer(node, value), readers)
            self.values[new] = value
        elif isinstance(value, bool | int | float):
            if node in self.trained:
                raise _refused(
                    node, "a number of Python", "keep it a tensor, as y.amax() does instead of y.max().item()"
                )
            for user in readers:
                arguments = (
                    fx.node.map_arg(each, lambda n: value if n is node else n) for each in (user.args, user.kwargs)
                )
                user.args, user.kwargs = arguments  # type: ignore[assignment]

    def erase(self) -> None:
        """Take out what nobody reads any more.

        A buffer is not the network's any more then: a state with another one has to be refused, not taken in vain.
        """
        unread = [node for node in self.constants if node.op == "get_attr" and isinstance(self.values[node], Tensor)]
        for node in reversed(self.constants):
            if not node.users:
                self.traced.graph.erase_node(node)
        read = {str(node.target) for node in self.traced.graph.find_nodes(op="get_attr")}
        expressions = [module for module in self.traced.modules() if isinstance(module, ConstantExpression)]
        held = {id(tensor) for each in expressions for _, tensor in each.tensors()}
        for node in unread:
            owner, _, name = str(node.target).rpartition(".")
            holder = self.traced.get_submodule(owner)
            # A layer's own are its own business.
            bare = holder is self.traced or type(holder) is nn.Module
            if bare and str(node.target) not in read and id(self.values[node]) not in held:
                holder._buffers.pop(name, None)

    def _is_trained(self, node: fx.Node) -> bool:
        if node.op == "get_attr":
            return isinstance(self.values[node], nn.Parameter)
        module = self.traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, ConstantExpression):
            return True
        own = module is not None and next(module.parameters(), None) is not None
        return own or any(each in self.trained for each in node.all_input_nodes)

    def _steps(self, last: fx.Node) -> Iterator[Step]:
        """The calls that give ``last``, in the order of execution."""
        needed, waiting = {last}, [last]
        while waiting:
            for each in waiting.pop().all_input_nodes:
                if each not in needed:
                    needed.add(each)
                    waiting.append(each)
        places: dict[fx.Node, Any] = {}
        count = 0
        for node in self.traced.graph.nodes:
            if node not in needed:
                continue
            if node.op == "get_attr" and isinstance(self.values[node], Tensor):
                owner, _, name = str(node.target).rpartition(".")
                places[node] = HeldTensor(str(node.target), self.traced.get_submodule(owner), name)
                continue
            places[node] = Result(count)
            count += 1
            yield self._step(node, places)

    def _step(self, node: fx.Node, places: Mapping[fx.Node, Any]) -> Step:
        call: Any = node.target
        if node.op == "call_module":
            call = self.traced.get_submodule(str(node.target))
            if isinstance(call, InTraining) and call.of_gradients:
                call = call.part
        elif node.op == "get_attr":
            # A graph in the graph, which a call of a higher order is given.
            return Step(_given, (self.values[node],), {})
        args, kwargs = (fx.node.map_arg(each, places.__getitem__) for each in (node.args, node.kwargs))
        return Step(call, args, kwargs)  # type: ignore[arg-type]

    def _buffer(self, node: fx.Node, value: Tensor) -> str:
        """The name of a buffer of that value."""
        for name, known in self.buffers:
            alike = (known.dtype, known.device, known.shape) == (value.dtype, value.device, value.shape)
            if alike and not value.is_meta and torch.equal(known, value):
                return name
        name = _fresh(self.traced, node.name + _VALUE)
        # Of its own, because what was computed may be a view of a tensor that is written to.
        tensor = value.detach().clone(memory_format=torch.contiguous_format)
        self.traced.register_buffer(name, tensor)
        self.buffers.append((name, tensor))
        return name

    def _require_pure(self, node: fx.Node) -> None:
        """Refuse what writes, and what draws at random or writes in training though not in evaluation.

        Raises:
            UnsupportedLayer: it does.
            ConstantInTraining: it does in training alone.
        """
        if node.op == "call_module":
            module = self.traced.get_submodule(str(node.target))
            if not isinstance(module, ConstantExpression):
                self._require_pure_in_training(node, module)
        elif node.op != "get_attr":
            schema = getattr(node.target, "_schema", None)
            if schema is not None and schema.is_mutable:
                raise _refused(node, "written to")
            if isinstance(node.target, torch._ops.OpOverload) and _draws(node, node.target):
                raise _refused(node, "drawn at random")

    def _require_pure_in_training(self, node: fx.Node, module: nn.Module) -> None:
        trial = copy.deepcopy(module).train()
        before = [(each, each.clone()) for each in (*trial.parameters(), *trial.buffers()) if not each.is_meta]
        drawn = torch.random.get_rng_state()
        given: Any = fx.node.map_arg((node.args, node.kwargs), self.values.__getitem__)
        trial(*given[0], **given[1])
        if not torch.equal(drawn, torch.random.get_rng_state()):
            raise _refused(node, "drawn at random in training", kind=ConstantInTraining)
        if not all(torch.equal(each, values) for each, values in before):
            raise _refused(node, "written to in training", kind=ConstantInTraining)


def _draws(node: fx.Node, call: torch._ops.OpOverload) -> bool:
    """Whether an operator draws at random; dropout that was told that it is evaluation does not."""
    return draws_numbers(node) and given_arguments(node).get("train", True) is not False


def _is_taken(node: fx.Node) -> bool:
    """Whether what a call is for is its result: not so of what switches a mode, as that of gradients."""
    return bool(node.users) or node.op == "get_attr" or isinstance(node.target, torch._ops.OpOverload)


def _given(value: Any) -> Any:
    return value


def _replace(node: fx.Node, op: str, target: str, readers: Iterable[fx.Node] | None = None) -> fx.Node:
    """Let ``readers``, or all, read ``target`` in the place of a node."""
    with node.graph.inserting_after(node):
        new = node.graph.create_node(op, target)
    new.meta, new.stack_trace = dict(node.meta), node.stack_trace
    chosen = set(node.users if readers is None else readers)
    node.replace_all_uses_with(new, delete_user_cb=chosen.__contains__)
    return new


def _fresh(traced: fx.GraphModule, stem: str) -> str:
    while hasattr(traced, stem):
        stem += "_"
    return stem


def _refused(
    node: fx.Node, got: str, remedy: str = "", kind: type[UnsupportedLayer] = UnsupportedLayer
) -> UnsupportedLayer:
    line = source_line(node)
    return kind(
        where=f"constant {node.name!r}" + (f" ({line})" if line else ""),
        expected="a tensor that hangs on parameters and buffers alone, whenever it is computed",
        got=f"one that is {got}",
        remedy=remedy
        or "compute it in the constructor and register it as a buffer; what training alone does, do in "
        "the training step",
    )
