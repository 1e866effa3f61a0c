"""AdaRound: whether each weight is rounded up or down is learned, layer by layer, so that the layer's outputs stay.

To the nearest step is the best rounding of one weight and not of many that are summed: errors of one sign add up.

Source: Nagel et al. 2020 (arXiv:2004.10568).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from qtorch.capture.capture import CapturedNetwork
from qtorch.capture.constant_expression import ConstantExpression
from qtorch.errors import BadConfiguration
from qtorch.network.calibration import Batch
from qtorch.network.quantized_op import QuantizedOp
from qtorch.numbers.functional import WEIGHT_RANGE, along, whole_steps
from qtorch.post_training.side_by_side import Layer, own_constant, run_side_by_side
from qtorch.progress import steps as steps_of

__all__ = ["LearnedRounding", "learn_steps", "rectified_sigmoid", "round_adaptively", "rounding_penalty"]

#: How far the sigmoid is stretched beyond 1 and 0, so that it gets there; section 3.2.
ZETA, GAMMA = 1.1, -0.1
#: The exponent of the penalty, first and last: flat in the middle at first, so that all weights can move.
FIRST_BETA, LAST_BETA = 20.0, 2.0
#: The share of the steps that goes without a penalty.
_WARM_UP = 0.2
#: Learning rate times steps: 1e-3 for the paper's 10,000.
_WAY = 10.0


@dataclass(frozen=True)
class LearnedRounding:
    """What became of one layer.

    Attributes:
        name: in the network; once for every call.
        nearest: mean squared error of the layer's outputs, after a fused activation, rounded to nearest.
        learned: the same as it is now; never more.
        moved: share of the weights that are not at their nearest step, in [0, 1].
        skipped: why the weights were left as they were; empty if their rounding was learned.
    """

    name: str
    nearest: float
    learned: float
    moved: float
    skipped: str = ""


def rectified_sigmoid(v: Tensor) -> Tensor:
    """``clip(sigmoid(v) (zeta - gamma) + gamma, 0, 1)``, equation 23; any shape."""
    return (torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def inverse_rectified_sigmoid(share: Tensor) -> Tensor:
    """The ``v`` for which :func:`rectified_sigmoid` gives ``share``, in [0, 1]."""
    return torch.logit((share - GAMMA) / (ZETA - GAMMA))


def rounding_penalty(share: Tensor, beta: float) -> Tensor:
    """Mean of ``1 - |2 h - 1|^beta``, equation 24: 0 where every ``h`` is 0 or 1, 1 where all are one half."""
    return (1 - (2 * share - 1).abs().pow(beta)).mean()


def annealed_beta(progress: float) -> float:
    """From :data:`FIRST_BETA` to :data:`LAST_BETA` along half a cosine; ``progress`` in [0, 1]."""
    return LAST_BETA + (FIRST_BETA - LAST_BETA) * (1 + math.cos(math.pi * progress)) / 2


@torch.enable_grad()
def learn_steps(
    steps: Tensor,
    limit: int,
    outputs: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    *,
    iterations: int,
    batch: int,
    strength: float,
    generator: torch.Generator,
) -> Tensor:
    """Which of its two neighbouring integers each weight should become, so that outputs are near their targets.

    The loss is the squared error of the outputs, in units of what rounding to nearest does to them, plus ``strength``
    times :func:`rounding_penalty`. (The paper adds the plain sum, whose weight depends on the layer's size and on the
    unit of its outputs.) Adam; the learning rate is 10 by the number of iterations, which is the paper's for its own.

    Args:
        steps: the weight in units of its scale, float32.
        limit: the highest code; the lowest is its negative.
        outputs: of inputs and a weight in units of its scale; differentiable in the latter.
        inputs: float32 ``[N, ...]``.
        targets: float32 ``[N, ...]``.
        iterations: at least 1.
        batch: samples per iteration, drawn with replacement.
        strength: of the penalty.
        generator: where samples are drawn from.

    Returns: float32 integers of ``steps``'s shape, in ``[-limit, limit]``; 0 where a weight is 0, as pruning left it.
    """
    below, pruned = torch.floor(steps), steps == 0
    v = inverse_rectified_sigmoid(steps - below).requires_grad_()
    nearest = whole_steps(steps).clamp(-limit, limit)
    with torch.no_grad():
        unit = float((outputs(inputs, nearest) - outputs(inputs, steps)).square().mean())
    if unit == 0:
        return nearest
    optimizer = torch.optim.Adam([v], lr=_WAY / iterations, eps=1e-12)
    for iteration in steps_of(range(iterations), "steps"):
        drawn = torch.randint(len(inputs), (min(batch, len(inputs)),), generator=generator)
        # A weight that is 0 has no neighbour to become, nor a gradient.
        share = rectified_sigmoid(v).masked_fill(pruned, 0.0)
        now = outputs(inputs[drawn], (below + share).clamp(-limit, limit))
        loss = (now - targets[drawn]).square().mean() / unit
        progress = (iteration / iterations - _WARM_UP) / (1 - _WARM_UP)
        if progress >= 0:
            loss = loss + strength * rounding_penalty(share, annealed_beta(progress))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (below + ((v.detach() >= 0) & ~pruned)).clamp(-limit, limit)


def round_adaptively(
    qat: CapturedNetwork,
    batches: Iterable[Batch],
    steps: int = 1000,
    seed: int = 0,
    *,
    batch: int = 32,
    strength: float = 10.0,
    original: fx.GraphModule | None = None,
) -> tuple[LearnedRounding, ...]:
    """Learn the rounding of every layer's weights and pin it; changes ``qat`` in place.

    Example:
        >>> folded = fold_batch_norms(net, inputs[:1])
        >>> qat = qtorch.prepare(folded, inputs[:1], qtorch.QuantizationConfig(weight_bits=4))
        >>> qtorch.calibrate(qat, [inputs])
        >>> round_adaptively(qat, [inputs])
        >>> graph = integer_graph(qat)

    Layer by layer in the order of execution: the inputs are the quantized network's, its weights rounded up to there;
    the targets are the float network's outputs after a fused activation (asymmetric reconstruction, equation 25).
    Scales stay as they are. Afterwards the weights lie on their grids, and plain rounding gives the learned codes
    (:meth:`qtorch.network.quantized_op.QuantizedOp.pin_weight`). Weights of exactly 0, as pruning leaves them, stay 0.
    A rounding that turns out no better than to nearest on all the batches is not taken.

    Weights that several calls share are rounded to nearest, with a reason, as are those of a batch norm on its own.

    Args:
        qat: from :func:`qtorch.prepare`, calibrated, without folded batch norms.
        batches: of float32 inputs, some hundred to a thousand samples in all, which are kept in memory.
        steps: of the optimizer for each layer, at least 1.
        seed: of the samples that each step draws.
        batch: samples per step.
        strength: of the penalty on weights that are between two steps.
        original: a copy of ``qat`` made before another method changed it; ``qat`` itself if ``None``.

    Raises:
        BadConfiguration: a batch norm is folded into a layer (then nothing was changed), ``qat`` was not calibrated,
            there was no batch, a number is out of its range, or ``original`` is another network.
        NotFinite: a batch holds NaN or infinity.
    """
    for name, number in (("steps", steps), ("batch", batch)):
        if number < 1:
            raise BadConfiguration(where=name, expected="at least 1", got=str(number), remedy="raise it")
    _require_no_norms(qat)
    generator = torch.Generator().manual_seed(seed)
    roundings: list[LearnedRounding] = []

    def visit(layer: Layer) -> None:
        roundings.append(_round_layer(qat, layer, steps, batch, strength, generator))

    run_side_by_side(qat, batches, visit, original, "learning how to round weights")
    return tuple(roundings)


def _require_no_norms(qat: CapturedNetwork) -> None:
    for name, op in qat.named_modules():
        if not isinstance(op, QuantizedOp) or op.norm is None:
            continue
        if isinstance(op.constants.held()["weight"], torch.nn.Parameter | ConstantExpression):
            raise BadConfiguration(
                where=f"layer {name!r}",
                expected="a layer without a batch norm behind it",
                got="one that would go on changing the weights to be rounded",
                remedy="prepare qtorch.post_training.fold_batch_norms(net, example) instead of net",
            )


def _round_layer(
    qat: CapturedNetwork, layer: Layer, steps: int, batch: int, strength: float, generator: torch.Generator
) -> LearnedRounding:
    op = layer.op
    constants = op.constants.rounded()
    inputs = torch.cat(layer.inputs)
    real = layer.original.constants.real()
    targets = torch.cat([layer.original.compute((x,), real) for x in layer.original_inputs])

    def error(weight: Tensor) -> float:
        return float((op.compute((inputs,), {**constants, "weight": weight}) - targets).square().mean())

    nearest = error(constants["weight"])
    weight, skipped = own_constant(qat, op, "weight")
    if op.norm is not None:
        skipped = "it is a batch norm on its own"
    front = op.constants.front
    if front is not None and front.shifts:
        skipped = "a normalization is folded into its bias, which would change with the weights"
    if weight is None or skipped:
        return LearnedRounding(layer.name, nearest, nearest, 0.0, skipped)
    weight = op.constants.real()["weight"]
    scale, limit = op.constants.integers()["weight"].grid.scale, WEIGHT_RANGE[op.config.weight_dtype][1]
    assert op.constants.weight_grid is not None
    step = along(scale, op.constants.weight_grid.axis, weight.dim())

    def outputs(x: Tensor, in_steps: Tensor) -> Tensor:
        return op.compute((x,), {**constants, "weight": in_steps * step})

    learned = learn_steps(
        weight.detach() / step, limit, outputs, inputs, targets,
        iterations=steps, batch=batch, strength=strength, generator=generator,
    )  # fmt: skip
    better = error(learned * step) < nearest
    plain = whole_steps(weight / step).clamp(-limit, limit)
    taken = learned if better else plain
    moved = float((taken != plain).float().mean())
    op.pin_weight(taken * step, scale)
    return LearnedRounding(layer.name, nearest, min(error(taken * step), nearest), moved)
