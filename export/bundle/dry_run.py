"""An export tried before training: what would be refused whatever the network learns is refused at once.

The network as it is, copied, calibrated on a few samples and lowered. What depends on the weights is not judged here.
"""

from __future__ import annotations

import copy
from math import prod

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_map

from export.boards import board
from export.bundle.editions import for_edition
from export.bundle.project_edition import require_project_edition
from export.c.model import fitting_source
from export.c_language.names import c_identifier
from export.device.firmware_project import require_int8_ends
from export.engines import tflm_available
from export.figures.subject import Networks
from export.graph.build import integer_graph, with_ends
from export.graph.ir import Graph
from export.options import ExportOptions
from export.tflite.arena import LARGEST_ARENA
from export.tflite.model_file import too_large
from export.tflite.writer import write_tflite
from qtorch.capture.call_form import tensors_in
from qtorch.capture.samples import Samples, taken
from qtorch.errors import BadConfiguration, NotFinite
from qtorch.network.calibration import calibrate
from qtorch.network.quantized_network import QuantizedNetwork
from qtorch.preparation.prepare import prepare

__all__ = ["dry_run"]

#: How many at most, and how many numbers of all.
_SAMPLES, _NUMBERS = 16, 2**18


def dry_run(networks: Networks, inputs: Samples | None, name: str, options: ExportOptions) -> None:
    """Refuse what an export would refuse after training; networks and random numbers stay as they are.

    Args:
        networks: not yet trained.
        inputs: what they will read in training, float32 ``[N, ...]``, or a tuple of a network's several; without any,
            random ones are tried.
        name: of the model, any string.
        options: of the export.

    Raises:
        BadConfiguration: the board's memory does not hold the network, a sum can overflow, or the network has ends that
            nothing takes.
        UnsupportedLayer: an op has no form in what is to be written.
        UnsupportedByEdition: the board's TFLite Micro computes an op otherwise, or refuses it, in every form.
    """
    if options.format != "int8":
        return
    with torch.random.fork_rng():
        torch.manual_seed(0)
        graph = _lowered(networks, inputs, options)
    if graph is None:
        return
    other = for_edition(graph, options, certain=True).graph
    if options.writes_c:
        fitting_source(
            c_identifier(name), graph, board(options.target), options.optimize, fast=options.fast_memory,
            flash=options.flash,
        )  # fmt: skip
    if options.firmware is not None:
        require_int8_ends(graph)
        require_project_edition(write_tflite(other), board(options.target), options.edition, certain=True)
    final = with_ends(graph, options.io)
    if tflm_available():
        _require_arena(final)
    write_tflite(final)
    for form in options.forms:
        form.try_out(name, final)


def _lowered(networks: Networks, inputs: Samples | None, options: ExportOptions) -> Graph | None:
    """Integers that the network stands for before training; ``None`` where its first weights are no sign of others.

    Raises:
        BadConfiguration: a sum overflows, with other weights too.
    """
    network, example = _prepared(networks), networks.example
    numbers = sum(prod(each.shape[1:]) for each in tensors_in(example))
    count = max(1, min(_SAMPLES, _NUMBERS // max(1, numbers)))
    random = tree_map(lambda each: torch.rand(count, *each.shape[1:]) if isinstance(each, Tensor) else each, example)
    batch = random if inputs is None else taken(inputs, slice(count))
    try:
        return _integers(network, batch, options)
    except (OverflowError, NotFinite):
        # Weights that begin as zeros make the steps of a sum so small that a bias leaves it.
        _draw_weights(network)
    try:
        return _integers(network, batch, options)
    except NotFinite:
        return None
    except OverflowError as error:
        raise BadConfiguration(
            where="export",
            expected="a network whose sums fit their integers for every input",
            got=f"{error}",
            remedy="make that layer narrower, or give it fewer bits",
        ) from error


def _prepared(networks: Networks) -> fx.GraphModule:
    net = copy.deepcopy(networks.trained).cpu().eval()
    return net if isinstance(net, QuantizedNetwork) else prepare(net, networks.example, networks.config).eval()


def _integers(network: fx.GraphModule, batch: Samples, options: ExportOptions) -> Graph:
    with torch.no_grad():
        calibrate(network, [batch])
    return integer_graph(network, options.input_layout)


def _draw_weights(network: fx.GraphModule) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=1 / max(1, prod(parameter.shape[1:])) ** 0.5)
            elif name.endswith("bias"):
                parameter.zero_()


def _require_arena(graph: Graph) -> None:
    """What a node reads and writes lies in the arena at once, whatever it is planned like."""
    for node in graph.nodes:
        if node.op == "reshape":
            continue
        values = [graph.values[name] for name in {*node.inputs, *node.outputs}]
        needed = sum(v.bytes for v in values if v.data is None)
        if needed > LARGEST_ARENA:
            raise too_large(f"{needed:,} bytes of tensors at {node.op} {node.output!r} alone")
