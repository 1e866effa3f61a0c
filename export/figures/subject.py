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

from export.figures.evaluation import Evaluation
from export.figures.figures_by_name import ways_by_figure
from export.figures.float_weights import weights_loaded
from export.figures.handed_over import (
    Shapes,
    named_classes,
    output_shapes,
    require_float_network,
    require_interface,
    require_names,
    require_same_outputs,
    require_samples_alike,
    task_name,
)
from export.figures.network_inputs import NetworkInputs, Part
from export.figures.own_evaluation import tested_by
from export.figures.stage_names import STAGES
from qtorch.capture.samples import Samples, taken
from qtorch.config import QuantizationConfig
from qtorch.errors import BadConfiguration
from qtorch.features import Interface
from qtorch.handed_over.tensors import samples_of, targets_of
from qtorch.network.quantized_network import QuantizedNetwork
from qtorch.preparation.prepare import unwrapped

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
        unprepared: why ``trained`` can't be exported where it was never prepared, and what to do.
        uncalibrated: the same where its ranges were never measured.
        before: gives the float network that quantized training started from; ``None`` where it did not start.
        float_name: what a person calls :meth:`float_network`.
    """

    trained: nn.Module
    config: QuantizationConfig
    example: Any
    in_float: Callable[[], nn.Module]
    unprepared: BadConfiguration
    uncalibrated: BadConfiguration
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
    float_network: nn.Module | None,
    inputs: Any,
    targets: Any = None,
    test_inputs: Any = None,
    test_targets: Any = None,
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
            from then, since the prepared network trains the weights of the one that it was made of. ``None``: that
            copy is gone, and the prepared network's weights in float stand in its place.
        inputs: training inputs, float32 ``[N, ...]``, or a tuple of a network's several: tensors, NumPy arrays or lists
            of numbers.
        targets: their targets ``[N, ...]``: a straight line is fitted to them where that can be compared with.
        test_inputs: of samples that were not trained on; without them there are no figures.
        test_targets: their targets.
        test_figures: of test inputs, the network's outputs and the targets, all samples together: figures by name, the
            most telling first. ``None``: where targets are classes, or numbers of the outputs' shape, those of
            :mod:`qtorch.task_figures`.
        better: which of them are better the higher, and which the lower.
        interface: names, units and scaling of inputs and outputs.
        class_names: of a classifier, one for each output.
        config: how to quantize without training, where there is no quantized network.

    Raises:
        BadConfiguration: the network is not prepared, the float network is another one, what is to be tested on is not
            whole, or names are not those of what there is.
        BadData: inputs or targets are no numbers, none at all, not as many of each, or not of the network's shapes.
        NotFinite: inputs hold NaN or infinity.
    """
    name = task_name(name)
    require_float_network(network, float_network)
    float_network = None if float_network is None else unwrapped(float_network)
    either = network if float_network is None else float_network
    assert either is not None
    inputs = samples_of("inputs", inputs, either)
    networks = _networks(name, network, float_network, taken(inputs, slice(1)), config or QuantizationConfig())
    outputs = _output_shapes(networks, inputs)
    parts: dict[Part, Samples] = {"train": inputs}
    if test_inputs is not None:
        parts["test"] = test_inputs = samples_of("test_inputs", test_inputs, either)
        output_shapes(networks.trained, test_inputs, "test_inputs")
        require_samples_alike(test_inputs, inputs)
    targets = None if targets is None else targets_of("targets", targets, inputs, "inputs")
    ways, classes = ways_by_figure(better), named_classes(class_names)
    if interface is not None:
        require_interface(interface, inputs, outputs)
    # Other outputs are counted once it is known in which order a device has their axes.
    _titles(classes, interface, outputs[0][0] if len(outputs) == 1 and len(outputs[0]) == 1 else None)
    tested = tested_by(name, inputs, targets, test_inputs, test_targets, test_figures, ways, outputs)
    kind: Kind = "classification" if classes else "other"
    return Subject(
        name,
        networks,
        NetworkInputs(
            parts, {} if "test" in parts else {"test": "none were handed over"}, handed_over_as={"test": "test_inputs"}
        ),
        tested.evaluation,
        kind if tested.task is None else tested.task.kind,
        Ends(
            interface,
            titles=lambda outputs: _titles(classes, interface, outputs),
            are_classes=lambda _: bool(classes),
        ),
        rows=None if tested.pairs is None else _rows(*tested.pairs),
    )


def _rows(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> Rows:
    counts = {"rows": len(train[0]) + len(test[0]), "dropped": 0, "train": len(train[0]), "test": len(test[0])}
    return Rows(train, train, test, {"source": "handed over", **counts})


def _networks(
    name: str, network: QuantizedNetwork | None, float_network: nn.Module | None, example: Samples,
    config: QuantizationConfig,
) -> Networks:  # fmt: skip
    """Both networks, which belong together.

    Raises:
        BadConfiguration: one is not prepared, or the other is not what it was prepared from.
    """
    if network is None:
        assert float_network is not None
        alone = float_network
        return Networks(
            alone, config, example, lambda: copy.deepcopy(alone).eval(), _unprepared("None"), _uncalibrated()
        )
    if not isinstance(network, QuantizedNetwork):
        raise _unprepared(type(network).__name__)
    original = network.origin.net if float_network is None else float_network

    def in_float() -> nn.Module:
        return weights_loaded(original, network, network.state_dict(), name)

    try:
        in_float()
    except BadConfiguration as error:
        raise BadConfiguration(
            where="float_network", expected=error.expected, got=error.got,
            remedy="pass a copy of the network that was handed to qtorch.prepare, or None",
        ) from error  # fmt: skip
    unprepared, config = _unprepared(type(network).__name__), network.origin.config
    if float_network is None:
        weights = STAGES["post_training_float" if network.post_training else "qat_float"]
        return Networks(network, config, example, in_float, unprepared, _uncalibrated(), float_name=weights)
    return Networks(
        network, config, example, in_float, unprepared, _uncalibrated(), lambda: copy.deepcopy(original).eval()
    )


def _unprepared(got: str) -> BadConfiguration:
    return BadConfiguration(
        where="network", expected="a network that qtorch.prepare made", got=got,
        remedy="prepare it, calibrate it, train it, and pass what that gave; or pass None, and quantize the float "
        "network without training, by ExportOptions(post_training=True)",
    )  # fmt: skip


def _uncalibrated() -> BadConfiguration:
    return BadConfiguration(
        where="network", expected="a network with a calibrated range for every tensor",
        got="ranges that were never measured",
        remedy="call qtorch.calibrate(network, batches) and train it, or quantize the float network without training, "
        "by ExportOptions(post_training=True)",
    )  # fmt: skip


def _output_shapes(networks: Networks, inputs: Samples) -> Shapes:
    """Shapes of what the network makes of a sample, and its float network too.

    Raises:
        BadData: one of them does not take the inputs.
        BadConfiguration: outputs differ.
    """
    outputs = output_shapes(networks.trained, inputs, "inputs")
    if networks.before is not None:
        require_same_outputs(outputs, output_shapes(networks.before(), inputs, "inputs"))
    return outputs


def _titles(classes: tuple[str, ...], interface: Interface | None, outputs: int | None) -> tuple[str, ...]:
    titles = classes or (() if interface is None else tuple(each.name for each in interface.outputs))
    require_names("class_names" if classes else "interface.outputs", titles, outputs)
    return titles
