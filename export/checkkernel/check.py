"""Cases through a machine, chunk after chunk: every call's memory and registers looked at, its instructions counted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.checkkernel.build import compiled, sources_of
from export.checkkernel.drawing import Case
from export.checkkernel.forms import Forms, forms
from export.checkkernel.memory import difference, laid_out, memory_bytes, remains
from export.checkkernel.program import HEADER_BYTES, Job, constant_bytes, inputs_of
from export.checkkernel.targets import Target
from firmware.emulation import Options
from firmware.emulation.replay import replay_model
from qtorch.errors import UnsupportedLayer

__all__ = ["Finding", "Outcome", "checked", "findings", "jobs_of"]


@dataclass(frozen=True)
class Outcome:
    """A case in one of its forms.

    Attributes:
        case: which.
        form: name of the form.
        kernels: that it calls.
        fault: what it did wrong; empty if nothing.
        cost: instructions or cycles of its first run; ``None`` where nothing counts.
    """

    case: Case
    form: str
    kernels: tuple[str, ...]
    fault: str
    cost: int | None


@dataclass(frozen=True)
class Finding:
    """All calls of some kernels in one form: a line of the table.

    Attributes:
        kernels: names.
        form: name of the form.
        cases: how many.
        faults: of those that did something wrong.
        cost: of all of them; ``None`` where nothing counts.
        portable: of the portable form of the same cases.
    """

    kernels: tuple[str, ...]
    form: str
    cases: int
    faults: tuple[Outcome, ...]
    cost: int | None
    portable: int | None


def checked(
    cases: Sequence[Case],
    target: Target,
    of: Forms = forms,
    options: Options | None = None,
    kernel: str = "",
    clang: bool = False,
) -> list[Outcome]:
    """Every case in all of its forms on a target.

    Args:
        cases: that fit the target's room.
        target: a machine.
        of: which forms there are.
        options: how they are built; ``-O2`` without.
        kernel: only cases in which a kernel of this name is called.
        clang: compiles the kernels, in place of the machine's own compiler: see :mod:`export.checkkernel.build`.

    Raises:
        EmulationFailure: a program does not build, or does not end as programs do.
    """
    outcomes = list[Outcome]()
    for chunk in _chunks(jobs_of(cases, target, of, kernel), target):
        outcomes += _run(chunk, target, options or Options(seconds=300), clang)
    return outcomes


def jobs_of(cases: Sequence[Case], target: Target, of: Forms = forms, kernel: str = "") -> list[Job]:
    """Every case in all of its forms that fit the target's memory, as calls; arguments are those of :func:`checked`."""
    jobs = list[Job]()
    for case in cases:
        try:
            found = of(case.graph, target.cpu)
        except UnsupportedLayer:
            continue
        if kernel and not any(kernel in form.kernels for form in found.values()):
            continue
        jobs += [Job(case, name, form, laid_out(case, form)) for name, form in found.items()]
    return [job for job in jobs if memory_bytes(job.regions) <= target.memory]


def _chunks(jobs: Sequence[Job], target: Target) -> Iterator[list[Job]]:
    """As many as a program holds, the forms of a case together where that goes."""
    chunk, constants = list[Job](), 0
    for job in jobs:
        size = constant_bytes(job.form)
        if chunk and (len(chunk) == target.calls or constants + size > target.constants):
            yield chunk
            chunk, constants = [], 0
        chunk.append(job)
        constants += size
    if chunk:
        yield chunk


def _run(jobs: Sequence[Job], target: Target, options: Options, clang: bool) -> list[Outcome]:
    memory = max(memory_bytes(job.regions) for job in jobs)
    sources = sources_of(jobs, target)
    wanted = [list(remains(job.case, job.regions, memory)) for job in jobs]
    blank = np.zeros(memory, np.uint8)
    inputs = [
        inputs_of(0, blank),
        *(inputs_of(call + 1, run.before) for call, runs in enumerate(wanted) for run in runs),
    ]
    nothing = np.zeros(HEADER_BYTES, np.uint8)
    expected = [
        np.concatenate([nothing, memory]).view(np.int8)
        for memory in (blank, *(run.after for runs in wanted for run in runs))
    ]
    with tempfile.TemporaryDirectory(prefix="checkkernel-") as folder:
        model = compiled(sources, target, Path(folder), options, clang)
        found = replay_model(target.machine, model, np.stack(inputs), np.stack(expected), options)
    outcomes, sample = list[Outcome](), 1
    for job, runs in zip(jobs, wanted, strict=True):
        faults = list[str]()
        cost = None if found.costs is None else int(found.costs[sample] - found.costs[0])
        for run in runs:
            got = found.outputs[sample].view(np.uint8)
            spoiled = int(got[:4].view("<u4")[0])
            if spoiled:
                faults.append(f"spoiled {_names(spoiled, target.spoiled)}")
            faults += filter(None, [difference(job.case, job.regions, run, got[HEADER_BYTES:])])
            sample += 1
        outcomes.append(Outcome(job.case, job.name, job.form.kernels, "; ".join(dict.fromkeys(faults)), cost))
    return outcomes


def _names(bits: int, names: Sequence[str]) -> str:
    return ", ".join(name for bit, name in enumerate(names) if bits >> bit & 1)


def findings(outcomes: Sequence[Outcome]) -> list[Finding]:
    """Outcomes by kernels and form, with what the portable form of the same cases costs."""
    portable = {outcome.case.number: outcome.cost for outcome in outcomes if outcome.form == "portable"}
    groups: dict[tuple[tuple[str, ...], str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.kernels, outcome.form), []).append(outcome)
    return [
        Finding(
            kernels,
            form,
            len(group),
            tuple(outcome for outcome in group if outcome.fault),
            _sum([outcome.cost for outcome in group]),
            _sum([portable.get(outcome.case.number) for outcome in group]),
        )
        for (kernels, form), group in sorted(groups.items())
    ]


def _sum(costs: Sequence[int | None]) -> int | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
