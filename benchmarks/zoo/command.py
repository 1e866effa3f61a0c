"""``python -m benchmarks zoo``: networks that nobody here wrote, and ``docs/coverage.md`` of what comes of them."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import tomllib
import torch

from benchmarks.environments import ROOT, NotInstalled
from benchmarks.zoo.networks import LIST, Listed, listed
from benchmarks.zoo.packages import FOLDER, SUBSET, WHOLE, importable, install
from benchmarks.zoo.page import page
from benchmarks.zoo.runs import Limits, result_file, run
from benchmarks.zoo.tools import TOOLS
from export.optional_packages import missing, remedy

__all__ = ["main"]

_COVERAGE = ROOT / "docs" / "coverage.md"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks zoo", description=__doc__)
    of_your_own = "networks of your own, in a file like benchmarks/zoo/networks.toml"
    parser.add_argument("--only", metavar="WORD", default="", help="networks with this in corpus/name")
    parser.add_argument("--subset", action="store_true", help="the small ones that a test runs")
    parser.add_argument("--again", action="store_true", help="those too of which there is a result")
    parser.add_argument("--tool", nargs="+", choices=TOOLS, default=list(TOOLS), help="what they go through; else all")
    parser.add_argument("--install", action="store_true", help="install the packages that these networks need, and end")
    parser.add_argument("--list", type=Path, default=LIST, help=of_your_own)
    parser.add_argument("--packages", type=Path, default=FOLDER / "lib", help="where they are; else build/zoo/lib")
    parser.add_argument("--results", type=Path, default=FOLDER / "results", help="else build/zoo/results")
    parser.add_argument("--page", type=Path, help="where to write the page; else docs/coverage.md if all are run")
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="of processor time for a network")
    parser.add_argument("--gigabytes", type=float, default=Limits.gigabytes, help="of address space for a network")
    return parser


def main(arguments: Sequence[str]) -> None:
    """Install what is absent, run what has no result yet, write the page."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        networks, subset = listed(given.list)
    except (OSError, tomllib.TOMLDecodeError) as error:
        parser.error(f"--list {given.list}: expected a list of networks, got {error}")
    chosen = [each for each in networks if given.only in each.called and (each.called in subset or not given.subset)]
    if not chosen:
        parser.error(f"{given.list.name}: expected a network with {given.only!r} in its name, got none")
    if given.list == LIST:
        try:
            install(SUBSET if given.subset else WHOLE, given.packages)
        except NotInstalled as error:
            sys.exit(str(error))
    if given.install:
        return
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    importable(given.packages)
    limits = Limits(given.seconds, given.gigabytes)
    for tool in given.tool:
        lacking = missing("litert_torch", "ai_edge_quantizer") if tool == "litert" else ()
        if lacking:
            print(f"litert is left out: {', '.join(lacking)} not installed; {remedy(lacking[0])}", file=sys.stderr)
            continue
        waiting = [each for each in chosen if given.again or not result_file(given.results, tool, each.called).exists()]
        for _, corpus in groupby(waiting, lambda each: each.corpus):
            # What a corpus changes in other libraries at its import ends with this process.
            process = get_context("fork").Process(target=_run, args=(tool, list(corpus), given.results, limits))
            process.start()
            process.join()
    whole = given.list == LIST and not given.only and not given.subset
    target = given.page or (_COVERAGE if whole else None)
    if target:
        ours, theirs = (_kept(given.results, tool, chosen) for tool in ("qtorch", "litert"))
        target.write_text(page(ours, theirs, limits.seconds, limits.gigabytes), encoding="utf-8")
        print(f"{target} is written")


def _run(tool: str, corpus: Sequence[Listed], results: Path, limits: Limits) -> None:
    """Networks of one corpus, which is imported once for all of them."""
    with contextlib.suppress(Exception):  # by their own account they are unbuilt then
        import_module(corpus[0].module)
    for network in corpus:
        found = run(network, tool, results, limits)
        what = f"{found.get('got', '')} {found.get('where', '')}" if found["verdict"] not in ("exact", "runs") else ""
        print(f"{tool} {network.called}: {found['verdict']} {what}"[:200], flush=True)


def _kept(results: Path, tool: str, networks: Sequence[Listed]) -> dict[str, Any]:
    files = {each.called: result_file(results, tool, each.called) for each in networks}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}
