"""The record of an edition of TFLite Micro: whose kernels a board computes with, and of which day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

__all__ = ["Edition", "Library"]

#: What takes the place of TFLite Micro's reference kernels, where something does.
Library = Literal["reference", "cmsis_nn", "esp_nn"]


@dataclass(frozen=True)
class Edition:
    """What somebody distributes as TFLite Micro.

    Attributes:
        name: what ``--export.tflm`` takes.
        description: for people, with the version that they install.
        source: the day of TFLite Micro's source that its kernels are of.
        library: whose kernels run where there are any; the rest is TFLite Micro's reference kernels.
        library_source: the day of that library's source; ``None`` with reference kernels.
        package: what a project asks its ecosystem's package manager for; empty where there is none.
        version: exactly which, as that manager spells it.
        beside: which version of what a project has to ask for beside it: of esp-nn, or of Zephyr; empty: of nothing.
        reference: operators that its build leaves to TFLite Micro's own kernels, though the library has some.
        absent: operators whose kernels its build leaves out, though its source has them; ``CUSTOM:`` before a custom
            one's name.
        processors: what names of processors begin with that get the library; others get none, if it is not empty.
        facts: who says so: where dates and versions were read.
    """

    name: str
    description: str
    source: date
    library: Library = "reference"
    library_source: date | None = None
    package: str = ""
    version: str = ""
    beside: str = ""
    reference: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    processors: str = ""
    facts: str = ""
