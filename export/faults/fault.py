"""The record of a fault: an operator, in a form that some edition of TFLite Micro computes otherwise than the newest.

A fault is seen in a file, whoever wrote it: :class:`Operator` is one of its operators with its tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from export.tflite.file_data import FileTensor
from qtorch.editions.edition import Edition, Library

__all__ = ["Effect", "Fault", "Operator"]

#: What happens: other codes by up to one step, other codes, an output that keeps old bytes, memory of other tensors
#: overwritten, no model at all because the interpreter refuses it, or no program because it doesn't link.
Effect = Literal["one step", "other codes", "not written", "overwrites", "refused", "not linked"]


@dataclass(frozen=True)
class Operator:
    """One operator of a file, with its tensors.

    Attributes:
        index: in the order of execution.
        name: in the schema: ``CONV_2D``.
        version: of its kernel.
        options: by the schema's names.
        inputs: ``None`` for one that is left out.
        outputs: all of them.
        constants: bytes of the inputs that are constants, by their position.
        before: names of the operators that stand before it in the file.
        offsets: where in the file these bytes begin, likewise by position.
    """

    index: int
    name: str
    version: int
    options: Mapping[str, Any]
    inputs: tuple[FileTensor | None, ...]
    outputs: tuple[FileTensor, ...]
    constants: Mapping[int, memoryview]
    before: frozenset[str] = frozenset()
    offsets: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """One form of one operator that goes wrong.

    Attributes:
        name: short, of what is wrong: ``conv_1xn_left_over_column``.
        where: whose fault: ``tflm`` (reference kernels and what is around all kernels), ``cmsis_nn``, ``esp_nn``, or
            the wrappers of TFLite Micro around them, ``tflm_cmsis_nn`` and ``tflm_esp_nn``.
        operators: names in the schema.
        holds: of an operator of these names, what of it meets the fault, in words with its numbers; empty if nothing.
        effect: see :data:`Effect`.
        since: the first day of source that has it; ``None``: always.
        until: the first day of source that is without it; ``None``: still there. Days are those of the library that
            ``where`` names; of a wrapper TFLite Micro's.
        spared: libraries whose own kernels are without it, though it is TFLite Micro's.
        cores: processors whose kernels have it, as boards name them; empty: all.
        repeats: names of faults that say the same of another library or day: where one of them is met, this one is not
            said as well.
        left_out: whether it is that a build leaves the kernel out, of whatever day: of editions that say so.
        form: of :data:`export.graph.passes.other_forms.OTHER_FORMS`, which is right there; empty if there is none.
        remedy: for people whose file it is: what to write instead.
        source: who says so: a commit, a thread, a file.
        sure: ``run`` (seen to compute other codes), ``read`` in the source, or ``reported`` by somebody else.
    """

    name: str
    where: Literal["tflm", "tflm_cmsis_nn", "tflm_esp_nn", "cmsis_nn", "esp_nn"]
    operators: tuple[str, ...]
    holds: Callable[[Operator], str]
    effect: Effect
    remedy: str
    source: str
    sure: Literal["run", "read", "reported"]
    since: date | None = None
    until: date | None = None
    spared: tuple[Library, ...] = ()
    cores: tuple[str, ...] = ()
    form: str = ""
    repeats: tuple[str, ...] = ()
    left_out: bool = False

    @property
    def hangs_on_last_bits(self) -> bool:
        """Whether the last bits of scales decide: then training changes whether a network meets it."""
        return self.name.endswith("_scales_in_float32")

    def is_in(self, edition: Edition, cpu: str) -> bool:
        """Whether an edition has it on a processor, as boards name it; on ``host``, which stands for any, if on one."""
        if self.left_out:
            return set(self.operators) <= set(edition.absent)
        # On a processor that stands for any, one with the library.
        own = set(self.operators) <= set(edition.reference) or not (cpu == "host" or cpu.startswith(edition.processors))
        if self.where != "tflm" and (own or edition.library != self.where.removeprefix("tflm_")):
            return False
        if edition.library in self.spared and not own:
            return False
        day = edition.library_source if self.where in ("cmsis_nn", "esp_nn") else edition.source
        if day is None or (self.cores and cpu not in (*self.cores, "host")):
            return False
        return (self.since is None or day >= self.since) and (self.until is None or day < self.until)
