"""On a GPU a network computes the CPU's integers and trains as there; asked of the CPU, the questions try themselves.

``python -m pytest -m cuda`` where a GPU is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch

import qtorch
from tests.device_cases import NETWORKS, QUESTIONS, a_step_waits_for_nothing, quantized_step, started

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
ASKED = [(question, name) for question, (_, names) in QUESTIONS.items() for name in names]
#: Asked of the CPU too, so that the questions themselves are tried everywhere.
TRIED = ("residual", "lsq+", "minmax")


@pytest.fixture
def fast() -> Iterator[None]:
    """All that makes a GPU's products faster and less exact, as far as PyTorch lets it."""
    before = (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
        torch.get_float32_matmul_precision(),
    )
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    yield
    torch.set_float32_matmul_precision(before[3])
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[:3]


@pytest.mark.parametrize(
    ("question", "name", "device"),
    [
        pytest.param(question, name, device, marks=[pytest.mark.cuda] if device == "cuda" else [])
        for question, name in ASKED
        for device in ("cpu", "cuda")
        if device == "cuda" or name in TRIED
    ],
)
def test_a_gpu_answers_as_the_cpu(question: str, name: str, device: str) -> None:
    assert QUESTIONS[question][0](name, torch.device(device)) == []


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("device", DEVICES)
def test_integers_are_the_cpu_s_with_all_that_is_fast(device: str, memory: torch.memory_format) -> None:
    """TF32, measured convolutions, images with their channels last; in training, with frozen norms."""
    for name in NETWORKS if device == "cuda" else TRIED[:2]:
        qat, x = started(name)
        qtorch.freeze_batch_norm(qat)
        there, data = copy.deepcopy(qat).to(device), x.to(device)
        if data.dim() == 4:
            there, data = there.to(memory_format=memory), data.contiguous(memory_format=memory)  # type: ignore[call-overload]
        for _ in range(3):  # as long as kernels are tried
            found = there(data)
        assert torch.equal(found.detach().cpu(), qat(x).detach()), name


@pytest.mark.parametrize("device", DEVICES)
def test_bf16_around_a_step_changes_no_integer(device: str) -> None:
    qat, x = started("residual")
    qtorch.freeze_batch_norm(qat)
    expected = qat(x).detach()
    there = copy.deepcopy(qat).to(device)
    with torch.autocast(device, dtype=torch.bfloat16):
        assert torch.equal(there(x.to(device)).detach().cpu(), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_a_scaled_step_with_infinite_gradients_is_left_out(device: str) -> None:
    qat, x = started("lsq")
    qat, x = qat.to(device), x.to(device)
    scaler = torch.amp.GradScaler(device, init_scale=2.0**127)
    optimizer = torch.optim.SGD(qat.parameters(), 1e-2)
    before = {key: value.clone() for key, value in qat.named_parameters()}
    scaler.scale(1e30 * qat(x).square().mean()).backward()
    scaler.step(optimizer)
    assert all(torch.equal(value, before[key]) for key, value in qat.named_parameters())


@pytest.mark.cuda
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_does_not_wait_for_the_gpu(name: str) -> None:
    def nothing() -> dict[str, int]:
        torch.cuda.set_sync_debug_mode("error")
        return {}

    try:
        assert a_step_waits_for_nothing(name, torch.device("cuda"), nothing) == []
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
def test_a_compiled_step_on_the_gpu_computes_the_same() -> None:
    qat, x = started("residual")
    qtorch.freeze_batch_norm(qat)
    expected = quantized_step(qat, x)
    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(qat).cuda())
    assert torch.equal(quantized_step(compiled, x.cuda()).cpu(), expected)
