"""What several test files share: a small trained-looking network, its graph, and a finished pipeline run."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx, nn

import qtorch
from export.bundle import proof
from export.engines import tflm_available
from export.optional_packages import missing, remedy
from export.pipeline import main
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.model import FuelConsumption

# On tensors as small as these, threads that wait for each other and for another worker's take longer than the sums; and
# sums are the same ones however many cores there are. The commands that tests start follow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Reports have a date, and what is exported around midnight shall be the same too.
os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
torch.set_num_threads(1)


def onnx_available() -> bool:
    return not missing("onnx", "onnxruntime")


REQUIRES = {
    "tflm": (tflm_available, "tflite-micro has wheels for Linux x86-64 only; run these tests there"),
    "cuda": (torch.cuda.is_available, "PyTorch finds no GPU here; run these tests where one is"),
    "tensorflow": (lambda: not missing("tensorflow"), f"tensorflow is not installed; {remedy('tensorflow')}"),
    "litert_torch": (
        lambda: not missing("litert_torch", "ai_edge_quantizer"),
        f"litert-torch and ai-edge-quantizer are not installed; {remedy('litert_torch')}",
    ),
    "onnx": (onnx_available, f"onnx and onnxruntime are not installed; {remedy('onnx')}"),
}


#: Marks of jobs of their own, which run where ``-m`` names them.
ON_REQUEST = ("mutation", "sweep")


#: Tests of some ten seconds and more: begun late, one would keep a process busy when all others are done. A name stands
#: for all cases, so that what a module prepares for them is prepared once. Networks that are drawn come first, all that
#: judge the same ones in one process, which prepares them once; then the longest.
LONG = (
    "test_random_networks.py::test_random_networks_are_exact",
    "test_random_networks.py::test_random_networks_with_attention_are_exact",
    "test_random_networks.py::test_random_networks_of_lifted_forms_are_exact",
    "test_random_c.py::test_random_networks_are_exact_in_c",
    "test_random_c.py::test_random_networks_with_attention_are_exact_in_c",
    "test_random_c.py::test_a_wrong_kernel_is_found_and_shrunk",
    "test_random_machines.py::test_random_networks_are_exact_on_a_machine",
    "test_onnx.py::test_random_networks",
    "test_other_forms.py::test_forms_of_all_that_random_networks_have",
    "test_distributed.py::test_ranks_agree_with_each_other_and_with_one_process",
    "test_observing_together.py::test_two_processes_come_to_one_network",
    "test_c_compilers.py::test_networks_side_by_side_stay_within_their_memory",
    "test_mlperf_tiny.py::test_a_reference_network_is_exact",
    "test_firmware.py::test_an_image_network_is_exact_on_a_machine",
    "test_recipes.py::test_a_recipe_trains_and_exports",
    "test_docs.py::test_every_block_runs",
    "test_pipeline.py::test_subcommands_and_help",
    "test_lightning.py::test_print_config_and_both_loggers",
    "test_benchmarks.py::test_an_environment_is_installed_once",
    "test_documented_commands.py::test_a_command_runs",
    "test_resume.py::test_a_run_goes_on_from_the_middle_of_an_epoch",
)


def in_turn(rows: Iterable[Any], columns: Iterable[Any], every: int | None = None) -> list[Any]:
    """Parameters: all pairs with the sweeps; always each row with columns in turn, so that each has its share of them.

    Args:
        rows: of which there is no end of kinds.
        columns: what each is tried with.
        every: how many pairs one is always taken of; as many as there are columns if not given.
    """
    rows, columns = list(rows), list(columns)
    every = every or len(columns)
    return [
        pytest.param(row, column, marks=[] if (i + j) % every == 0 else [pytest.mark.sweep])
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    ]


def longest_first(names: list[str]) -> list[int]:
    """The order in which to take tests of these node ids: :data:`LONG`, then the others as they stand."""

    def place(index: int) -> int:
        name = names[index].split("[")[0]
        return next((rank for rank, long in enumerate(LONG) if name.endswith(long)), len(LONG))

    return sorted(range(len(names)), key=place)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = config.getoption("markexpr") or ""
    unasked = [item for item in items if any(mark in item.keywords and mark not in asked for mark in ON_REQUEST)]
    config.hook.pytest_deselected(items=unasked)
    wanted = [item for item in items if item not in unasked]
    items[:] = [wanted[index] for index in longest_first([item.nodeid for item in wanted])]
    absent = {marker: reason for marker, (available, reason) in REQUIRES.items() if not available()}
    for item in items:
        for marker, reason in absent.items():
            if marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """Let collections of garbage pass over what is there now, and come seldom: they were an eighth of all the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)


#: How many random inputs an export is compared on beside the data, as pages promise.
DRAWN = proof._RANDOM_INPUTS


@pytest.fixture(scope="session", autouse=True)
def fewer_drawn_inputs() -> Iterator[None]:
    """A tenth of them: of most exports something else is asked, and half of their time went into these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "_RANDOM_INPUTS", DRAWN // 10)
        yield


@pytest.fixture
def all_drawn_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are promised."""
    monkeypatch.setattr(proof, "_RANDOM_INPUTS", DRAWN)


@pytest.fixture
def alone() -> Iterator[None]:
    """A distributed run of one process."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread: on small tensors, threads that wait for a busy machine's other cores take minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def network() -> fx.GraphModule:
    """3-6-4-1 with ReLU, prepared and calibrated."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1))
    qat = qtorch.prepare(net, torch.zeros(1, 3))
    qtorch.calibrate(qat, [torch.rand(200, 3)])
    return qat


FUEL_CONFIG = Path(__file__).parents[1] / "recipes" / "fuel_qat" / "config.yaml"


def run_fuel(*arguments: object) -> int:
    """The fuel pipeline as its command runs it, short and quiet."""
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.max_epochs", "6"]
    return main(FuelConsumption, FuelData, FUEL_CONFIG, [*quiet, *map(str, arguments)])


@pytest.fixture(scope="session")
def fuel_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a short fuel run wrote, compared on as many inputs as are promised."""
    out = tmp_path_factory.mktemp("fuel") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proof, "_RANDOM_INPUTS", DRAWN)
        assert run_fuel("--out", out) == 0
    return out
