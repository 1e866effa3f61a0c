"""An exported program as a graph over the network's own layers, parameters and buffers.

Kept calls are calls of what was kept again, parameters and buffers are read where they stand, blocks without gradients
stand inline with a mark at each call, and batch norms that code of the network's own calls as a function are layers.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from qtorch.capture.exporting import Exported
from qtorch.capture.identities import CHECKS
from qtorch.capture.kept_calls import KEPT
from qtorch.capture.nodes import mark_without_gradients, operator_name

__all__ = ["CalledNorm", "lifted"]

#: What the exported network stands under, in the one that is exported.
_INSIDE = "net."


class CalledNorm(nn.modules.batchnorm._BatchNorm):
    """A batch norm, of any rank, that a network's own code calls as a function."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Whatever the function takes."""


def lifted(exported: Exported, net: nn.Module, names: tuple[str, ...]) -> fx.Graph:
    """The calls of what was exported, over ``net``.

    Args:
        exported: of ``net``, or a copy of it.
        net: whose parameters, buffers and layers are read; constants that its code made become buffers of it, and
            batch norms that it calls as functions layers.
        names: of the inputs.
    """
    return _Lifting(exported, net, names).run()


class _Lifting:
    def __init__(self, exported: Exported, net: nn.Module, names: tuple[str, ...]) -> None:
        self.exported, self.net, self.names = exported, net, names
        self.graph = fx.Graph()
        self.at: dict[fx.Node, Any] = {}

    def run(self) -> fx.Graph:
        program = self.exported.program
        names = iter(self.names)
        specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                spec = specs[node.name]
                if spec.kind is InputKind.USER_INPUT:
                    self._add(node, self.graph.placeholder(next(names)))
                else:
                    self._add(node, self.graph.get_attr(self._attribute(spec)))
            elif node.op == "output":
                self._return(node)
            else:
                self._call(program.graph_module, node, True)
        # What was computed inside of calls that are kept is read by nobody.
        self.graph.eliminate_dead_code(_stays)
        for node in list(self.graph.nodes):
            if operator_name(node) == "batch_norm":
                self._put_norm(node)
        return self.graph

    def _add(self, node: fx.Node, new: fx.Node) -> None:
        new.meta = {name: node.meta[name] for name in ("val", "stack_trace") if name in node.meta}
        layer, kind = _layer(node)
        if layer:
            new.meta |= {"layer": layer, "layer_class": kind}
        self.at[node] = new

    def _attribute(self, spec: Any) -> str:
        """Where the network has a parameter, buffer or constant."""
        path = str(spec.target).removeprefix(_INSIDE)
        owner, _, name = path.rpartition(".")
        try:
            value = getattr(self.net.get_submodule(owner), name)
        except AttributeError:
            value = None
        if isinstance(value, Tensor):
            return path
        # A constant that the network's code made while it ran.
        name = path.replace(".", "_")
        self.net.register_buffer(name, self.exported.program.constants[spec.target], persistent=False)
        return name

    def _return(self, node: fx.Node) -> None:
        outputs = self.exported.program.graph_signature.output_specs
        given = [self._value(each) for each, spec in zip(node.args[0], outputs, strict=True)  # type: ignore[arg-type]
                 if spec.kind.name == "USER_OUTPUT"]  # fmt: skip
        self.graph.output(given[0] if self.exported.single else tuple(given))

    def _value(self, argument: Any) -> Any:
        return fx.map_arg(argument, self.at.__getitem__)

    def _call(self, module: fx.GraphModule, node: fx.Node, with_gradients: bool) -> None:
        if node.op == "get_attr":
            # The body of a block, or a constant inside one.
            value = getattr(module, str(node.target))
            if isinstance(value, Tensor):
                name = f"_constant_{len(self.at)}"
                self.net.register_buffer(name, value, persistent=False)
                self._add(node, self.graph.get_attr(name))
            else:
                self.at[node] = value
            return
        if operator_name(node) in CHECKS:
            return
        if getattr(node.target, "__name__", "") in ("wrap_with_set_grad_enabled", "wrap_with_autocast"):
            self._inline(node, with_gradients)
            return
        if node.target is KEPT:
            self._kept(node)
        elif node.target is operator.getitem and isinstance(self._value(node.args[0]), tuple | list):
            self.at[node] = self._value(node.args[0])[node.args[1]]
            return
        else:
            args, kwargs = self._value(node.args), self._value(node.kwargs)
            self._add(node, self.graph.create_node("call_function", node.target, args, kwargs, node.name))
        if not with_gradients:
            for each in self.at[node] if isinstance(self.at[node], list) else [self.at[node]]:
                mark_without_gradients(each)

    def _inline(self, node: fx.Node, with_gradients: bool) -> None:
        """The calls of a block, in the place of the block."""
        place = next(i for i, each in enumerate(node.args) if isinstance(self._value(each), fx.GraphModule))
        body, given = self._value(node.args[place]), node.args[place + 1 :]
        if getattr(node.target, "__name__", "") == "wrap_with_set_grad_enabled":
            with_gradients = bool(node.args[0])
        inside = iter(given)
        for each in body.graph.nodes:
            if each.op == "placeholder":
                self.at[each] = self._value(next(inside))
            elif each.op == "output":
                self.at[node] = tuple(self._value(each.args[0]))
            else:
                self._call(body, each, with_gradients)

    def _kept(self, node: fx.Node) -> None:
        tensors, *_, number = node.args
        call = self.exported.kept.calls[number]  # type: ignore[index]
        args, kwargs = call.arguments(self._value(tensors))
        name = None if call.op == "call_module" else getattr(call.target, "__name__", str(call.target)).strip("_")
        new = self.graph.create_node(call.op, call.target, args, kwargs, name)
        self._add(node, new)
        if call.several:
            parts = [self.graph.call_function(operator.getitem, (new, i)) for i in range(len(node.meta["val"]))]
        else:
            new.meta["val"] = node.meta["val"][0]
            parts = [new]
        for part, value in zip(parts, node.meta["val"], strict=True):
            part.meta = {**new.meta, "val": value}
        self.at[node] = parts

    def _put_norm(self, node: fx.Node) -> None:
        """Let a layer compute what a batch norm by function does: the one whose statistics it reads, or a new one."""
        source, weight, bias, mean, variance, _, momentum, eps, _ = node.args
        read = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": variance}
        if any(isinstance(each, fx.Node) and each.op != "get_attr" for each in read.values()) or mean is None:
            return
        paths = {role: str(each.target) for role, each in read.items() if isinstance(each, fx.Node)}
        tensors = {role: self._tensor(path) for role, path in paths.items()}
        if not all(isinstance(tensors.get(role), nn.Parameter | None) for role in ("weight", "bias")):
            return
        path, _, _ = paths["running_mean"].rpartition(".")
        owner = self.net.get_submodule(path)
        if not (path and all(each == f"{path}.{role}" for role, each in paths.items())):
            path, owner = node.name, None  # type: ignore[assignment]
        if type(owner) is not CalledNorm:
            self.net.set_submodule(path, _norm_of(tensors, owner, float(eps), float(momentum)))  # type: ignore[arg-type]
        with self.graph.inserting_before(node):
            call = self.graph.call_module(path, (source,))
        call.meta = dict(node.meta)
        node.replace_all_uses_with(call)
        self.graph.erase_node(node)

    def _tensor(self, path: str) -> Tensor:
        owner, _, name = path.rpartition(".")
        value = getattr(self.net.get_submodule(owner), name)
        assert isinstance(value, Tensor)
        return value


