"""What an export is made of: networks, the data that they read, what tests them, what their numbers mean.

:func:`subject_of_networks` makes one of networks that any loop trained; of a checkpoint,
:func:`export.lightning_run.subject.subject_of` does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

from export.figures.error_words import in_words
from export.figures.evaluation import Evaluation, Measure, tested_on_rows
from export.figures.float_weights import weights_loaded
from export.figures.network_inputs import NetworkInputs, Part
from export.figures.record import Record
from export.figures.stage_names import STAGES
from qtorch.capture.samples import Samples, length, taken
from qtorch.config import QuantizationConfig
from qtorch.errors import BadConfiguration
from qtorch.features import Interface
from qtorch.network.quantized_network import QuantizedNetwork

__all__ = ["Ends", "History", "Kind", "Networks", "Rows", "Subject", "subject_of_networks"]

#: Of task, which decides how predictions are shown.
Kind: TypeAlias = Literal["regression", "classification", "reconstruction", "other"]


@dataclass(frozen=True)
class Networks:
    """One network in its forms. What gives one gives a copy each time, in evaluation mode.

    Attributes:
        trained: as training left it: prepared and calibrated, or in float where quantized training had not begun.
        config: how it is quantized, or would be.
        example: an input of it, for tracing.
        in_float: gives its weights in float.
        before: gives the float network that quantized training started from; ``None`` where it did not start.
        float_name: what a person calls :meth:`float_network`.
    """

    trained: nn.Module
    config: QuantizationConfig
    example: Any
    in_float: Callable[[], nn.Module]
    before: Callable[[], nn.Module] | None = None
    float_name: str = STAGES["float"]

    def float_network(self) -> nn.Module:
        """The float network that quantized training started from; as far as it is, if none has started.

        Raises:
            BadConfiguration: see :func:`export.figures.float_weights.weights_loaded`.
        """
        return (self.before or self.in_float)()


def _no_titles(_outputs: int | None) -> tuple[str, ...]:
    return ()


def _no_classes(_titles: tuple[str, ...]) -> bool:
    return False


@dataclass(frozen=True)
class Ends:
    """What the numbers are that go in and come out.

    Attributes:
        interface: names, units and scaling, where they are known.
        absent: why they are not, where data that would say it are gone.
        titles: of how many numbers the network says, their names; none if they have none. Raises
            :class:`BadConfiguration` where there are more or fewer. ``None``: they are not counted.
        are_classes: of such names, whether they are classes, of which the largest number is meant.
    """

    interface: Interface | None = None
    absent: str = ""
    titles: Callable[[int | None], tuple[str, ...]] = _no_titles
    are_classes: Callable[[tuple[str, ...]], bool] = _no_classes


@dataclass(frozen=True)
class History:
    """How training went.

    Attributes:
        losses: by part (training, validation) and epoch.
        began: the epoch in which quantized training began.
        seconds: by phase, loading the data among them.
    """

    losses: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    began: int | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """Data that are in memory: inputs, float32 ``[N, ...]``, and targets of each part.

    Attributes:
        train: the network is trained on them.
        validation: and looked at on these meanwhile.
        test: and judged on these.
        about: where they came from, how many there are and what is odd about them, as metrics.json has it.
    """

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """What an export is made of.

    Attributes:
        name: of the task.
        networks: what is exported, and the float network.
        inputs: what the network reads of the data.
        evaluation: what gives test figures.
        kind: of task.
        ends: what the numbers at both ends are.
        history: of training.
        rows: data that are in memory; ``None`` of other data, and of none.
    """

    name: str
    networks: Networks
    inputs: NetworkInputs
    evaluation: Evaluation
    kind: Kind = "other"
    ends: Ends = field(default_factory=Ends)
    history: History = field(default_factory=History)
    rows: Rows | None = None


def subject_of_networks(
    name: str,
    network: QuantizedNetwork | None,
    float_network: nn.Module,
    inputs: Samples,
    targets: Tensor | None = None,
    test_inputs: Samples | None = None,
    test_targets: Tensor | None = None,
    test_figures: Callable[[Any, Any, Tensor], Mapping[str, float]] | None = None,
    better: Mapping[str, Literal["higher", "lower"]] | None = None,
    interface: Interface | None = None,
    class_names: Sequence[str] = (),
    config: QuantizationConfig | None = None,
) -> Subject:
    """The subject of an export, of networks that were trained by any loop.

    Args:
        name: of the task.
        network: prepared, calibrated and trained; ``None`` where the float network alone is exported, in a float
            format or quantized without training.
        float_network: that it was prepared from, with the weights that it had when quantized training began: a copy
            from then, since the prepared network trains the weights of the one that it was made of.
        inputs: training inputs, float32 ``[N, ...]``, or a tuple of a network's several.
        targets: their targets ``[N, ...]``: a straight line is fitted to them where that can be compared with.
        test_inputs: of samples that were not trained on; without them there are no figures.
        test_targets: their targets.
        test_figures: of test inputs, the network's outputs and the targets, all samples together: figures by name, the
            most telling first.
        better: which of them are better the higher, and which the lower.
        interface: names, units and scaling of inputs and outputs.
        class_names: of a classifier, one for each output.
        config: how to quantize without training, where there is no quantized network.

    Raises:
        BadConfiguration: the network is not prepared, or what is to be tested on is not whole.
    """
    parts: dict[Part, Samples] = {"train": inputs}
    if test_inputs is not None:
        parts["test"] = test_inputs
    return Subject(
        name,
        _networks(name, network, float_network, taken(inputs, slice(1)), config or QuantizationConfig()),
        NetworkInputs(parts, {} if "test" in parts else {"test": "none were handed over"}),
        Evaluation(
            measure=_measure(name, test_inputs, test_targets, test_figures),
            owner=name,
            source=f"test_figures of {name}",
            remedy=_RETURN_THEM,
            better=dict(better or {}),
            training_pairs=lambda record, target: _pairs(inputs, targets, record, target),
        ),
        "classification" if class_names else "other",
        Ends(
            interface,
            titles=lambda outputs: _titles(name, class_names, interface, outputs),
            are_classes=lambda _: bool(class_names),
        ),
    )


def _networks(
    name: str, network: QuantizedNetwork | None, float_network: nn.Module, example: Samples, config: QuantizationConfig
) -> Networks:
    def before() -> nn.Module:
        return copy.deepcopy(float_network).eval()

    if network is None:
        return Networks(float_network, config, example, in_float=before)
    if not isinstance(network, QuantizedNetwork):
        raise BadConfiguration(
            where=name, expected="a network that qtorch.prepare made", got=type(network).__name__,
            remedy="prepare it, calibrate it, train it, and pass what that gave",
        )  # fmt: skip

    def in_float() -> nn.Module:
        return weights_loaded(float_network, network, network.state_dict(), name)

    return Networks(network, network.origin.config, example, in_float, before)


_RETURN_THEM = "pass a function of inputs, outputs and targets that returns figures by name, as in {'mse': ...}"


def _measure(
    name: str,
    x: Samples | None,
    targets: Tensor | None,
    figures: Callable[[Any, Any, Tensor], Mapping[str, float]] | None,
) -> Measure | BadConfiguration:
    """What tests a network; the error where nothing is there to do that.

    Raises:
        BadConfiguration: there is a function, and not what it needs; or not as many targets as inputs.
    """
    if figures is None:
        return BadConfiguration(where=name, expected="test_figures", got="no test_figures", remedy=_RETURN_THEM)
    if x is None or targets is None or length(x) != len(targets):
        got = [f"{0 if each is None else length(each)} {what}" for each, what in ((x, "inputs"), (targets, "targets"))]
        raise BadConfiguration(
            where=name, expected="test_inputs and a target for each of them, to make test_figures of",
            got=" and ".join(got), remedy="pass both, or leave test_figures out",
        )  # fmt: skip

    def named(inputs: Any, outputs: Any, wanted: Tensor) -> dict[str, float]:
        try:
            return {figure: float(value) for figure, value in figures(inputs, outputs, wanted).items()}
        # A function of somebody's own fails in whatever way it does.
        except Exception as error:
            raise BadConfiguration(
                where=f"test_figures of {name}", expected="numbers by the figure's name", got=in_words(error),
                remedy=_RETURN_THEM,
            ) from error  # fmt: skip

    return tested_on_rows(x, targets, named)


def _pairs(x: Samples, targets: Tensor | None, record: Record, target: Tensor) -> tuple[Tensor, Tensor] | str:
    """Training samples, if they are what the test is made of."""
    if targets is None:
        return "no training targets were handed over"
    read = record.inputs
    alike = isinstance(x, Tensor) and read is not None and x.shape[1:] == read.shape[1:] and len(x) == len(targets)
    if not alike or targets.shape[1:] != target.shape[1:]:
        return "training inputs and targets have other shapes than those of the test"
    return x, targets


def _titles(name: str, class_names: Sequence[str], interface: Interface | None, outputs: int | None) -> tuple[str, ...]:
    titles = tuple(class_names) or (() if interface is None else tuple(each.name for each in interface.outputs))
    if titles and outputs is not None and len(titles) != outputs:
        raise BadConfiguration(
            where=name,
            expected=f"{outputs} names, one for each output of the network",
            got=f"{len(titles)}: {', '.join(titles)[:80]}",
            remedy="name every output, in the order in which the network has them",
        )
    return titles
