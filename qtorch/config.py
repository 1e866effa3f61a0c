"""How a network is quantized, as frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from qtorch.arguments import spelt_fields
from qtorch.editions.known import edition, takes_one_scale
from qtorch.errors import BadConfiguration
from qtorch.numbers.straight_through import Estimator
from qtorch.ranges.observers import make_observer

__all__ = ["LayerConfig", "QuantizationConfig", "require_config"]

_CHOICES: dict[str, tuple[Any, ...]] = {
    "weights": ("per_channel", "per_tensor"),
    "activations": ("int8", "int16"),
    "weight_bits": (8, 4),
    "squares": ("int8", "int16"),
    "scales": ("measured", "lsq", "lsq+", "pact"),
    "gradient": ("clipped", "plain", "ewgs"),
    "skip": (False, True),
}

#: Of a field: among a command's options it comes before those that a run seldom needs.
_FIRST = {"first": True}

#: Where each kind of learned scale starts: the observer of activations and that of weights.
_STARTS = {"lsq": ("lsq", "lsq"), "lsq+": ("mse", "lsq+"), "pact": ("minmax", "minmax")}


@spelt_fields
@dataclass(frozen=True)
class LayerConfig:
    """Choices for one layer.

    Attributes:
        weights: one weight scale per output channel, or one per tensor.
        margin: how much wider than the calibration data every activation's range is, as a share of its span at each
            end, in [0, 1]. 0 where the inputs' limits are known; more where later inputs may lie beyond those seen,
            because what lies beyond a range saturates.
        activations: the type of the layer's inputs and outputs; ``int16`` goes with int8 weights ("16x8").
        weight_bits: 8 or 4.
        squares: beside int8 activations, the type of squares that are summed up, and of what they come to: norms,
            variances, lengths. In int8 most are on the lowest few codes; LiteRT has no SQUARED_DIFFERENCE of int16.
        observer: how activations' ranges are measured: a name of :data:`qtorch.ranges.observers.OBSERVERS`, its
            parameters behind colons (``percentile:99.9``, ``fixed:-1:1``).
        weight_observer: the same for weights. ``minmax`` follows the weights in training; any other decides at
            calibration which share of a weight's largest magnitude is represented, and that share then stays.
        scales: ``measured``, or learned by gradient: ``lsq`` (activations and weights), ``lsq+`` (zero points too) or
            ``pact`` (the upper end of rectified activations). Learned ones start as their papers say where the
            observers are left at ``minmax``. They are parameters of the network: give an optimizer with weight decay
            none for those whose names end in ``log_scale``, ``log_weight_scale`` or ``zero_share``.
        gradient: straight-through estimator of measured activations: ``clipped``, ``plain`` or ``ewgs``; see
            :func:`qtorch.numbers.straight_through.round_and_hold`.
        skip: leave the layer in float32, on the device too, between DEQUANTIZE and QUANTIZE. What float layers compute
            is not promised to the bit.

    Raises:
        BadConfiguration: a value outside its range.
    """

    weights: Literal["per_channel", "per_tensor"] = field(default="per_channel", metadata=_FIRST)
    margin: float = 0.0
    activations: Literal["int8", "int16"] = field(default="int8", metadata=_FIRST)
    weight_bits: Literal[8, 4] = field(default=8, metadata=_FIRST)
    squares: Literal["int8", "int16"] = "int8"
    observer: str = field(default="minmax", metadata=_FIRST)
    weight_observer: str = "minmax"
    scales: Literal["measured", "lsq", "lsq+", "pact"] = "measured"
    gradient: Estimator = "clipped"
    skip: bool = False

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise BadConfiguration(
                    where=name,
                    expected=" or ".join(map(str, choices)),
                    got=repr(getattr(self, name)),
                    remedy="choose one",
                )
        make_observer(self.observer)
        make_observer(self.weight_observer)
        if not 0 <= self.margin <= 1:
            raise BadConfiguration(where="margin", expected="0 to 1", got=f"{self.margin}", remedy="try 0.2")
        if self.activations == "int16" and self.weight_bits == 4:
            raise BadConfiguration(
                where="weight_bits",
                expected="8 beside activations int16",
                got="4",
                remedy="TFLite Micro has no kernel for int16 with int4: use int8 activations, or 8 bits",
            )

    def with_activations(self, dtype: str) -> LayerConfig:
        """The same with another type of activations; beside int16 there are no weights of 4 bits."""
        bits = 8 if dtype == "int16" else self.weight_bits
        return replace(self, activations=dtype, weight_bits=bits)  # type: ignore[arg-type]

    @property
    def observers(self) -> tuple[str, str]:
        """Specifications of the observers of activations and of weights, learned scales' own starts included."""
        starts = _STARTS.get(self.scales, ("minmax", "minmax"))
        chosen = (self.observer, self.weight_observer)
        specifications = [start if each == "minmax" else each for each, start in zip(chosen, starts, strict=True)]
        return specifications[0], specifications[1]

    @property
    def weight_dtype(self) -> str:
        """``"int8"`` or ``"int4"``."""
        return f"int{self.weight_bits}"


