"""Test figures of a network at every stage: float, post-training quantized, trained quantized, on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import fx, nn

from export.figures.device_network import DeviceNetwork
from export.figures.record import Record
from export.figures.subject import Subject
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.tflite.writer import write_tflite
from qtorch.errors import BadConfiguration, BadData
from qtorch.handed_over.words import in_words
from qtorch.network.calibration import in_mode
from qtorch.network.mode import Mode
from qtorch.post_training.steps import quantize_after_training
from qtorch.progress import steps
from qtorch.surroundings import evaluating

__all__ = ["StageFigures", "measured", "stage_figures"]


@dataclass(frozen=True)
class StageFigures:
    """Test figures of a subject.

    Attributes:
        figures: by stage, a key of :data:`export.figures.stage_names.STAGES`.
        left_out: why some stages have none; ``"test"``: why none has.
        beside: figures of networks that are no stage of the export.
        records: what the test of each stage and of each network beside them met, by name.
        put_first: names of figures that a report shows first, whether there are such or not.
    """

    figures: dict[str, dict[str, float]]
    left_out: dict[str, str]
    beside: dict[str, dict[str, float]] = field(default_factory=dict)
    records: Mapping[str, Record] = field(default_factory=dict)
    put_first: tuple[str, ...] = ()

    @property
    def unknown_columns(self) -> list[str]:
        """Names that are put first, and that no stage has."""
        return [
            name
            for name in self.put_first
            if self.figures and not any(name in figures for figures in self.figures.values())
        ]

    @property
    def columns(self) -> list[str]:
        """Which figures a report shows, by name: those that are put first, as far as every stage has them."""
        return [name for name in self.put_first if all(name in figures for figures in self.figures.values())]


def stage_figures(
    subject: Subject, graph: Graph, model: bytes, post_training: fx.GraphModule | None = None
) -> StageFigures:
    """Figures by stage: baselines, ``float``, ``ptq_int8``, ``qat_network``, ``qat_int8``, int8 from the device.

    Networks are left in the mode in which they are.

    Args:
        subject: of the export.
        graph: what is exported.
        model: its file.
        post_training: the network that it was made from, if that was quantized without training: then the last two
            stages are ``post_training_network`` and ``post_training_int8``.

    Raises:
        BadConfiguration: a test fails; see :class:`export.figures.evaluation.Evaluation`.
    """
    networks, inputs = subject.networks, subject.inputs
    plain, network = networks.float_network(), post_training or networks.trained
    kind = "qat" if post_training is None else "post_training"
    left_out = {}
    stages: dict[str, nn.Module] = {"float": plain}
    if inputs.get("train") is None:
        left_out["ptq_int8"] = inputs.why("train")
    elif inputs.get("test") is not None:
        stages["ptq_int8"] = _calibrated_only(subject, plain)
    stages |= {f"{kind}_network": network, f"{kind}_int8": DeviceNetwork(graph, model, like=networks.trained)}
    if post_training is None and networks.before is not None:
        stages["qat_float"] = networks.in_float()
    with evaluating(network), in_mode(network, Mode.QUANTIZED):
        test = measured(subject, stages)
    figures = dict(test.figures)
    beside = {name: figures.pop(name) for name in ("qat_float",) if name in figures}
    if figures:
        figures = {**subject.evaluation.baselines(), **figures}
    return replace(
        test, figures=figures, left_out=test.left_out if "test" in test.left_out else left_out, beside=beside
    )


def measured(subject: Subject, stages: Mapping[str, nn.Module]) -> StageFigures:
    """Test figures of networks by name: of all of them, or of none, and why.

    Raises:
        BadConfiguration: a test fails; see :class:`export.figures.evaluation.Evaluation`.
    """
    evaluation, inputs = subject.evaluation, subject.inputs
    measure = evaluation.measure
    if isinstance(measure, BadConfiguration):
        return _untested(subject, f"{measure.got}; {measure.remedy}")
    if inputs.get("test") is None:
        return _untested(subject, inputs.why("test"))
    figures: dict[str, dict[str, float]] = {}
    records: dict[str, Record] = {}
    for stage, net in steps(stages.items(), "testing one network after the other"):
        try:
            figures[stage], record = measure(net)
            first = next(iter(records.values()), record)
            # Of the same samples one copy is enough.
            same = record.samples == first.samples
            records[stage] = replace(record, inputs=first.inputs, others=first.others) if same else record
        except BadData as error:
            return _untested(subject, f"no test data: {in_words(error)}")
        if not figures[stage]:
            return _untested(subject, f"{evaluation.source} logs nothing; {evaluation.remedy}")
    return StageFigures(figures, {}, records=records, put_first=evaluation.columns)


def _untested(subject: Subject, why: str) -> StageFigures:
    return StageFigures({}, {"test": why}, put_first=subject.evaluation.columns)


def _calibrated_only(subject: Subject, plain: nn.Module) -> nn.Module:
    """The float network calibrated and exported without any quantized training, on the device."""
    networks = subject.networks
    network = quantize_after_training(plain, subject.inputs["train"], networks.config, example=networks.example)
    graph = integer_graph(network)
    return DeviceNetwork(graph, write_tflite(graph), like=networks.trained)
