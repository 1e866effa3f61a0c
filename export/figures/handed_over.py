"""What a loop of somebody's own hands over for an export: made into tensors, or refused in words.

Data are looked at as a whole, and networks are called with one sample, so that nothing takes time before all is known
to fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from qtorch.capture.call_form import arguments_of, signature_of, tensors_in
from qtorch.capture.samples import Samples, called, taken
from qtorch.errors import BadConfiguration, BadData, BadInput
from qtorch.features import Feature, Interface
from qtorch.handed_over.words import in_words, shown
from qtorch.network.calibration import in_mode, quantizers
from qtorch.network.mode import Mode
from qtorch.network.quantized_network import QuantizedNetwork
from qtorch.surroundings import evaluating, undisturbed_random_numbers

__all__ = [
    "named_classes",
    "output_shapes",
    "require_float_network",
    "require_interface",
    "require_names",
    "require_same_outputs",
    "require_samples_alike",
    "task_name",
]

#: Of one sample, each tensor's.
Shapes = tuple[tuple[int, ...], ...]

#: Files and folders have at most 255 bytes, and the longest ending of a project's takes some of them.
_LONGEST_NAME = 200


def task_name(name: Any) -> str:
    """A text that is a name.

    Raises:
        BadConfiguration: it is none, empty, or too long for files.
    """
    if isinstance(name, str) and name.strip():
        if len(name) > _LONGEST_NAME:
            raise BadConfiguration(
                where="name", expected=f"at most {_LONGEST_NAME} characters: files are called so, with endings",
                got=f"{len(name)}: {name[:40]!r} and so on", remedy="give a shorter one",
            )  # fmt: skip
        return name
    raise BadConfiguration(
        where="name", expected="a text, which the files are called by", got=repr(name),
        remedy="say what the network is for, as in 'gestures'",
    )  # fmt: skip


def require_float_network(network: Any, float_network: Any) -> None:
    """Refuse what is no float network.

    Raises:
        BadConfiguration: it is no module, or prepared already; or there is none, nor a prepared one that knows it.
    """
    if float_network is None and network is not None:
        return
    if not isinstance(float_network, nn.Module):
        raise BadConfiguration(
            where="float_network", expected="a module, or a prepared network beside it, which knows its own",
            got=shown(float_network), remedy="pass the float network, copied before it was prepared",
        )  # fmt: skip
    if quantizers(float_network):
        raise BadConfiguration(
            where="float_network", expected="the network from before it was prepared",
            got=f"{type(float_network).__name__} with quantizers in it",
            remedy="pass it as network, and here copy.deepcopy(net) from before qtorch.prepare(net, ...), or None",
        )  # fmt: skip


def output_shapes(net: nn.Module, samples: Samples, where: str) -> Shapes:
    """Shapes of what a network makes of one sample; it is left as it was.

    Args:
        net: float, or prepared.
        samples: as :func:`samples_of` gives them.
        where: the argument that they were handed over as.

    Raises:
        BadData: it does not take them.
    """
    expected = f"what {type(net).__name__} takes, float32 [N, ...]"
    try:
        if isinstance(net, QuantizedNetwork):
            expected = f"inputs of shape {_listed(('N', *shape) for shape in net.origin.samples)}, as in the example"
            call = arguments_of(signature_of(net), samples)
            got = tuple(tuple(each.shape[1:]) for each in net.form.tensors(call.args, call.kwargs))
            if got != net.origin.samples:
                raise BadData(where=where, expected=expected, got=shown(samples), remedy=_PREPARED)
            with in_mode(net, Mode.FLOAT):
                return _called_with_one(net, samples)
        return _called_with_one(net, samples)
    # A network of somebody's own fails in whatever way it does.
    except Exception as error:
        if isinstance(error, BadInput) and error.where == where:
            raise
        if isinstance(error, BadInput):
            said = f"{error.got} ({error.where})"
            raise BadData(
                where=where, expected=f"{expected}: {error.expected}", got=said, remedy=error.remedy
            ) from error
        raise BadData(
            where=where, expected=expected, got=f"{shown(samples)}: {in_words(error)}",
            remedy=_NO_DICT if isinstance(samples, dict) else _AS_CALLED,
        ) from error  # fmt: skip


_PREPARED = "pass inputs of the shape that the network was prepared with, or prepare it with an example of this shape"


_AS_CALLED = "pass inputs as the network is called with them, a tuple where it takes several"
_NO_DICT = (
    "pass tuples of inputs and targets in place of dicts, as in [(batch['x'], batch['y']) for batch in loader]; or a "
    "dict that the network itself is called with"
)


def _called_with_one(net: nn.Module, samples: Samples) -> Shapes:
    with torch.no_grad(), evaluating(net), undisturbed_random_numbers():
        return tuple(tuple(each.shape[1:]) for each in tensors_in(called(net, taken(samples, slice(1)))))


def require_samples_alike(test_inputs: Samples, inputs: Samples) -> None:
    """Refuse test samples of other shapes than those of training.

    Raises:
        BadData: so they are.
    """
    test, train = ([tuple(each.shape[1:]) for each in tensors_in(samples)] for samples in (test_inputs, inputs))
    if test != train:
        raise BadData(
            where="test_inputs", expected=f"samples of the shape of those in inputs, {_listed(train)}",
            got=_listed(test), remedy="pass samples of one shape in both: a device's input has one",
        )  # fmt: skip


def require_same_outputs(quantized: Shapes, floats: Shapes) -> None:
    """Refuse a float network with other outputs than the quantized one.

    Raises:
        BadConfiguration: so it has.
    """
    if quantized != floats:
        raise BadConfiguration(
            where="float_network", expected=f"the network's own outputs, {_listed(quantized)} of a sample",
            got=_listed(floats), remedy="pass the float network that this one was prepared from",
        )  # fmt: skip


def require_interface(interface: Any, inputs: Samples, outputs: Shapes) -> None:
    """Refuse an interface that is none, or that names more or fewer numbers than there are.

    One name is of all numbers; else there is one for each along an axis, or for each number.

    Raises:
        BadConfiguration: so it is.
    """
    remedy = "pass qtorch.Interface(inputs, outputs), tuples of qtorch.Feature"
    if not isinstance(interface, Interface):
        raise BadConfiguration(where="interface", expected="an Interface, or None", got=shown(interface), remedy=remedy)
    sides = {
        "inputs": (interface.inputs, tuple(tuple(each.shape[1:]) for each in tensors_in(inputs))),
        "outputs": (interface.outputs, outputs),
    }
    for side, (features, shapes) in sides.items():
        if not isinstance(features, tuple | list) or not all(isinstance(each, Feature) for each in features):
            raise BadConfiguration(
                where=f"interface.{side}", expected="a tuple of features", got=shown(features), remedy=remedy
            )
        sizes = [math.prod(shape) for shape in shapes]
        fitting = {0, 1, *(size for shape in shapes for size in shape), *sizes, sum(sizes)}
        if len(features) not in fitting:
            raise BadConfiguration(
                where=f"interface.{side}", expected=f"a name for each number of a sample, {_listed(shapes)}",
                got=f"{len(features)}: {', '.join(each.name for each in features)[:80]}",
                remedy="name every number, in the order in which the network has them, or all by one name",
            )  # fmt: skip


def named_classes(class_names: Any) -> tuple[str, ...]:
    """Names of classes, all different.

    Raises:
        BadConfiguration: they are no texts in a row, or two are the same.
    """
    names = tuple(class_names) if isinstance(class_names, Sequence | np.ndarray) else None
    if (
        isinstance(class_names, str | bytes)
        or names is None
        or not all(isinstance(each, str) and each for each in names)
    ):
        raise BadConfiguration(
            where="class_names", expected="a tuple of texts, one for each output", got=shown(class_names),
            remedy="pass such, as in ('idle', 'wave')",
        )  # fmt: skip
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise BadConfiguration(
            where="class_names", expected="names that differ", got=f"{', '.join(map(repr, twice))} more than once",
            remedy="name every class otherwise",
        )  # fmt: skip
    return names


def require_names(where: str, names: Sequence[str], outputs: int | None) -> None:
    """Refuse more or fewer names than outputs.

    Args:
        where: the argument that they were handed over as.
        names: of outputs; none where they have none.
        outputs: how many there are, if that is known.

    Raises:
        BadConfiguration: so it is.
    """
    if names and outputs is not None and len(names) != outputs:
        raise BadConfiguration(
            where=where,
            expected=f"{outputs} names, one for each output of the network",
            got=f"{len(names)}: {', '.join(names)[:80]}",
            remedy="name every output, in the order in which the network has them",
        )


def _listed(shapes: Any) -> str:
    return " and ".join(f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})" for shape in shapes) or "none"