@spelt_fields
@dataclass(frozen=True)
class QuantizationConfig(LayerConfig):
    """Choices of :func:`qtorch.prepare`: those of :class:`LayerConfig` for every layer, and exceptions.

    Attributes:
        layers: fields of :class:`LayerConfig` to change, by layer name or shell pattern (``"features.*"``), applied in
            order. A layer's name is its path in the network, a function's that of its node in the trace (``add_1``).
            :func:`qtorch.prepare` refuses a name that is no pattern and that no layer has.
        tflm: an edition of TFLite Micro, as ``docs/which_tflm.md`` lists them, that is to compute the network. One
            whose kernel takes a single scale for the weights of a fully connected layer has such layers' weights per
            tensor; empty: the newest, which takes one for each channel.

    Example:
        >>> QuantizationConfig(layers={"classifier": {"activations": "int16"}, "conv*": {"weight_bits": 4}})
    """

    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, metadata=_FIRST)
    tflm: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tflm:
            edition(self.tflm, "tflm")
        known = {f.name for f in fields(LayerConfig)}
        for pattern, changes in self.layers.items():
            wrong = sorted(set(changes) - known)
            if wrong:
                raise BadConfiguration(
                    where=f"layers[{pattern!r}]",
                    expected=f"some of {', '.join(sorted(known))}",
                    got=", ".join(wrong),
                    remedy="correct the name",
                )
            try:
                self._default_layer(changes)
            except BadConfiguration as error:
                raise BadConfiguration(
                    where=f"layers[{pattern!r}]: {error.where}", expected=error.expected, got=error.got,
                    remedy=error.remedy,
                ) from error  # fmt: skip

    def _default_layer(self, changes: Mapping[str, Any]) -> LayerConfig:
        return replace(LayerConfig(**{f.name: getattr(self, f.name) for f in fields(LayerConfig)}), **changes)

    def as_options(self) -> dict[str, Any]:
        """The arguments that make the same configuration, as plain values that a checkpoint can hold."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @property
    def activation_types(self) -> frozenset[str]:
        """Those that some layer may have."""
        return frozenset(
            {self.activations, *(each.get("activations", self.activations) for each in self.layers.values())}
        )

    @property
    def layer_default(self) -> LayerConfig:
        """The choices for a layer without exceptions."""
        return self._default_layer({})

    @property
    def fully_connected_per_tensor(self) -> bool:
        """Whether the weights of fully connected layers have one scale because of the edition."""
        return bool(self.tflm) and takes_one_scale(edition(self.tflm, "tflm"), self.activation_types)

    @property
    def for_edition(self) -> str:
        """What the edition has decided, in words; empty where it has decided nothing."""
        if not self.fully_connected_per_tensor:
            return ""
        return f"weights of fully connected layers per tensor for TFLite Micro's edition {self.tflm}"

    def layer(self, name: str) -> LayerConfig:
        """The choices for one layer."""
        changes: dict[str, Any] = {}
        for pattern, choices in self.layers.items():
            if fnmatchcase(name, pattern):
                changes |= choices
        return self._default_layer(changes)


def _plain(value: Any) -> Any:
    """Mappings as dicts, so that a checkpoint holds nothing that has to be imported."""
    return {key: _plain(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


def require_config(config: Any) -> QuantizationConfig:
    """The configuration that was handed over; the usual one in the place of ``None``.

    Raises:
        BadConfiguration: it is another thing.
    """
    if config is None:
        return QuantizationConfig()
    if isinstance(config, QuantizationConfig):
        return config
    raise BadConfiguration(
        where="config",
        expected="a QuantizationConfig, or None",
        got=f"{type(config).__name__} {config!r:.60}",
        remedy="pass qtorch.QuantizationConfig(...) with what is to differ",
    )
