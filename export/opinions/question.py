"""What every engine and converter is asked: one network's integers, its float forms, and data to try them on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from export.c_language.names import c_identifier
from export.figures.device_network import DeviceNetwork
from export.figures.evaluation import Measure
from export.figures.subject import Networks, Subject
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.opinions.grids import GridAgreement, grid_agreement, operators
from export.opinions.opinion import Opinion
from export.parity.outputs import compare_file, corner_codes
from export.tflite.writer import write_tflite
from qtorch.capture.call_form import tensors_in
from qtorch.errors import BadConfiguration

__all__ = ["Question", "first_figure", "question_of"]

#: Samples of the test data, and of the training data for calibration.
_TESTED, _CALIBRATED = 500, 500
_RANDOM = 1_000


@dataclass(frozen=True)
class Question:
    """What everybody is asked about.

    Attributes:
        networks: the trained one and its float forms.
        name: of the model.
        graph: its integers.
        model: their file.
        codes: inputs as the device stores them.
        expected: what the integer reference makes of them, by output.
        tested: inputs of the test data, ``[N, ...]``.
        wanted: what the integer reference makes of these, dequantized.
        calibration: inputs of the training data.
        measure: tests any network, on the same samples.
        column: the figure that is shown.
    """

    networks: Networks
    name: str
    graph: Graph
    model: bytes
    codes: tuple[np.ndarray, ...]
    expected: tuple[np.ndarray, ...]
    tested: Tensor
    wanted: Tensor
    calibration: Tensor
    measure: Measure
    column: str

    @property
    def network(self) -> fx.GraphModule:
        """The trained one."""
        trained: Any = self.networks.trained
        return trained

    @property
    def plain(self) -> nn.Module:
        """The same weights in float, as converters want them."""
        return self.networks.in_float()

    def own(self, opinion: Opinion) -> Opinion:
        """An opinion on this project's own file."""
        tensors = compare_file(self.graph, self.model).tensors
        grids = GridAgreement(tensors, tensors, 0.0)
        return replace(opinion, bytes=len(self.model), ops=len(self.graph.nodes), grids=grids)

    def outputs(self, opinion: Opinion, got: Sequence[np.ndarray]) -> Opinion:
        """With how far codes lie from the reference's."""
        pairs = zip(got, self.expected, strict=True)
        apart = np.concatenate([np.abs(a.astype(np.float64) - b.astype(np.float64)).ravel() for a, b in pairs])
        share = float((apart == 0).mean())
        return replace(opinion, outputs=apart.size, exact_share=share, max_lsb=float(apart.max(initial=0)))

    def figure(self, network: nn.Module) -> float:
        """On all test data."""
        return self.measure(network)[0][self.column]

    def file(self, opinion: Opinion, model: bytes, network: nn.Module) -> Opinion:
        """An opinion that is a file of its own: sizes, grids, and outputs for the test data in steps of the grid."""
        qparams = self.graph.values[self.graph.outputs[0]].quantization
        with torch.no_grad():
            apart = ((network(self.tested) - self.wanted).abs() / qparams.scale[0]).double()
        return replace(
            opinion,
            bytes=len(model),
            ops=len(operators(model)),
            grids=grid_agreement(self.model, model),
            outputs=apart.numel(),
            exact_share=float((apart < 0.5).double().mean()),
            max_lsb=float(apart.max()),
            figure=self.figure(network),
        )


def question_of(subject: Subject) -> Question:
    """What is asked about a subject.

    Args:
        subject: its network has one input and one output.

    Raises:
        BadConfiguration: the network has several inputs, or there are no test figures.
        BadData: training or test data can't be had.
    """
    network: Any = subject.networks.trained
    inputs = subject.inputs
    if not isinstance(inputs["train"], Tensor):
        raise BadConfiguration(
            where=subject.evaluation.owner,
            expected="a network with one input, which is what converters are asked about",
            got=f"{len(tensors_in(inputs['train']))} inputs",
            remedy="export it; its engines are compared there",
        )
    graph, calibration = integer_graph(network), inputs["train"][:_CALIBRATED]
    tested = inputs["test"][:_TESTED]
    data = graph.encode(graph.inputs[0], tested.numpy())
    codes = (np.concatenate([data, corner_codes(graph, _RANDOM)[0]]),)
    expected = interpret(graph, codes)
    model = write_tflite(graph)
    wanted = DeviceNetwork(graph, model)(tested)
    return Question(
        networks=subject.networks,
        name=c_identifier(subject.name),
        graph=graph,
        model=model,
        codes=codes,
        expected=tuple(expected[name] for name in graph.outputs),
        tested=tested,
        wanted=wanted,
        calibration=calibration,
        measure=subject.evaluation.required(),
        column=first_figure(subject),
    )


def first_figure(subject: Subject) -> str:
    """The name of the figure that the table shows.

    Raises:
        BadConfiguration: the test gives none; see also :class:`export.figures.evaluation.Evaluation`.
    """
    evaluation = subject.evaluation
    figures, _ = evaluation.required()(subject.networks.float_network())
    if not figures:
        raise BadConfiguration(
            where=evaluation.source,
            expected="figures of the test data",
            got="none logged",
            remedy="log them there, as in self.log('mse', ...)",
        )
    return next((name for name in evaluation.columns if name in figures), next(iter(figures)))
