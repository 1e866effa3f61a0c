"""A graph in forms that an edition of TFLite Micro computes rightly, or the refusal with every fault by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from export.arena.arena import arena_needed
from export.arena.figures import REFERENCE
from export.faults.found import Finding, all_faults, faults_in
from export.graph.ir import Graph
from export.graph.passes.other_forms import OTHER_FORMS
from export.tflite.writer import nodes_of_operators, write_tflite
from qtorch.editions.edition import Edition
from qtorch.editions.known import EDITIONS, NEWEST
from qtorch.errors import ParityError, UnsupportedByEdition

__all__ = ["Avoided", "Form", "Rewritten", "avoided", "in_a_line", "newer_edition", "refusal", "require_without_faults"]

#: Operators of one fault that are numbered in a sentence, and kinds of fault that are told; of more, how many.
_NUMBERED, _TOLD = 6, 4

#: Forms that cost so little that kernels get them too which a switch of the same build would put in place of those that
#: run: an M55's owner tries CMSIS-NN sooner or later.
_BY_CAUTION = frozenset({"time_on_height"})

#: Rewrites the nodes whose first outputs are named into something equivalent; others stay.
Form = Callable[[Graph, frozenset[str]], Graph]


@dataclass(frozen=True)
class Rewritten:
    """A node that was written in another form.

    Attributes:
        layer: its first output.
        form: that it has now.
        finding: why.
        by_caution: whether not the edition's kernels have the fault, but others that its build has a switch for.
    """

    layer: str
    form: str
    finding: Finding
    by_caution: bool = False

    def as_json(self) -> dict[str, Any]:
        """The record for machines."""
        return {"layer": self.layer, "form": self.form, **self.finding.as_json()}


@dataclass(frozen=True)
class Avoided:
    """A graph, and what was changed in it for an edition.

    Attributes:
        graph: whose file the edition computes as training did, as far as ``left`` is empty.
        edition: for which.
        rewritten: nodes in another form.
        left: what no form avoids.
        bytes: by how much the file grew.
        operators: by how many.
        arena_bytes: by how much its arena grew, with TFLite Micro's own kernels on a 32-bit processor.
    """

    graph: Graph
    edition: Edition
    rewritten: tuple[Rewritten, ...] = ()
    left: tuple[Finding, ...] = ()
    bytes: int = 0
    operators: int = 0
    arena_bytes: int = 0

    def sentences(self) -> tuple[str, ...]:
        """What was written otherwise, why, and what it costs; nothing if nothing was."""
        if not self.rewritten:
            return ()
        lines = [
            f"{each.layer}: {each.form.replace('_', ' ')} in place of {each.finding.name}, which would meet a fault "
            f"{'of the kernels that its build has a switch for' if each.by_caution else 'there'}: {each.finding.met()}"
            for each in self.rewritten
        ]
        price = f"{self.bytes:+,} bytes, {self.operators:+} operators and {self.arena_bytes:+,} bytes of arena"
        return (f"written in other forms for {self.edition.description}: {price}, the same integers", *lines)


def avoided(graph: Graph, edition: Edition, cpu: str, forms: Mapping[str, Form] = OTHER_FORMS) -> Avoided:
    """The graph with each operator that an edition computes otherwise in another form, as often as that helps.

    Args:
        graph: of integers, in TFLite's terms.
        edition: that is to compute it.
        cpu: as boards name processors.
        forms: by name, as faults name them.
    """
    tried, rewritten, model = set[tuple[str, str]](), list[Rewritten](), write_tflite(graph)
    before, findings = (graph, model), faults_in(model, edition, cpu)
    cautions = _cautions(model, edition, cpu)
    while True:
        layers: dict[int | None, str] = dict(enumerate(nodes_of_operators(graph)))
        open_to = [
            (layers[each.operator], each)
            for each in (*findings, *cautions)
            if each.fault.form in forms and (layers[each.operator], each.fault.form) not in tried
        ]
        if not open_to:
            break
        # One form at a time: what it makes of a node may be without the others' faults.
        form = open_to[0][1].fault.form
        asked: dict[str, Finding] = {}
        for layer, each in open_to:
            if each.fault.form == form:
                asked.setdefault(layer, each)
        tried |= {(layer, form) for layer in asked}
        other = forms[form](graph, frozenset(asked))
        stayed = {node.output: node for node in other.nodes}
        changed = [n.output for n in graph.nodes if n.output in asked and stayed.get(n.output) is not n]
        rewritten += [Rewritten(layer, form, asked[layer], asked[layer] in cautions) for layer in changed]
        graph, model = other, write_tflite(other)
        findings, cautions = faults_in(model, edition, cpu), _cautions(model, edition, cpu)
    if not rewritten:
        return Avoided(graph, edition, left=findings)
    return Avoided(
        graph, edition, tuple(rewritten), findings, len(model) - len(before[1]),
        len(nodes_of_operators(graph)) - len(nodes_of_operators(before[0])),
        arena_needed(model, REFERENCE) - arena_needed(before[1], REFERENCE),
    )  # fmt: skip


def _cautions(model: bytes, edition: Edition, cpu: str) -> tuple[Finding, ...]:
    """What kernels on one processor would meet that are a switch of the same build, and a cheap form keeps clear of."""
    cautioned = any(each.form in _BY_CAUTION and cpu in each.cores for each in all_faults())
    if edition.library != "reference" or not cautioned:
        return ()
    switched = [
        each
        for each in EDITIONS.values()
        if (each.package, each.version) == (edition.package, edition.version) and each.library != "reference"
    ]
    return tuple(
        found
        for each in switched
        for found in faults_in(model, each, cpu)
        if found.fault.form in _BY_CAUTION and cpu in found.fault.cores
    )


def refusal(
    left: tuple[Finding, ...],
    edition: Edition,
    where: str = "export.tflm",
    newer: Edition | None = None,
    compiling: bool = False,
) -> UnsupportedByEdition:
    """The refusal of a model for an edition, with every fault.

    Args:
        left: what no form avoids; at least one.
        edition: for which.
        where: it was chosen.
        newer: one that computes the model, see :func:`newer_edition`.
        compiling: somebody's file, with the options of ``qtorch compile`` and no training.
    """
    option, verb = ("--tflm", "compile") if compiling else ("export.tflm", "export")
    alike: dict[tuple[object, ...], list[Finding]] = {}
    for each in left:
        alike.setdefault((*_kind(each), each.words), []).append(each)
    remedies = dict.fromkeys(each.fault.remedy for each in left)
    version = " ".join(filter(None, (edition.package, edition.version)))
    others = []
    if newer is not None:
        others.append(f"install {newer.package} {newer.version}, and {verb} for it with {option} {newer.name}")
    others.append(f"if that is not the TFLite Micro that you have, name yours with {option}")
    others.append(
        "do without TFLite Micro: leave out --firmware and --tflite, the plain C is computed rightly"
        if compiling
        else "do without TFLite Micro: plain C with export.c, export.tflm newest and no export.firmware"
    )
    return UnsupportedByEdition(
        where=f"{where} {edition.name} ({version or edition.description}, source of {edition.source})",
        expected=f"operators that it computes as {'the newest does' if compiling else 'training did'}",
        got="; ".join(f"{_together(each)} [{each[0].fault.source}]" for each in alike.values()),
        remedy="; or ".join(["; or, of the others, ".join(remedies), *others]),
    )


def newer_edition(graph: Graph, edition: Edition, cpu: str) -> Edition | None:
    """The next newer edition of the same package that computes a graph as training did; ``None`` where none is known.

    Args:
        graph: of integers, in TFLite's terms.
        edition: that does not.
        cpu: as boards name processors.
    """
    # Zephyr's module and the Python package are called alike.
    kin = [
        each
        for each in EDITIONS.values()
        if (each.package, bool(each.beside)) == (edition.package, bool(edition.beside)) and each.source > edition.source
    ]
    for each in sorted(kin, key=lambda one: one.source):
        if not avoided(graph, each, cpu).left:
            return each
    return None


def require_without_faults(model: bytes, where: str) -> None:
    """Refuse a file that the newest TFLite Micro computes otherwise too, whatever it gives now.

    Args:
        model: the whole file.
        where: what to call it in an error.

    Raises:
        ParityError: it has such an operator; names it, and the remedy.
    """
    found = faults_in(model, NEWEST, "host", where)
    if found:
        raise ParityError(
            f"{where}: TFLite Micro computes otherwise, whatever it gives now: {in_a_line(found)}. Remedy: "
            f"{found[0].fault.remedy}"
        )


def in_a_line(findings: Sequence[Finding]) -> str:
    """Findings in one line, each fault once for each kind of operator: the words of the first, the others counted.

    Args:
        findings: at least one; of many kinds the first are told, and how many there are.
    """
    alike: dict[tuple[object, ...], list[Finding]] = {}
    for each in findings:
        alike.setdefault(_kind(each), []).append(each)
    told = [_together(each) if _all_alike(each) else _the_first(each) for each in alike.values()]
    more = len(told) - _TOLD
    return "; ".join(told[:_TOLD]) + (f"; and {more} kinds more, which qtorch lint lists" if more > 0 else "")


def _kind(finding: Finding) -> tuple[object, ...]:
    """What is the same of findings that one line tells."""
    return finding.fault.name, finding.name, finding.instead_of, finding.operator is None


def _all_alike(findings: Sequence[Finding]) -> bool:
    return len({each.words for each in findings}) == 1


def _the_first(findings: Sequence[Finding]) -> str:
    return f"{len(findings)} {findings[0].name}, the first of them {findings[0]}"


def _together(alike: list[Finding]) -> str:
    """One line for operators that meet the same fault in the same words."""
    last = alike[-1]
    if len(alike) == 1:
        return str(last)
    places = [each.place for each in alike]
    if len(alike) > _NUMBERED + 1:
        said = f"{', '.join(places[:_NUMBERED])} and {len(alike) - _NUMBERED} more"
    else:
        said = f"{', '.join(places[:-1])} and {places[-1]}"
    return f"{last.called(said, many=True)}: {last.met()}"
