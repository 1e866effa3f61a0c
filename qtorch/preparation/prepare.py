"""Float network to QAT network: trace, match rows, fold and fuse, and give every tensor a quantizer.

The result is a ``torch.fx.GraphModule`` of :class:`Quantizer` (at the network's inputs) and :class:`QuantizedOp` nodes,
with dropout where it was. Parameters stay the same objects and keep their names, so a float network's state dict loads
into it.
"""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import Any

import torch
from torch import fx, nn

from qtorch.arguments import spelt
from qtorch.bounds import shown
from qtorch.capture.capture import capture_of
from qtorch.config import QuantizationConfig, require_config
from qtorch.errors import BadConfiguration, NotFinite
from qtorch.network.batch_norm import BatchNorm, require_statistics
from qtorch.network.calibration import freeze_batch_norm
from qtorch.network.origin import Origin
from qtorch.network.quantized_network import QuantizedNetwork
from qtorch.network.quantizer import Quantizer
from qtorch.network.whole_parameters import require_whole
from qtorch.preparation.assembly import Assembly
from qtorch.preparation.grid_assignment import GridAssignment
from qtorch.preparation.layer_settings import LayerSettings
from qtorch.preparation.network_interface import require_inputs_read
from qtorch.preparation.planning import OpNames, Planning
from qtorch.preparation.python_numbers import require_no_numbers
from qtorch.preparation.start_states import write_out_zeros
from qtorch.preparation.sum_room import require_possible_sums
from qtorch.preparation.summed_squares import widen_summed_squares
from qtorch.preparation.unheard_settings import unheard
from qtorch.preparation.wider_activations import widen_what_is_too_long

__all__ = ["prepare", "unwrapped"]


_SETTINGS = {
    each.name: f"write it into the configuration: config=qtorch.QuantizationConfig({each.name}=...)"
    for each in fields(QuantizationConfig)
}


@spelt(elsewhere=_SETTINGS)
def prepare(net: nn.Module, example_input: Any, config: QuantizationConfig | None = None) -> QuantizedNetwork:
    """A network over the weights of ``net`` that can be calibrated, trained with quantization, and exported.

    Its parameters and buffers are the very objects that ``net`` has: an optimizer that was made before holds them, and
    what is trained in one is trained in the other. Hand in ``copy.deepcopy(net)`` to keep a float network as it is.
    Nothing else of ``net`` is changed.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))
        >>> qat = prepare(net, torch.zeros(1, 3, 8, 8))
        >>> calibrate(qat, [torch.rand(100, 3, 8, 8)])
        >>> set_mode(qat, Mode.QUANTIZED)      # now train it like any module

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
        NotFinite: a parameter, or a batch norm's running statistics, hold NaN or infinity.
        UnknownArgument: an argument is unknown; says where a setting belongs.
        BadConfiguration: the network does not run on the example, is prepared already, or a layer is configured that it
            does not have.
        AccumulatorOverflow: a layer adds more codes than the device's sums hold, whatever range they have.

    Warns:
        UserWarning: of what the configuration asks for without effect.
    """
    net, config = unwrapped(net), require_config(config)
    if any(isinstance(module, Quantizer) for module in net.modules()):
        raise BadConfiguration(
            where="prepare",
            expected="a float network",
            got=f"{type(net).__name__} with quantizers in it, which is prepared already",
            remedy="use it as it is; to quantize it otherwise, prepare the float network again",
        )
    require_whole(net.modules())
    _require_usable_parameters(net)
    require_statistics(net)
    capture = capture_of(net, example_input, config.activation_types)
    prepared, odd = capture.traced(QuantizedNetwork)
    heard = _put_ops(prepared, config)
    prepared.train(net.training)
    _keep_frozen_norms(prepared, net)
    prepared.finish(Origin(net, capture.shapes, config, prepare))
    capture.require_same(prepared, odd)
    for message in unheard(config, heard):
        warnings.warn(message, UserWarning, stacklevel=3)
    return prepared


def _put_ops(traced: fx.GraphModule, config: QuantizationConfig) -> dict[str, frozenset[str]]:
    """Turn a traced network into one of quantized ops, in place; by layer, the settings that have an effect on it."""
    settings, names = LayerSettings(config), OpNames(traced)
    # What nothing reads needs no row: checks of sizes, what hooks only look at.
    traced.graph.eliminate_dead_code()
    require_no_numbers(traced)
    write_out_zeros(traced)
    plans = Planning(traced, settings, names).run()
    require_inputs_read(traced)
    widen_summed_squares(plans)
    widen_what_is_too_long(plans)
    sharing = GridAssignment(traced, plans, settings, names).run()
    settings.require_known()
    heard = settings.heard(plans, sharing)
    Assembly(traced, plans, sharing).run()
    require_possible_sums(plans.values())
    return heard


def _keep_frozen_norms(prepared: nn.Module, net: nn.Module) -> None:
    """Batch norms that are in evaluation while the network trains go on so, if all are.

    Warns:
        UserWarning: some are, and others are not.
    """
    norms = {name: module for name, module in net.named_modules() if isinstance(module, BatchNorm)}
    frozen = [name for name, module in norms.items() if net.training and not module.training]
    if frozen and len(frozen) == len(norms):
        freeze_batch_norm(prepared)
    elif frozen:
        warnings.warn(
            f"prepare: batch norm {frozen[0]!r} is in evaluation while the network trains, and will train in what was "
            "prepared, as the others do. Remedy: freeze all, by qtorch.freeze_batch_norm(network)",
            UserWarning,
            stacklevel=4,
        )


def unwrapped(net: nn.Module) -> nn.Module:
    """The module that was compiled, or wrapped for several devices; ``net`` itself where it was not.

    Raises:
        BadConfiguration: it is none; or it, or a part of it, was scripted, so that nothing is left of its layers.
    """
    while True:
        if not isinstance(net, nn.Module):
            raise BadConfiguration(
                where="network",
                expected="a torch.nn.Module",
                got=shown(net),
                remedy="pass the module itself: of a file the network that its weights are loaded into, of a function "
                "one whose forward it is",
            )
        for name, module in net.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                raise BadConfiguration(
                    where=f"layer {name!r}" if name else "prepare",
                    expected="a module of Python",
                    got=f"{type(module).__name__}",
                    remedy="take the module that was handed to torch.jit.script or torch.jit.trace",
                )
        wrapped = isinstance(net, nn.DataParallel | nn.parallel.DistributedDataParallel)
        # A compiled module's class is not looked up: to import it takes as long as all the rest of torch.
        inside: Any = net.module if wrapped else net._modules.get("_orig_mod")
        if inside is None:
            return net
        net = inside


def _require_usable_parameters(net: nn.Module) -> None:
    for name, parameter in net.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise BadConfiguration(
                where=f"parameter {name!r}",
                expected="values",
                got="none yet, as a lazy layer has before its first batch",
                remedy="call the network once on a batch before it is prepared",
            )
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
