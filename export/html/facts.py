"""What a report shows, as data: computed once from a subject and its graph, before any of it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import fx, nn

from export.c.network import CNetwork
from export.cost.macs import all_multiply_accumulates
from export.figures.provenance import day
from export.figures.record import Record, target_of
from export.figures.sensitivity import LayerCost, layer_costs
from export.figures.subject import Kind, Rows, Subject
from export.figures.tensor_error import TensorError
from export.graph.encoding import codes_of
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.html.distributions import Distribution, distributions
from qtorch.capture.call_form import tensors_in
from qtorch.capture.samples import Samples, called, chunks, taken
from qtorch.features import Interface

__all__ = ["Column", "Facts", "Predictions", "facts_of"]

#: Of the training part, evenly spaced; the test part is shown whole, as the table's figures are of all of it.
_TRAINING_SAMPLES = 2_000
_CHUNK = 512
#: Samples of the test part that a layer's cost is measured on, fewer where the network is large: about half a second.
_LAYER_SAMPLES, _FEWEST_SAMPLES, _LAYER_MACS = 500, 16, 4_000_000_000
#: Columns of a table that still fit a page as a pair plot.
_MOST_COLUMNS = 8


@dataclass(frozen=True)
class Predictions:
    """One part of the data through two networks.

    Attributes:
        inputs: ``[N, ...]`` as the networks read them.
        target: ``[N, T]``, or classes or labels ``[N]``; ``None`` of data whose targets are not known to be either.
        float_output: of the float network, ``[N, ...]``.
        int8_output: of the integers, dequantized, of the same shape.
    """

    inputs: np.ndarray
    target: np.ndarray | None
    float_output: np.ndarray
    int8_output: np.ndarray


@dataclass(frozen=True)
class Column:
    """A physical quantity, all rows of it, training part first."""

    name: str
    unit: str
    values: np.ndarray

    @property
    def title(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class Facts:
    """What a page is written from; what a run does not have is empty, and its section says so or is left out.

    Attributes:
        name: of the model.
        kind: of task, which decides how predictions are shown.
        metrics: the contents of metrics.json.
        parity: the contents of parity.json.
        losses: by part (training, validation) and epoch.
        validated_on_training: whether the validation part is the training part.
        began: the epoch in which quantized training began.
        better: which of a task's figures are better the higher, and which the lower.
        outputs: titles of the network's outputs: classes of a classifier.
        predictions: by part (train, test).
        columns: of a table, inputs and then targets.
        graph: of integers; ``None`` of a float format.
        errors: of its tensors.
        distributions: of its tensors, by name.
        layers: what each layer's quantization costs, the dearest first, between none's and all layers'.
        day: on which it was made.
        plain_c: the network as plain C, where that is written.
    """

    name: str
    kind: Kind
    metrics: Mapping[str, Any]
    parity: Mapping[str, Any]
    losses: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    validated_on_training: bool = False
    began: int | None = None
    better: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    graph: Graph | None = None
    errors: tuple[TensorError, ...] = ()
    distributions: Mapping[str, Distribution] = field(default_factory=dict)
    layers: tuple[LayerCost, ...] = ()
    day: str = ""
    plain_c: CNetwork | None = None


def facts_of(
    subject: Subject, name: str, metrics: Mapping[str, Any], parity: Mapping[str, Any], graph: Graph | None = None,
    network: fx.GraphModule | None = None, tested: Samples | None = None, errors: tuple[TensorError, ...] = (),
    input_layout: Literal["nhwc", "nchw"] = "nhwc", records: Mapping[str, Record] = {},
    plain_c: CNetwork | None = None,
) -> Facts:  # fmt: skip
    """The facts of one export.

    Args:
        subject: of the export.
        name: of the model.
        metrics: see :class:`Facts`, like the next.
        parity: as above.
        graph: of integers, with integers at its ends; ``None`` of a float format, like the next two.
        network: that it was lowered from; left as it was.
        tested: the test part's inputs, float32 ``[N, ...]``, or a tuple of several; ``None`` where they can't be had.
        errors: see :class:`Facts`.
        input_layout: of the graph.
        records: of the tests of the float network and of the exported one, by stage, the latter last.
        plain_c: see :class:`Facts`.
    """
    rows, predictions, kind = subject.rows, {}, subject.kind
    drawn: Mapping[str, Distribution] = {}
    layers: tuple[LayerCost, ...] = ()
    if graph is not None and network is not None and tested is not None:
        predictions = _predicted(subject, graph, tested)
        drawn = distributions(network, graph, tested, input_layout)
        layers = tuple(layer_costs(network, taken(tested, slice(_affordable(graph)))))
    if rows is None and records:
        kind, predictions = _recorded(kind, records, predictions)
    return Facts(
        name, kind, metrics, parity,
        losses={part: dict(losses) for part, losses in subject.history.losses.items() if losses},
        validated_on_training=rows is not None and _same(rows.train, rows.validation),
        began=subject.history.began,
        better=_directions(subject.evaluation.better, metrics["test"]),
        outputs=subject.ends.titles(None),
        predictions=predictions,
        columns=() if rows is None else _columns(rows, subject.ends.interface),
        graph=graph, errors=errors, distributions=drawn, layers=layers, day=day(), plain_c=plain_c,
    )  # fmt: skip


def _directions(better: Any, test: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """By the figure's name, where one word is said of all figures too."""
    if isinstance(better, Mapping):
        return dict(better)
    return dict.fromkeys((name for figures in test.values() for name in figures), better)


