"""What an export says of editions of TFLite Micro: for which it is, what was written otherwise, which others agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.faults.avoided import Avoided
from export.faults.found import faults_by_edition
from export.options import ExportOptions
from qtorch.editions.edition import Edition
from qtorch.editions.known import EDITIONS

__all__ = ["edition_figures", "editions_of", "where_chosen"]


def editions_of(model: bytes, cpu: str) -> dict[str, Any]:
    """Of each known edition ``"agrees"``, or what it computes otherwise or refuses.

    Args:
        model: the file that is exported.
        cpu: of the board, as boards name processors.
    """
    found = faults_by_edition(model, EDITIONS.values(), cpu)
    return {
        name: [finding.as_json() for finding in findings] if findings else "agrees" for name, findings in found.items()
    }


def where_chosen(options: ExportOptions) -> str:
    """What of an export's options names its edition, for a refusal."""
    return "export.tflm" if options.tflm else f"export.target {options.target}, whose TFLite Micro is"


def edition_figures(edition: Edition, other: Avoided, editions: Mapping[str, Any]) -> dict[str, Any]:
    """What ``metrics.json`` says of it.

    Args:
        edition: that the export is for.
        other: what was written otherwise for it.
        editions: :func:`editions_of`.
    """
    return {
        "edition": edition.name,
        "description": edition.description,
        "source": edition.source.isoformat(),
        "library": edition.library,
        "library_source": None if edition.library_source is None else edition.library_source.isoformat(),
        "rewritten": [each.as_json() for each in other.rewritten],
        "sentences": list(other.sentences()),
        "bytes": other.bytes,
        "operators": other.operators,
        "others_disagree": [name for name, said in editions.items() if said != "agrees"],
    }
