"""Several networks of one program in one working memory: exact however they alternate, and none in too little of it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from export.c.division import Room
from export.c.network import c_network
from export.c.source import c_source
from export.graph.interpret import interpret, interpret_sequence
from export.graph.ir import Graph
from tests.c_programs import COMPILERS, STRICT, command, succeed
from tests.streaming_graphs import drawn, runs
from tests.test_profile import graph_of
from tests.test_random_networks import a_dozen
from tests.test_row_by_row import Residual

pytestmark = pytest.mark.usefixtures("one_thread")

_RUNS = 12
#: Room of the fast memory of the networks in two, and the macros that say how much is shared.
_FAST, _SLOW = "Q_SHARED_SCRATCH_BYTES", "Q_SHARED_SCRATCH_SLOW_BYTES"


def _graphs() -> dict[str, Graph]:
    """An image, numbers, and one that keeps states from run to run."""
    seed = next(s for s in range(40) if len(drawn(s).inputs) == len(drawn(s).outputs) == 1 and drawn(s).states)
    numbers = nn.Sequential(nn.Linear(30, 60), nn.ReLU(), nn.Linear(60, 5))
    return {"image": graph_of(Residual(), 3, 21, 18), "numbers": graph_of(numbers, 30), "stream": drawn(seed)}


def _written(graphs: Mapping[str, Graph], room: Room | None = None) -> dict[str, str]:
    return {
        file: text
        for name, graph in graphs.items()
        for file, text in c_source(name, c_network(graph, room=room)).files.items()
    }


def _sizes(files: Mapping[str, str], names: Sequence[str], macro: str) -> dict[str, int]:
    """What each network's header asks for."""
    found = {}
    for name in names:
        lines = files[f"{name}_model.h"].splitlines()
        line = next((line for line in lines if line.startswith(f"#define {name.upper()}_{macro} ")), "0")
        found[name] = int(line.split()[-1])
    return found


def _main(graphs: Mapping[str, Graph], arrays: Sequence[str]) -> str:
    """All networks, one after the other, on one sample each; again and again."""
    includes = "".join(f'#include "{name}_model.h"\n' for name in graphs)
    memory = "".join(f"uint32_t q_{array}[{macro} / 4];\n" for array, macro in arrays_of(arrays))
    body = ""
    for name, graph in graphs.items():
        for side, ends in (("in", graph.inputs), ("out", graph.outputs)):
            value = graph.values[ends[0]]
            body += f"static {value.array_dtype}_t {name}_{side}[{value.elements}];\n"
    calls = ""
    for name in graphs:
        calls += f"    if (fread({name}_in, 1, sizeof {name}_in, stdin) != sizeof {name}_in) return 0;\n"
        calls += f"    {name}_invoke({name}_in, {name}_out);\n"
        calls += f"    if (fwrite({name}_out, 1, sizeof {name}_out, stdout) != sizeof {name}_out) return 4;\n"
    return f"#include <stdio.h>\n\n{includes}\n{memory}\n{body}\nint main(void) {{\n  for (;;) {{\n{calls}  }}\n}}\n"


def arrays_of(macros: Sequence[str]) -> list[tuple[str, str]]:
    """Each array's name behind ``q_``, and its macro."""
    return [(macro.removeprefix("Q_").removesuffix("_BYTES").lower(), macro) for macro in macros]


def _built(folder: Path, compiler: Sequence[str], graphs: Mapping[str, Graph], files: Mapping[str, str],
           sizes: Mapping[str, int]) -> list[str]:  # fmt: skip
    for file, text in {**files, "main.c": _main(graphs, list(sizes))}.items():
        (folder / file).write_text(text)
    shared = [f"-D{macro}={size}" for macro, size in sizes.items()]
    sources = ["main.c", *(f"{name}_model.c" for name in graphs)]
    return [*compiler, *STRICT, "-Wundef", "-O1", *shared, *sources, "-o", "program"]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("room", [None, Room(600)], ids=["one memory", "two memories"])
def test_networks_that_share_memory_are_exact(tmp_path: Path, compiler: str, room: Room | None) -> None:
    graphs = _graphs()
    files = _written(graphs, room)
    sizes = {_FAST: max(_sizes(files, list(graphs), "SCRATCH_BYTES").values())}
    if room:
        sizes[_SLOW] = max(_sizes(files, list(graphs), "SCRATCH_SLOW_BYTES").values())
        assert sizes[_SLOW]
    succeed(_built(tmp_path, command(COMPILERS[compiler]), graphs, files, sizes), tmp_path)
    inputs, expected = {}, {}
    for name, graph in graphs.items():
        if graph.states:
            inputs[name] = runs(graph, _RUNS, 0)[0]
            expected[name] = interpret_sequence(graph, (inputs[name],))[graph.outputs[0]]
        else:
            inputs[name] = np.resize(a_dozen(graph)[0], (_RUNS, *graph.values[graph.inputs[0]].shape[1:]))
            expected[name] = interpret(graph, (inputs[name],))[graph.outputs[0]]
    cut = {name: [np.split(array, _RUNS) for array in (inputs[name], expected[name])] for name in graphs}
    given = b"".join(cut[name][0][run].tobytes() for run in range(_RUNS) for name in graphs)
    wanted = b"".join(cut[name][1][run].tobytes() for run in range(_RUNS) for name in graphs)
    assert succeed([str(tmp_path / "program")], tmp_path, given) == wanted


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_memory_that_is_too_small_does_not_compile(tmp_path: Path, compiler: str) -> None:
    graphs = _graphs()
    files = _written(graphs)
    needed = _sizes(files, list(graphs), "SCRATCH_BYTES")
    largest = max(needed, key=lambda name: needed[name])
    line = _built(tmp_path, command(COMPILERS[compiler]), graphs, files, {_FAST: needed[largest] - 4})
    refused = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode
    assert f"{largest} needs {_FAST} of at least {needed[largest]}" in refused.stderr


@pytest.mark.parametrize("compiler", COMPILERS)
def test_an_array_of_another_size_than_was_told_does_not_compile(tmp_path: Path, compiler: str) -> None:
    graphs = _graphs()
    files = _written(graphs)
    sizes = {_FAST: max(_sizes(files, list(graphs), "SCRATCH_BYTES").values())}
    line = _built(tmp_path, command(COMPILERS[compiler]), graphs, files, sizes)
    main = (tmp_path / "main.c").read_text()
    (tmp_path / "main.c").write_text(main.replace(f"[{_FAST} / 4]", "[10]"))
    refused = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode
    assert "q_shared_scratch" in refused.stderr


def test_what_is_shared_is_no_longer_each_networks_own(tmp_path: Path) -> None:
    """As the program's bytes of RAM say."""
    graphs = _graphs()
    files = _written(graphs)
    needed = _sizes(files, list(graphs), "SCRATCH_BYTES")
    taken = []
    for sizes in ({}, {_FAST: max(needed.values())}):
        succeed(_built(tmp_path, command(COMPILERS["gcc, C99"]), graphs, files, sizes), tmp_path)
        taken.append(int(succeed(["size", "program"], tmp_path).splitlines()[1].split()[2]))
    assert taken[0] - taken[1] >= sum(needed.values()) - max(needed.values()) - 64
