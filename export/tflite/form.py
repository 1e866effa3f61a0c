"""What kind of network a file holds, as :mod:`export.tflite.file_form` says it, and the error that says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from qtorch.errors import BadModelFile

__all__ = ["CONVERT_INT8", "FileForm", "Form"]

#: Converters say so of a whole file of int8.
CONVERT_INT8 = (
    "convert the network again with converter.optimizations = [tf.lite.Optimize.DEFAULT], "
    "converter.representative_dataset = a function that yields inputs like those of training, and "
    "converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]; a network of PyTorch: "
    "qtorch quantize NET.pt --data x.npy --out DIR"
)

Form: TypeAlias = Literal[
    "integers",
    "float32",
    "float16",
    "dynamic range",
    "weights only",
    "sparse",
    "partly float",
    "uint8",
    "int16 with zero points",
    "weights with zero points",
    "detection",
    "audio front end",
    "loop",
    "compiled for a processor",
    "TensorFlow operators",
    "custom operators",
]


@dataclass(frozen=True)
class FileForm:
    """What a file is.

    Attributes:
        form: by name.
        what: a phrase that ends no sentence, with operators and counts.
        why: what that means on a microcontroller; empty of a network of integers.
        remedy: how a network of integers is made of it; empty of one.
    """

    form: Form
    what: str
    why: str = ""
    remedy: str = ""

    @property
    def is_integers(self) -> bool:
        """Whether it is what this project computes to the bit."""
        return self.form == "integers"

    @property
    def on_tflm(self) -> bool:
        """Whether TFLite Micro may run it; of custom operators, who knows."""
        return self.form not in _NOT_ON_TFLM

    @property
    def words(self) -> str:
        """What it is, and what that means."""
        return f"{self.what}; {self.why}" if self.why else self.what

    @property
    def sentence(self) -> str:
        """One line of all of it."""
        remedy = f". Remedy: {self.remedy}" if self.remedy else ""
        return f"{self.words[0].upper()}{self.words[1:]}{remedy}"

    def refused(self, where: str) -> BadModelFile:
        """The error of who takes integers alone."""
        return BadModelFile(where=where, expected="a network of integers", got=self.words, remedy=self.remedy)


_NOT_ON_TFLM: frozenset[Form] = frozenset({"dynamic range", "float16", "sparse", "TensorFlow operators", "uint8"})
