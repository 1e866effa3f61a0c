"""Kernels by themselves: each on its processor, as that calls it, against the portable one and the op's integers.

Whole networks do not notice a kernel that writes into slack, or one that spoils a register which its caller happens not
to use. Here every call of a kernel gets memory of its own with painted bands around all that it may write, and what it
leaves in memory, registers and the processor's modes is looked at; what it costs is counted in the same run.
"""

from export.checkkernel.check import Finding, Outcome, checked
from export.checkkernel.drawing import Case, drawn
from export.checkkernel.forms import Form, forms

__all__ = ["Case", "Finding", "Form", "Outcome", "checked", "drawn", "forms"]
