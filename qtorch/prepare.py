"""Float network to QAT network: trace, match rows, fold and fuse, and give every tensor a quantizer.

The result is a ``torch.fx.GraphModule`` of :class:`Quantizer` (at the network's inputs) and :class:`QuantizedOp` nodes,
with dropout where it was. Parameters stay the same objects and keep their names, so a float network's state dict loads
into it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, fx, nn

from qtorch.call_form import CallForm, arguments_of, call_form, signature_of
from qtorch.capture_check import require_captured, require_repeatable
from qtorch.config import QuantizationConfig
from qtorch.decompositions import decompose
from qtorch.errors import BadConfiguration, BadInput, NotFinite
from qtorch.fake_quant import Quantizer
from qtorch.preparation import Preparation
from qtorch.quantized_network import Origin, QuantizedNetwork
from qtorch.reference import Reference
from qtorch.surroundings import in_float32
from qtorch.tracing import Trace, Traced, detach_what_is_frozen, is_leaf, trace, traced_calls
from qtorch.training_form import act_in_training, keep_training_form
from qtorch.unheard_settings import unheard

__all__ = ["prepare", "unwrapped"]


def prepare(net: nn.Module, example_input: Any, config: QuantizationConfig | None = None) -> QuantizedNetwork:
    """A network over the weights of ``net`` that can be calibrated, trained with quantization, and exported.

    Its parameters and buffers are the very objects that ``net`` has: an optimizer that was made before holds them, and
    what is trained in one is trained in the other. Hand in ``copy.deepcopy(net)`` to keep a float network as it is.
    Nothing else of ``net`` is changed.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))
        >>> qat = prepare(net, torch.zeros(1, 3, 8, 8))
        >>> calibrate(qat, [torch.rand(100, 3, 8, 8)])
        >>> set_mode(qat, Mode.FAKE)      # now train it like any module

    Args:
        net: a plain module; its layers and functions must stand in a row. Of a compiled, DataParallel or DDP-wrapped
            one the module inside is prepared.
        example_input: one batch as the network is called with it: a float32 tensor or NumPy array with a leading batch
            axis; a tuple or list of arguments; a dict of arguments by name; or, where ``forward`` takes one, a dict or
            list of tensors as the one argument. What it leaves out keeps its default; what is no tensor is a constant.
        config: how to quantize.

    Raises:
        UnsupportedLayer: a layer, function, argument or control flow that can't be exported exactly; names it, its line
            of source, and what to use instead.
        NotFinite: a parameter holds NaN or infinity.
        BadConfiguration: the network does not run on the example, is prepared already, or a layer is configured that it
            does not have.

    Warns:
        UserWarning: of what the configuration asks for without effect.
    """
    net, config = unwrapped(net), config or QuantizationConfig()
    if any(isinstance(module, Quantizer) for module in net.modules()):
        raise BadConfiguration(
            where="prepare",
            expected="a float network",
            got=f"{type(net).__name__} with quantizers in it, which is prepared already",
            remedy="use it as it is; to quantize it otherwise, prepare the float network again",
        )
    given = arguments_of(signature_of(net), example_input)
    form, tensors = call_form(net, given, frozenset(name for name, _ in net.named_modules()))
    # As a prepared network takes whatever comes in.
    examples = tuple(in_float32(each) for each in tensors)
    _require_usable_parameters(net)
    # Whether its tensors are its own is looked at before anything of it is copied.
    _with_its_tensors(net)
    reference = None if any(each.is_meta for each in (*examples, *net.parameters())) else Reference(net, form)
    if reference is not None:
        require_repeatable(reference, examples)
    acting = frozenset() if reference is None else frozenset(reference.acting)
    found = _traced(net, form, examples, QuantizedNetwork, acting)
    prepared = found.graph
    preparation = Preparation(prepared, config)
    preparation.run()
    prepared.train(net.training)
    shapes = tuple(tuple(each.shape) for each in examples)
    prepared.finish(Origin(net, shapes, config, prepare, form, found.outputs))
    if reference is not None:
        require_captured(
            prepared, reference, examples, lambda: trace(_inside(net).eval(), form, examples, acting=acting).graph
        )
    for message in unheard(config, preparation.heard):
        warnings.warn(message, UserWarning, stacklevel=2)
    return prepared


def _traced(
    net: nn.Module,
    form: CallForm,
    examples: tuple[Tensor, ...],
    kind: type[Traced],
    acting: Collection[tuple[str, int]],
) -> Trace[Traced]:
    """The evaluation form of a network, with what only its training form does in modules that act in training.

    Warns:
        UserWarning: of what only the training form does and these can't.
    """
    found = trace(_inside(net).eval(), form, examples, kind, acting=acting)
    try:
        trained = traced_calls(_inside(net).train(), form, fx.GraphModule, acting=acting)
    except BadInput as error:
        odd = str(error)
        if found.identities:
            # Of layers that do nothing in evaluation it does not matter what they do in training.
            found = trace(_inside(net).eval(), form, examples, kind, found.identities, acting)
            act_in_training(found.graph, found.opaque)
            try:
                trained = traced_calls(_inside(net).train(), form, fx.GraphModule, found.opaque, acting)
                odd = keep_training_form(found.graph, trained.graph)
            except BadInput as other:
                odd = str(other)
    else:
        odd = keep_training_form(found.graph, trained.graph)
    if odd:
        _warn(odd)
    detach_what_is_frozen(found.graph)
    return found


def _warn(odd: str) -> None:
    warnings.warn(
        f"prepare: in training the network computes something else than in evaluation, from {odd} on; what was "
        "prepared computes in training what it does in evaluation. Remedy: let a module of its own, which returns its "
        "input in evaluation, do what is for training alone, or do it in the training step",
        UserWarning,
        stacklevel=4,
    )


def _inside(net: nn.Module) -> nn.Module:
    """A copy of ``net`` to be traced, over the same parameters and buffers."""
    inside = _with_its_tensors(net)
    # A tracer looks into its root; a lone layer must be seen as a layer.
    return decompose(nn.Sequential(inside) if is_leaf(inside) else inside)


def unwrapped(net: nn.Module) -> nn.Module:
    """The module that was compiled, or wrapped for several devices; ``net`` itself where it was not.

    Raises:
        BadConfiguration: it was scripted, so that nothing is left of its layers.
    """
    while True:
        if isinstance(net, torch.jit.ScriptModule):
            raise BadConfiguration(
                where="prepare",
                expected="a module of Python",
                got=f"{type(net).__name__}",
                remedy="prepare the module that was handed to torch.jit.script or torch.jit.trace",
            )
        wrapped = isinstance(net, nn.DataParallel | nn.parallel.DistributedDataParallel)
        # A compiled module's class is not looked up: to import it takes as long as all the rest of torch.
        inside: Any = net.module if wrapped else net._modules.get("_orig_mod")
        if inside is None:
            return net
        net = inside


def _with_its_tensors(net: nn.Module) -> nn.Module:
    """A copy of ``net`` whose parameters and buffers are the same objects.

    Raises:
        BadConfiguration: it holds a tensor that it computes from its parameters, as pruning and weight norms do.
    """
    try:
        return copy.deepcopy(net, {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())})
    except RuntimeError as error:
        computed = [
            f"{name}.{attribute}".lstrip(".")
            for name, module in net.named_modules()
            for attribute, value in vars(module).items()
            if isinstance(value, Tensor) and not value.is_leaf
        ]
        if not computed:
            raise
        raise BadConfiguration(
            where=f"{computed[0]!r}",
            expected="weights that are parameters",
            got="a tensor computed from others, as torch.nn.utils.prune, weight_norm and spectral_norm leave it",
            remedy="make it permanent first: prune.remove(layer, 'weight'), remove_weight_norm(layer)",
        ) from error


def _require_usable_parameters(net: nn.Module) -> None:
    for name, parameter in net.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise BadConfiguration(
                where=f"parameter {name!r}",
                expected="float32, in which a prepared network computes",
                got=f"{parameter.dtype}",
                remedy="call .float() on the network before it is prepared",
            )
        if not parameter.numel():
            raise BadConfiguration(
                where=f"parameter {name!r}",
                expected="at least one number",
                got=f"shape {tuple(parameter.shape)}",
                remedy="leave that layer out, or make it wider",
            )
        # On no device there are no values to look at.
        bad = 0 if parameter.is_meta else int((~torch.isfinite(parameter)).sum())
        if bad:
            raise NotFinite(
                where=f"parameter {name!r}",
                expected="finite values",
                got=f"{bad} of {parameter.numel()} NaN or infinite",
                remedy="lower the learning rate or check the data, and train the float network again",
            )
