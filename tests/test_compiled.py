"""A compiled network computes the integers of the network that it was compiled of, in one graph, compiled once."""

from __future__ import annotations

import copy

import pytest
import torch

import qtorch
from tests.device_cases import quantized_step, started

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # About the compiler's own looks at tensors.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("residual", False),
        ("residual", True),
        ("curves", True),
        pytest.param("attention", True, marks=pytest.mark.sweep),
    ],
)
def test_a_network_is_one_graph_that_is_compiled_once(name: str, frozen: bool) -> None:
    """Of common layers, of what is looked up in tables, of a softmax; 100 steps, amid which a range grows."""
    qat, x = started(name)
    qtorch.freeze_batch_norm(qat, frozen)
    other = copy.deepcopy(qat)
    torch._dynamo.reset()
    compiled = torch.compile(other, backend="aot_eager", fullgraph=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in range(100):
            if step == 50:
                for each in (qat, other):
                    source = next(iter(qtorch.quantizers(each).values()))
                    source.coarsen(1.25 * float(source.scale))
            found = quantized_step(compiled, x)
            if step in (0, 50, 99):
                assert torch.equal(found, quantized_step(qat, x))
                for key, parameter in qat.named_parameters():
                    theirs = other.get_parameter(key).grad
                    assert theirs is not None
                    # As near to an end as the first rounding goes, a sum may have a gradient on one way alone.
                    torch.testing.assert_close(theirs, parameter.grad, rtol=1e-4, atol=1e-5)
            with torch.no_grad():
                for mine, theirs in zip(qat.parameters(), other.parameters(), strict=True):
                    assert theirs.grad is not None
                    theirs -= 1e-3 * theirs.grad
                    mine.copy_(theirs)
                for mine, theirs in zip(qat.buffers(), other.buffers(), strict=True):
                    mine.copy_(theirs)


@pytest.mark.sweep
@pytest.mark.parametrize("name", ["lsq", "lsq+", "pact", "ewgs"])
def test_what_has_no_gradient_of_its_own_is_in_the_graph(name: str) -> None:
    """Poolings onto learned grids compute their integers by the reference."""
    qat, x = started(name)
    qtorch.freeze_batch_norm(qat)
    expected, other = quantized_step(qat, x), copy.deepcopy(qat)
    torch._dynamo.reset()
    assert torch.equal(quantized_step(torch.compile(other, backend="aot_eager", fullgraph=True), x), expected)


@pytest.mark.sweep
def test_what_the_compiler_generates_computes_the_same() -> None:
    qat, x = started("image")
    qtorch.freeze_batch_norm(qat)
    expected = quantized_step(qat, x)
    torch._dynamo.reset()
    assert torch.equal(quantized_step(torch.compile(qat, fullgraph=True), x), expected)
