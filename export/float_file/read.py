"""A .tflite file of a float network as a module that can be quantized."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from export.float_file.compared import compared
from export.float_file.network import FloatFileNetwork
from export.tflite.contents import read_contents
from export.tflite.equivalents.unpacked_constants import with_float_constants
from export.tflite.file_form import file_form
from export.tflite.form import Form
from export.tflite.reader import graph_of
from qtorch.errors import BadModelFile

__all__ = ["QUANTIZED", "FloatFile", "float_file"]

#: Forms that are a float network, however its constants are held.
QUANTIZED: tuple[Form, ...] = ("dynamic range", "float16", "float32", "sparse", "weights only")


class FloatFile(NamedTuple):
    """A network, and what comparing it with LiteRT found, in a sentence."""

    net: nn.Module
    remark: str


def float_file(model: bytes, where: str = "model") -> FloatFile:
    """The float network of a file, in evaluation; images are ``[N, H, W, C]``, as in the file.

    Args:
        model: the whole file.
        where: what to call it in an error.

    Raises:
        BadModelFile: it is no .tflite file, or holds no float network, or one with an operator that no row has.
        ParityError: LiteRT computes something else of it.
    """
    contents = read_contents(model, where)
    form = file_form(contents)
    if form.form not in QUANTIZED:
        raise BadModelFile(
            where=where, expected="a network in floats, which is quantized", got=form.words,
            remedy=form.remedy or "a network of integers needs none: qtorch compile makes C of it",
        )  # fmt: skip
    try:
        net = FloatFileNetwork(graph_of(with_float_constants(contents), where)).eval()
    except ValueError as error:
        if isinstance(error, BadModelFile):
            raise
        raise BadModelFile(
            where=where, expected="a float network of operators that are quantized here", got=str(error),
            remedy="write the network in PyTorch, and pass that",
        ) from error  # fmt: skip
    return FloatFile(net, compared(model, contents, form, net, where))
