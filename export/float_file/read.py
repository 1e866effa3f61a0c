"""A .tflite file of a float network as a module, compared with what LiteRT computes of the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from export.float_file.network import FloatFileNetwork
from export.graph.interpret import interpret
from export.tflite.contents import FileContents, read_contents
from export.tflite.equivalents.unpacked_constants import with_float_constants
from export.tflite.file_form import file_form
from export.tflite.form import FileForm
from export.tflite.reader import graph_of
from qtorch.errors import BadModelFile

__all__ = ["QUANTIZED", "float_file"]

#: Forms that are a float network, however its constants are held.
QUANTIZED = ("dynamic range", "float16", "float32", "sparse", "weights only")


def float_file(model: bytes, where: str = "model") -> nn.Module:
    """The float network of a file; images are ``[N, H, W, C]``, as in the file.

    Args:
        model: the whole file.
        where: what to call it in an error.

    Raises:
        BadModelFile: it is no .tflite file, or holds no float network, or one with an operator that no row has.
    """
    contents = read_contents(model, where)
    form = file_form(contents)
    if form.form not in QUANTIZED:
        raise BadModelFile(
            where=where, expected="a network in floats, which is quantized", got=form.words,
            remedy=form.remedy or "what is of integers already needs none: qtorch verify, or qtorch profile",
        )  # fmt: skip
    try:
        unpacked = with_float_constants(contents)
    except ValueError as error:
        raise BadModelFile(
            where=where, expected="constants that can be written out", got=str(error), remedy="convert it again"
        ) from error
    return FloatFileNetwork(graph_of(unpacked, where)).eval()
