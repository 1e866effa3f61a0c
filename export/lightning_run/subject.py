"""The subject of an export, of a trained Lightning run: the one place that asks what kind of run it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from export.figures.evaluation import Evaluation, OutputFigures
from export.figures.float_weights import weights_loaded
from export.figures.network_inputs import NetworkInputs
from export.figures.record import Record
from export.figures.stage_names import STAGES
from export.figures.subject import Ends, History, Kind, Networks, Rows, Subject
from export.lightning_run.measure_by_test_step import WRITE_IT, run_figures
from export.lightning_run.network_inputs import network_inputs
from export.lightning_run.output_titles import output_titles
from export.lightning_run.training_pairs import training_pairs
from qtorch.errors import BadConfiguration
from qtorch.lightning.callback import network_of
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.classification import Classification
from qtorch.lightning.data import ArrayDataModule, Arrays
from qtorch.lightning.reconstruction import Reconstruction
from qtorch.lightning.regression import Regression
from qtorch.lightning.task import Task
from qtorch.progress import stage

__all__ = ["subject_of"]

#: Kinds of task.
_KINDS: tuple[tuple[type, Kind], ...] = (
    (Regression, "regression"), (Classification, "classification"), (Reconstruction, "reconstruction"),
)  # fmt: skip


def subject_of(run: Run, data_seconds: float = 0.0) -> Subject:
    """What an export of this run is made of; its data are loaded here.

    Args:
        run: trained, or about to be.
        data_seconds: what loading the data took, where that was measured before.

    Raises:
        BadConfiguration: the module has no network, or its test step never calls it.
    """
    started = time.perf_counter()
    with stage("loading the data"):
        inputs = network_inputs(run)
    data_seconds += time.perf_counter() - started
    absent = ""
    if isinstance(run.data, ArrayDataModule) and inputs.absent:
        absent = f"no data: {next(iter(inputs.absent.values()))}"
        # Nobody shall ask it again: it has no part without the others.
        run = replace(run, data=None)
    arrays = run.data.arrays if isinstance(run.data, ArrayDataModule) else None
    return Subject(
        name=run.task,
        networks=_networks(run),
        inputs=inputs,
        evaluation=_evaluation(run, inputs, arrays),
        kind=next((kind for task, kind in _KINDS if isinstance(run.module, task)), "other"),
        ends=Ends(
            None if arrays is None else arrays.interface,
            absent,
            titles=lambda outputs: output_titles(run, outputs),
            are_classes=lambda titles: _are_classes(run, titles),
        ),
        history=History(run.qat.losses, run.qat.began, {"data": data_seconds, **run.qat.seconds}),
        rows=None if arrays is None else Rows(arrays.train, arrays.validation, arrays.test, _about(arrays)),
    )


def _networks(run: Run) -> Networks:
    trained, example = network_of(run.module), run.module.example_input_array

    def with_weights(weights: Mapping[str, Any]) -> nn.Module:
        return weights_loaded(run.qat.original, trained, weights, type(run.module).__name__)

    return Networks(
        trained=trained,
        config=run.qat.config,
        example=example,
        in_float=lambda: with_weights(trained.state_dict()),
        unprepared=BadConfiguration(
            where=run.task,
            expected="a network that the QuantizationAwareTraining callback has prepared",
            got=type(trained).__name__,
            remedy="train with the callback, or quantize without training, by --export.post_training",
        ),
        uncalibrated=BadConfiguration(
            where=run.task,
            expected="a network with a calibrated range for every tensor, as it has from the first epoch of quantized "
            "training",
            got="one of float training",
            remedy="quantize it without training, by --export.post_training, or export a later checkpoint",
        ),
        before=(lambda: with_weights(run.qat.float_parameters)) if run.qat.float_parameters else None,
        float_name=_float_name(run),
    )


def _float_name(run: Run) -> str:
    """What a person calls the float network: where quantized training began, training had not ended."""
    began, losses = run.qat.began, run.qat.losses["training"]
    if began is None or not run.qat.float_parameters:
        return STAGES["float"]
    if began == 0:
        return "untrained float network"
    epochs = max(losses) + 1 if losses else None
    if epochs is not None and began >= epochs:
        return f"{STAGES['float']}, after {_epochs(began)}"
    return (
        f"half-trained {STAGES['float']}, after {began} of {epochs} epochs"
        if epochs
        else (f"half-trained {STAGES['float']}, after {_epochs(began)}")
    )


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def _evaluation(run: Run, inputs: NetworkInputs, arrays: Arrays | None) -> Evaluation:
    owner, columns = type(run.module).__name__, getattr(run.module, "columns", ())
    own = getattr(run.module, "contributions", None)
    evaluation = Evaluation(
        measure=run_figures(run),
        owner=owner,
        source=f"test_step of {owner}",
        remedy=WRITE_IT,
        columns=(columns,) if isinstance(columns, str) else tuple(columns),
        better=getattr(run.module, "better", {}),
        contributions=own if callable(own) else None,
        training_pairs=lambda record, target: _training_pairs(run, inputs, record, target),
    )
    if not isinstance(run.module, Task) or arrays is None:
        return evaluation
    task, (x, wanted) = run.module, arrays.test
    return replace(
        evaluation,
        baselines=lambda: task.baseline(arrays.train, arrays.test),
        simple_outputs=lambda figure: task.simple_outputs(figure, arrays.train, arrays.test),
        of_outputs=OutputFigures(x, lambda output: task.metrics(x, output, wanted)),
    )


def _training_pairs(run: Run, inputs: NetworkInputs, record: Record, target: Tensor) -> tuple[Tensor, Tensor] | str:
    """Inputs and targets of training samples, in the form in which the test has them."""
    data, assumed = run.data, record.inputs
    assert assumed is not None
    if isinstance(data, ArrayDataModule):
        pairs: tuple[Tensor, Tensor] = data.arrays.train
        # As they lie there they are what the network gets.
        if inputs.get("train") is pairs[0] and pairs[1].shape[1:] == target.shape[1:]:
            return pairs
    index = next((i for i, each in record.others.items() if each is target), None)
    # A task's own figures are of its arrays, which have no names.
    place = "[1]" if not record.places else "" if index is None else record.places[index]
    return training_pairs(run, inputs, place, tuple(assumed.shape[1:]), target)


def _are_classes(run: Run, titles: tuple[str, ...]) -> bool:
    own: Any = getattr(run.module, "class_names", None) or getattr(run.data, "class_names", None)
    return isinstance(run.module, Classification) or (bool(own) and tuple(own) == titles)


def _about(arrays: Arrays) -> dict[str, Any]:
    """Where data came from, how much there is, how it was recorded and what is odd about it."""
    recorded = arrays.interface.recorded
    return {**arrays.summary.figures(), **({"recorded": dict(recorded)} if recorded else {})}
