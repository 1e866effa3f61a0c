"""What the float network and the integers say of the data, and by how much they are wrong."""

from __future__ import annotations

import math

import numpy as np

from export.figures.output_columns import confusion
from export.figures.quantization_advice import FEW_STEPS
from export.html.charts import figure, histogram, scatter
from export.html.facts import Facts, Predictions
from export.html.markup import Markup, element, joined, shown
from export.html.statistics import spread
from export.html.tables import table

__all__ = ["confusion", "error_section", "errors_of", "prediction_section"]

#: Points of a scatter plot, evenly spaced over the samples.
_POINTS = 600
#: Outputs that get a scatter plot of their own.
_MOST_OUTPUTS = 4
#: Classes of a confusion matrix that a person can still read.
_MOST_CLASSES = 40
_NETWORKS = {"float": "float network", "int8": "quantized, on the device"}
_PARTS = {"train": "training part", "test": "test part"}


def _outputs(predictions: Predictions) -> dict[str, np.ndarray]:
    return {"float": predictions.float_output, "int8": predictions.int8_output}


def prediction_section(facts: Facts) -> Markup:
    """Predicted over actual, the confusion matrix, or the scores of normal samples and anomalies, of the test part."""
    tested = facts.predictions.get("test")
    if tested is None:
        return Markup()
    return joined(_by_output(facts), _drawn(facts, tested))


def _by_output(facts: Facts) -> Markup:
    """Each output by itself: one of them may have a handful of codes while the others look well."""
    columns = facts.metrics.get("outputs")
    if not columns:
        return Markup()
    header = [
        "output", "values on the device", "step", "standard deviation", "steps", "R2 with float", "R2, float network",
        "R2, on the device",
    ]  # fmt: skip
    rows: list[list[str | Markup]] = []
    for each in columns:
        steps = shown(each["steps"])
        few = element("b", steps, class_="bad") if 0 < each["steps"] < FEW_STEPS else steps
        figures = [shown(each[key]) if key in each else "" for key in ("agreement", "r2_float", "r2_device")]
        rows.append([each["name"], shown(each["levels"]), shown(each["step"]), shown(each["spread"]), few, *figures])
    return table("each output by itself, test part", header, rows)


def _drawn(facts: Facts, predictions: Predictions) -> Markup:
    if predictions.target is None:
        return _int8_over_float(predictions, facts.outputs)
    if facts.kind == "regression":
        return _predicted_over_actual(predictions, predictions.target, facts.outputs)
    if facts.kind == "classification":
        return _confusions(predictions, predictions.target, facts.outputs)
    return (
        _scores(predictions, predictions.target)
        if facts.kind == "reconstruction"
        else _int8_over_float(predictions, facts.outputs)
    )


def _int8_over_float(predictions: Predictions, titles: tuple[str, ...]) -> Markup:
    """Of a task whose targets mean nothing to this page: how closely the device follows the float network."""
    before, after = (output.reshape(len(output), -1).astype(np.float64) for output in _outputs(predictions).values())
    at = np.unique(np.linspace(0, len(before) - 1, min(_POINTS, len(before))).round().astype(int))
    drawn = []
    for column in range(min(before.shape[1], _MOST_OUTPUTS)):
        x, y = before[:, column], after[:, column]
        limits = (float(min(x.min(), y.min())), float(max(x.max(), y.max())))
        title = titles[column] if column < len(titles) else f"output {column}"
        about = f"{title}: on the device over the float network"
        drawing = scatter(x[at], y[at], "int8", about, "float network", "on the device", limits)
        drawn.append(figure(drawing, f"{about}; {len(at):,} of {len(before):,} samples"))
    text = f"The first {len(drawn)} of {shown(before.shape[1])} outputs." if before.shape[1] > len(drawn) else ""
    return joined(element("div", *drawn, class_="charts"), element("p", text) if text else Markup())


def _predicted_over_actual(predictions: Predictions, target: np.ndarray, titles: tuple[str, ...]) -> Markup:
    actual = target.reshape(len(target), -1).astype(np.float64)
    at = np.unique(np.linspace(0, len(actual) - 1, min(_POINTS, len(actual))).round().astype(int))
    drawn = []
    for column in range(min(actual.shape[1], _MOST_OUTPUTS)):
        predicted = {
            n: o.reshape(len(actual), -1)[:, column].astype(np.float64) for n, o in _outputs(predictions).items()
        }
        every = np.concatenate([actual[:, column], *predicted.values()])
        limits = (float(every.min()), float(every.max()))
        title = titles[column] if column < len(titles) else f"output {column}"
        for name, values in predicted.items():
            about = f"{title}, {_NETWORKS[name]}: predicted over actual"
            drawing = scatter(actual[at, column], values[at], name, about, "actual", "predicted", limits)
            drawn.append(figure(drawing, f"{about}; {len(at):,} of {len(actual):,} samples"))
    return element("div", *drawn, class_="charts")