def _norm_of(tensors: dict[str, Tensor], owner: nn.Module | None, eps: float, momentum: float) -> CalledNorm:
    """A layer over these tensors; settings are the owner's, where that is a batch norm."""
    norm = CalledNorm(len(tensors["running_mean"]), eps, momentum, affine=False)
    if isinstance(owner, nn.modules.batchnorm._BatchNorm):
        norm.momentum = owner.momentum
        norm.train(owner.training)
    for role, tensor in tensors.items():
        if isinstance(tensor, nn.Parameter):
            norm.register_parameter(role, tensor)
        else:
            norm.register_buffer(role, tensor)
    for name, child in owner.named_children() if owner is not None else ():
        # Such as an activation: it is called by the name that it has there.
        norm.add_module(name, child)
    counter = getattr(owner, "num_batches_tracked", None)
    norm.register_buffer("num_batches_tracked", counter if isinstance(counter, Tensor) else None)
    return norm


def _stays(node: fx.Node) -> bool:
    """Whether a call means something though nothing reads it."""
    schema = node.target._schema if isinstance(node.target, torch._ops.OpOverload) else None
    return node.op in ("placeholder", "output") or (schema is not None and schema.is_mutable)


def _layer(node: fx.Node) -> tuple[str, str]:
    """Path and class of the innermost layer of torch's own that made a call; empty where the network's own code did."""
    for path, kind in reversed((node.meta.get("nn_module_stack") or {}).values()):
        name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
        if name.startswith("torch.nn.modules."):
            return str(path).removeprefix(_INSIDE), name.rpartition(".")[2]
        if path:
            break
    return "", ""
