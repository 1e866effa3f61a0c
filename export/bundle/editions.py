"""What an export says of editions of TFLite Micro: for which it is, what was written otherwise, which others agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from export.boards import board
from export.bundle.attempted import Attempted
from export.faults.avoided import Avoided, avoided, newer_edition, refusal
from export.faults.found import Finding, faults_by_edition, faults_in
from export.graph.ir import Graph
from export.options import ExportOptions
from qtorch.editions.edition import Edition
from qtorch.editions.known import EDITIONS, NEWEST

__all__ = ["edition_figures", "editions_of", "for_board", "for_edition", "require_edition"]


def editions_of(model: bytes, cpu: str, told: Callable[[Finding], Finding] | None = None) -> dict[str, Any]:
    """Of each known edition ``"agrees"``, or what it computes otherwise or refuses.

    Args:
        model: the file that is exported.
        cpu: of the board, as boards name processors.
        told: the finding with its operator as whoever reads it numbers them; as the file does, if left out.
    """
    found = faults_by_edition(model, EDITIONS.values(), cpu)
    return {
        name: [(told(finding) if told else finding).as_json() for finding in findings] if findings else "agrees"
        for name, findings in found.items()
    }


def _where_chosen(options: ExportOptions) -> str:
    """What of an export's options names its edition, for a refusal."""
    return "export.tflm" if options.tflm else f"export.target {options.target}, whose TFLite Micro is"


def for_edition(graph: Graph, options: ExportOptions, *, certain: bool = False) -> Avoided:
    """The graph as the TFLite Micro of an export has to have it; as it is where none computes it.

    Args:
        graph: of integers.
        options: of the export.
        certain: before training, which changes the last bits of scales: what hangs on these is not refused.

    Raises:
        UnsupportedByEdition: something is computed otherwise there, or refused, in every form.
    """
    if not options.runs_tflm:
        return Avoided(graph, options.edition)
    cpu = board(options.target).cpu
    other = avoided(graph, options.edition, cpu)
    left = tuple(each for each in other.left if not (certain and each.fault.hangs_on_last_bits))
    if left:
        raise refusal(left, options.edition, _where_chosen(options), newer_edition(graph, options.edition, cpu))
    return other


def for_board(
    graph: Graph, options: ExportOptions, attempted: Attempted
) -> tuple[Avoided, ExportOptions, Attempted]:  # fmt: skip
    """:func:`for_edition`; or, where nobody asked for the board's TFLite Micro by name, plain C without it.

    Args:
        graph: of integers.
        options: of the export.
        attempted: what nobody asked for by name; says then what is left out.

    Returns:
        The graph for the edition, the options, and what is still attempted: where TFLite Micro is left out, the file is
        for the newest, which judges it, and plain C is no attempt any more.

    Raises:
        UnsupportedByEdition: as :func:`for_edition`; it was asked for, or there is to be no plain C.
    """
    if "tflm" not in attempted.parts or not options.c:
        return for_edition(graph, options), options, attempted
    with attempted("tflm"):
        return for_edition(graph, options), options, attempted
    left_out = attempted.left_out
    if options.firmware is not None:
        left_out["firmware"] = left_out["tflm"]
    newest = replace(options, tflm=NEWEST.name, firmware=None)
    return for_edition(graph, newest), newest, Attempted(attempted.parts - {"c"}, left_out)


def require_edition(model: bytes, options: ExportOptions) -> None:
    """See that the TFLite Micro of an export computes a file that has no other form.

    Args:
        model: the file.
        options: of the export.

    Raises:
        UnsupportedByEdition: something is computed otherwise there, or refused.
    """
    found = faults_in(model, options.edition, board(options.target).cpu) if options.runs_tflm else ()
    if found:
        raise refusal(found, options.edition, _where_chosen(options))


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
        "arena_bytes": other.arena_bytes,
        "others_disagree": [name for name, said in editions.items() if said != "agrees"],
    }
