"""What is wrong with a quantized tensor, and which option of this project mends it.

Every line names a cause, and is said only where what was measured implies it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from export.graph.ir import Node
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import Fixed

__all__ = ["SUSPECT", "Evidence", "advice"]

#: Of ``rmse/scale``: what TensorFlow's debugger guide suspects; rounding alone gives 0.289.
SUSPECT = 0.7
#: Decibels below which most values lie within three steps of zero: 20 dB over a noise of 0.289 steps is 2.9 steps; and
#: below which what a range cuts off is more than 1 % of the power of all values.
COARSE = 20.0
#: Decibels that results in 16 bits have at least where nothing is wrong: those of a grid of 8 bits that is well used.
FINE = 40.0
#: Root mean square of the values in steps, below which it is the grid that is coarse for them.
SMALL = 3.0
#: Decibels of one output channel's weights below which it has hardly more than a code or two.
WEAK_CHANNEL = 10.0
#: Codes that a feature of the input spans, of 256, below which it is told apart no better than in 4 bits.
NARROW = 16
#: Steps of an output's standard deviation below which rounding alone takes 0.5 % of its variance: 1 / (12 * 4**2).
FEW_STEPS = 4.0
#: How many times as wide another output on the same grid is, for the grid to be too wide because of that one.
UNLIKE = 4.0
#: Share of an input's values beyond its grid from which on they are no outliers: the data have another scale.
OTHER_SCALE = 0.25


@dataclass(frozen=True)
class Evidence:
    """What was measured of one tensor.

    Attributes:
        role: of the tensor in the graph.
        node: that makes it, or reads it if it is a constant; ``None`` for an input.
        qparams: its grid.
        rmse_over_scale: in steps.
        snr_db: of all its values.
        rms_steps: root mean square of its float values, in steps.
        powerless: whether all float values are zero.
        saturated_error: share of the squared error that values beyond the grid cause, 0 to 1; of a grid that a kernel
            fixed, beyond the step by which it ends below what it stands for.
        saturated_share: share of the values that are beyond it.
        end_error: share of the squared error that values within that step cause.
        weights_error: share of the squared error that would not be there with float weights, 0 to 1.
        code_spans: highest less lowest code, by index along the last axis.
        float_spans: the same of the float values, in steps.
        same_code: whether all codes are the same.
        weakest_channel_db: lowest signal-to-noise ratio of a weight's output channel; ``None`` for all else.
        weight: the grid of the weights that made it; ``None`` without.
        output_spreads: standard deviation of the float values in steps, by index along the last axis, of an output of
            the network; empty of all else.
        titles: what these outputs are called, as far as they have names.
        harmless: whether test figures show that the device is as good as its own weights in float.
    """

    role: Literal["input", "output", "constant"]
    node: Node | None
    qparams: QParams
    rmse_over_scale: float
    snr_db: float
    rms_steps: float
    powerless: bool
    saturated_error: float
    saturated_share: float
    end_error: float
    weights_error: float
    code_spans: tuple[int, ...]
    float_spans: tuple[float, ...]
    same_code: bool
    weakest_channel_db: float | None = None
    weight: QParams | None = None
    output_spreads: tuple[float, ...] = ()
    titles: tuple[str, ...] = ()
    harmless: bool = False


def advice(evidence: Evidence) -> tuple[str, str]:
    """Finding and advice; both empty for a healthy tensor."""
    if evidence.role == "constant":
        return _of_constant(evidence)
    if evidence.rmse_over_scale > SUSPECT:
        return _of_large_error(evidence)
    for finding in (_of_features(evidence), _of_outputs(evidence)):
        if finding is not None:
            return finding
    if evidence.powerless or _fixed(evidence):
        return "", ""
    # What is the same in float too has lost nothing.
    if evidence.same_code and max(evidence.float_spans, default=0.0) > 0:
        return "constant", f"values that differ have one code: {_narrower(evidence)}"
    if evidence.snr_db < COARSE:
        if evidence.rms_steps < SMALL:
            return "range too wide", f"most values lie within three steps of zero: {_narrower(evidence)}"
        return _of_arithmetic(evidence)
    return "", ""


def _narrower(evidence: Evidence) -> str:
    """How a grid that is too coarse for its values becomes finer."""
    if evidence.role == "input":
        return (
            "ranges were measured on wider data: observer percentile:99.9 or mse, margin 0, or calibration data that "
            "resembles this; else activations: int16 for the input"
        )
    return "observer percentile:99.9 or mse, margin 0, or equalize: true; else activations: int16"


def _of_features(evidence: Evidence) -> tuple[str, str] | None:
    """Columns of the input that share a grid with a much wider one."""
    if evidence.role != "input" or len(evidence.float_spans) < 2 or evidence.qparams.dtype != "int8":
        return None
    narrow = [i for i, span in enumerate(evidence.float_spans) if 0 < span < NARROW]
    if not narrow or max(evidence.code_spans) <= 128:
        return None
    return "unequal features", (
        f"normalization: features {_listed(narrow)} of the last axis span fewer than {NARROW} codes; "
        "bring all features to like spans before the network"
    )


def _of_outputs(evidence: Evidence) -> tuple[str, str] | None:
    """Columns of the output that share a grid with a much wider one."""
    spreads = evidence.output_spreads
    narrow = [i for i, spread in enumerate(spreads) if 0 < spread < FEW_STEPS and spread * UNLIKE < max(spreads)]
    if not narrow or _fixed(evidence):
        return None
    widest = spreads.index(max(spreads))
    named = ", ".join(_title(evidence, i) for i in narrow[:8]) + (", ..." if len(narrow) > 8 else "")
    lost = 1 / (12 * min(spreads[i] for i in narrow) ** 2)
    return "unequal outputs", (
        f"{named}: a standard deviation of fewer than {FEW_STEPS:g} steps on a grid that {_title(evidence, widest)} "
        f"needs, which takes {min(lost, 1.0):.1%} of the variance at worst: train on targets of like spans and undo "
        "that behind the network, or return several outputs, one for each span; else int16 for the last layer"
    )


def _title(evidence: Evidence, index: int) -> str:
    return f"output {index}" + (f" ({evidence.titles[index]})" if index < len(evidence.titles) else "")


def _listed(indices: list[int]) -> str:
    return ", ".join(map(str, indices[:8])) + (", ..." if len(indices) > 8 else "")


def _fixed(evidence: Evidence) -> bool:
    return evidence.node is not None and isinstance(evidence.node.row.constraints["output"], Fixed)


def _of_large_error(evidence: Evidence) -> tuple[str, str]:
    """The largest of the causes: what lies beyond the grid, rounded weights, and what is left."""
    left = 1 - evidence.saturated_error - evidence.weights_error
    if evidence.saturated_error >= max(evidence.weights_error, left):
        return ("saturated", _of_saturation(evidence)) if _cuts_off(evidence) else ("", "")
    if evidence.end_error >= 0.5:
        return "", ""  # the kernel's own grid ends a step below what it stands for: 1 of a softmax is 255/256
    return _of_arithmetic(evidence)


def _cuts_off(evidence: Evidence) -> bool:
    """Whether a range that values leave is something wrong.

    A network that is trained in integers has a range's ends among what it learned, as others have a ReLU6, and grows
    against them with every step of a cross-entropy: that values lie beyond is nothing yet. It is where they are more
    than 1 % of the tensor's power, and no figure shows that the same weights are no better without; and where an input
    has another scale than the one that ranges were measured on.
    """
    if evidence.role == "input" and evidence.saturated_share > OTHER_SCALE:
        return True
    return evidence.snr_db < COARSE and not evidence.harmless


def _of_saturation(evidence: Evidence) -> str:
    if _fixed(evidence):
        return (
            "results lie beyond the grid that the device's kernel has for this op, which no option moves: leave the op "
            "to whoever reads the outputs, or skip: true for it"
        )
    if evidence.role == "input" and evidence.saturated_share > OTHER_SCALE:
        return (
            f"the data leave the range, {evidence.saturated_share:.0%} of the values: these are no outliers; what the "
            "network is fed here has another scale than what its ranges were measured on. Scale both alike, say by "
            "network_inputs(batch) what is scaled in front of the network, and train anew"
        )
    where = "the data" if evidence.role == "input" else "the layer's results"
    return (
        f"{where} leave the range, {evidence.saturated_share:.1%} of the values, and are cut off there: observer "
        "minmax or a higher percentile, a margin of 0.1 to 0.2, calibration data that resembles this, or, of a range "
        "that training outgrew, qtorch.calibrate once more before its last part (Lightning: qat.freeze_observers 0.9)"
    )


def _of_arithmetic(evidence: Evidence) -> tuple[str, str]:
    """Rounded weights, or what the kernel rounds besides."""
    # The steps of 16 bits are so small that weights of 8 bits always move results by many of them, and are good enough.
    if evidence.qparams.dtype == "int16" and evidence.snr_db >= FINE:
        return "", ""
    if evidence.weight is not None and evidence.weights_error >= 1 - evidence.saturated_error - evidence.weights_error:
        open_to = [
            *(["weight_bits: 8"] if evidence.weight.dtype == "int4" else []),
            *(["weights: per_channel"] if evidence.weight.axis is None else []),
            "weight_observer: mse",
            "round_adaptively: true",
        ]
        return "weights", f"rounded weights cause most of it: {', or '.join(open_to)}"
    if evidence.qparams.dtype == "int8":
        return "coarse arithmetic", "the kernel rounds more than once: activations: int16 for this layer"
    return "coarse arithmetic", "the kernel rounds more than once, in 16 bits too: skip: true for this layer"


def _of_constant(evidence: Evidence) -> tuple[str, str]:
    weakest = evidence.weakest_channel_db
    if evidence.rmse_over_scale > SUSPECT:
        if weakest is None:
            return "clipped", "values of this constant leave its grid: make them smaller, or skip: true for the layer"
        return "clipped", (
            "a weight observer that keeps more of the range: weight_observer: minmax; where scales are learned, "
            "scales: measured"
        )
    if weakest is not None and weakest < WEAK_CHANNEL:
        if evidence.qparams.axis is None:
            also = "weight_bits: 8, or " if evidence.qparams.dtype == "int4" else ""
            return (
                "weak channel",
                f"one scale does not fit all output channels: weights: per_channel, or {also}equalize: true",
            )
        if evidence.qparams.dtype == "int4":
            return "few bits", "weight_bits: 8 for this layer, weight_observer: mse, or round_adaptively: true"
    return "", ""