def _predicted(subject: Subject, graph: Graph, tested: Samples) -> dict[str, Predictions]:
    """Both parts of data in memory; of any other the test part's inputs alone."""
    plain, rows = subject.networks.float_network(), subject.rows
    if rows is None:
        return {"test": _predictions(plain, graph, tested, None)}
    parts = (("train", rows.train, _TRAINING_SAMPLES), ("test", rows.test, None))
    return {name: _predictions(plain, graph, *_thinned(part, most)) for name, part, most in parts}


def _recorded(
    kind: Kind, records: Mapping[str, Record], predictions: dict[str, Predictions]
) -> tuple[Kind, dict[str, Predictions]]:
    """What a module's own test met, where targets are classes or numbers of the outputs' shape."""
    plain, device = records.get("float"), list(records.values())[-1]
    target = target_of(device)
    if plain is None or plain.outputs is None or device.outputs is None or target is None or kind == "reconstruction":
        return kind, predictions
    inputs = np.zeros((len(target), 0)) if device.inputs is None else device.inputs.numpy()
    shown = Predictions(inputs, target.numpy(), plain.outputs.numpy(), device.outputs.numpy())
    classes = not target.is_floating_point() and device.outputs.ndim == 2 and device.outputs.shape[1] > 1
    return "classification" if classes else "regression", {"test": shown}


def _affordable(graph: Graph) -> int:
    """How many samples the network may compute once per layer."""
    work = all_multiply_accumulates(graph) * len(graph.nodes)
    return int(min(_LAYER_SAMPLES, max(_FEWEST_SAMPLES, _LAYER_MACS // max(1, work))))


def _same(one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def _thinned(part: tuple[torch.Tensor, torch.Tensor], most: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows evenly spaced; all of them without a limit."""
    count = len(part[0])
    if most is None or count <= most:
        return part
    at = torch.linspace(0, count - 1, most).round().long()
    return part[0][at], part[1][at]


@torch.no_grad()
def _predictions(plain: nn.Module, graph: Graph, x: Samples, target: torch.Tensor | None) -> Predictions:
    # Of several outputs the first, as in the graph.
    floats = torch.cat([tensors_in(called(plain, part))[0] for part in chunks(x, _CHUNK)])
    sink = graph.outputs[0]
    integers = [graph.decode(sink, interpret(graph, codes_of(graph, part))[sink]) for part in chunks(x, _CHUNK)]
    known = None if target is None else target.numpy()
    # Of several inputs all numbers side by side.
    shown = x if isinstance(x, torch.Tensor) else torch.cat([each.reshape(len(each), -1) for each in tensors_in(x)], 1)
    return Predictions(shown.numpy(), known, floats.numpy(), np.concatenate(integers))


def _columns(rows: Rows, interface: Interface | None) -> tuple[Column, ...]:
    """Inputs and targets in physical units, where each input has a name of its own and there are few."""
    (x, y), (test_x, test_y) = rows.train, rows.test
    if interface is None or not x.ndim == y.ndim == 2 or not y.is_floating_point():
        return ()
    features = (*interface.inputs, *interface.outputs)
    named = (x.shape[1], y.shape[1]) == (len(interface.inputs), len(interface.outputs))
    if not named or len(features) > _MOST_COLUMNS:
        return ()
    numbers = torch.cat([torch.cat([x, y], 1), torch.cat([test_x, test_y], 1)]).double().numpy()
    return tuple(Column(f.name, f.unit, numbers[:, i] * f.span + f.offset) for i, f in enumerate(features))