def _confusions(predictions: Predictions, target: np.ndarray, titles: tuple[str, ...]) -> Markup:
    classes = predictions.float_output.shape[1]
    if classes > _MOST_CLASSES:
        return element("p", f"{classes} classes are too many for a confusion matrix that can be read.")
    names = [titles[i] if len(titles) == classes else f"class {i}" for i in range(classes)]
    drawn = [
        _matrix(confusion(target, output), names, f"confusion matrix, {_NETWORKS[name]}")
        for name, output in _outputs(predictions).items()
    ]
    same = int((predictions.float_output.argmax(1) == predictions.int8_output.argmax(1)).sum())
    total = len(target)
    agreed = f"Both networks name the same class for {shown(same)} of {shown(total)} samples."
    return joined(element("p", agreed), *drawn)


def _matrix(counts: np.ndarray, names: list[str], caption: str) -> Markup:
    """A table: right ones blue, wrong ones red and framed, the darker the larger their share of the row."""
    rows: list[list[str | Markup]] = []
    for index, name in enumerate(names):
        cells: list[str | Markup] = [name]
        total = int(counts[index].sum())
        for column, count in enumerate(counts[index].tolist()):
            kind = "right" if column == index else "wrong"
            shade = max(1, math.ceil(4 * count / total)) if count else 0
            cells.append(element("b", shown(count), class_=f"{kind} s{shade}") if count else "·")
        rows.append([*cells, f"{counts[index, index] / total:.1%}" if total else ""])
    what = f"{caption}: true class by row, predicted class by column"
    return element("div", table(what, ["true class", *names, "right"], rows), class_="matrix")


def _scores(predictions: Predictions, target: np.ndarray) -> Markup:
    drawn = []
    for name, output in _outputs(predictions).items():
        scores = _squared_error(predictions.inputs, output)
        groups = {"normal": scores[target == 0], "anomaly": scores[target == 1]}
        about = f"anomaly score, {_NETWORKS[name]}"
        drawn.append(
            figure(histogram(groups, about, "mean squared error"), about, {"normal": "normal", "anomaly": "anomaly"})
        )
    return element("div", *drawn, class_="charts")


def _squared_error(x: np.ndarray, output: np.ndarray) -> np.ndarray:
    difference = output.reshape(len(x), -1).astype(np.float64) - x.reshape(len(x), -1)
    return np.asarray((difference**2).mean(1))


def errors_of(kind: str, predictions: Predictions, output: np.ndarray) -> tuple[str, np.ndarray]:
    """What an error is for this kind of task, and the errors.

    Predicted minus actual; of a classifier, the true class's output less the largest of the others: below zero it is
    wrong; of an autoencoder, each sample's mean squared error.
    """
    assert predictions.target is not None
    if kind == "classification":
        flat = output.astype(np.float64)
        at = np.arange(len(flat))
        true = flat[at, predictions.target]
        others = flat.copy()
        others[at, predictions.target] = -np.inf
        return "margin of the true class", true - others.max(1)
    if kind == "reconstruction":
        return "mean squared error of a sample", _squared_error(predictions.inputs, output)
    target = predictions.target.reshape(len(predictions.target), -1)
    return "predicted minus actual", (output.reshape(target.shape).astype(np.float64) - target).ravel()


def error_section(facts: Facts) -> Markup:
    """Histograms and moments, training and test part, float and int8."""
    if facts.kind == "other" or not facts.predictions or facts.predictions["test"].target is None:
        return Markup()
    drawn, rows, what = [], [], ""
    for part, predictions in facts.predictions.items():
        series = {}
        for name, output in _outputs(predictions).items():
            what, series[name] = errors_of(facts.kind, predictions, output)
            rows.append(
                [f"{_PARTS[part]}, {_NETWORKS[name]}", shown(len(series[name])), *map(shown, spread(series[name]))]
            )
        about = f"{what}, {_PARTS[part]}"
        drawn.append(figure(histogram(series, about, what), about, _NETWORKS))
    header = ["part and network", "count", "mean", "standard deviation", "minimum", "maximum"]
    return joined(element("div", *drawn, class_="charts"), table(what, header, rows))
