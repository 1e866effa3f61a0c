"""Refusals name what can be written instead, and it is tried: prepared, and compared with the call that was refused.

Every layer of ``torch.nn`` and every function of ``torch.nn.functional`` that can be built and called alone is. What is
said to compute the same is held against PyTorch's own layer.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

import qtorch
from export.commands.support import support_table
from qtorch.ops import ROWS
from qtorch.preparation.matching import supported_names
from qtorch.preparation.refusal_remedy import SUPPORTED, remedy
from qtorch.remedies.asked import Asked
from qtorch.remedies.without_row import WITHOUT_ROW
from qtorch.row.row import Call, Match, Refused
from tests.remedy_judge import NAMES, ROOT, Called, agrees, judge, refusal

ROW, IMAGE, SOLID = (8,), (8, 4, 6), (3, 4, 6, 4)
#: What a function or method meets with; those of two tensors get halves of ``x``.
CALLS: list[tuple[Callable[..., Any], tuple[int, ...], str]] = [
    (F.silu, ROW, "same"),
    (F.mish, ROW, "same"),
    (F.elu, ROW, "same"),
    (lambda x: F.elu_(x.clone(), 0.5), ROW, "same"),
    (lambda x: F.celu(x, alpha=0.4), ROW, "same"),
    (F.selu, ROW, "same"),
    (lambda x: F.gelu(x, approximate="tanh"), ROW, "same"),
    (F.gelu, ROW, "near"),
    (F.hardsigmoid, ROW, "same"),
    (F.softplus, ROW, "same"),
    (F.softplus, IMAGE, "same"),
    (F.softplus, SOLID, "same"),
    (lambda x: F.softplus(x, 0.5), IMAGE, "same"),
    (lambda x: F.softplus(x, beta=2, threshold=30), (4, 6), "same"),
    (lambda x: F.softplus(x, threshold=1), ROW, "none"),
    (F.logsigmoid, ROW, "same"),
    (F.logsigmoid, (4, 6), "same"),
    (F.logsigmoid, IMAGE, "same"),
    (F.logsigmoid, SOLID, "same"),
    (F.softsign, ROW, "same"),
    (lambda x: F.softshrink(x, 0.3), ROW, "same"),
    (F.tanhshrink, ROW, "same"),
    (F.hardshrink, ROW, "none"),
    (lambda x: F.threshold(x, 0.5, 2.0), ROW, "none"),
    (F.rrelu, ROW, "same"),
    (lambda x: F.glu(x, 1), IMAGE, "same"),
    (lambda x: F.softmin(x, -1), IMAGE, "same"),
    (lambda x: F.softmin(x, 1), IMAGE, "same"),
    (lambda x: F.softmin(x, dim=-2), (4, 6), "same"),
    (lambda x: F.softmin(x, 0), ROW, "none"),
    (lambda x: F.softmax(x, 1), IMAGE, "same"),
    (lambda x: F.log_softmax(x, -2), (4, 6), "same"),
    (lambda x: torch.softmax(x, 0), ROW, "none"),
    (lambda x: F.normalize(x), IMAGE, "same"),
    (lambda x: F.normalize(x, p=1, dim=-1), IMAGE, "none"),
    (lambda x: F.hardtanh(x, -0.25, 2.0), ROW, "same"),
    (lambda x: torch.clamp(x, 0, 1), ROW, "same"),
    (lambda x: x.clamp(-0.5, -0.1), ROW, "same"),
    (lambda x: x.clamp(min=-0.5), ROW, "same"),
    (lambda x: x.clamp(max=0.75), ROW, "same"),
    (lambda x: (x * 1.0).sigmoid_(), ROW, "same"),
    (lambda x: (x * 1.0).tanh_(), ROW, "same"),
    (lambda x: F.layer_norm(x, (6,)), IMAGE, "same"),
    (lambda x: F.layer_norm(x, x.shape[-2:], eps=1e-3), IMAGE, "same"),
    (lambda x: F.rms_norm(x, (6,)), IMAGE, "same"),
    (lambda x: F.group_norm(x, 4), IMAGE, "same"),
    (lambda x: F.instance_norm(x), IMAGE, "same"),
    (lambda x: F.batch_norm(x, torch.zeros(8), torch.ones(8)), IMAGE, "same"),
    (lambda x: F.local_response_norm(x, 3, beta=0.5), IMAGE, "same"),
    (lambda x: F.local_response_norm(x, 3), IMAGE, "none"),
    (lambda x: F.pixel_shuffle(x, 2), IMAGE, "same"),
    (lambda x: F.pixel_unshuffle(x, 2), IMAGE, "same"),
    (lambda x: F.channel_shuffle(x, 2), IMAGE, "same"),
    (lambda x: F.unfold(x, 3), IMAGE, "same"),
    (lambda x: F.unfold(x, 3, padding=1), IMAGE, "none"),
    (lambda x: F.pad(x, (1, 2, 1, 0), mode="reflect"), IMAGE, "same"),
    (lambda x: F.pad(x, (0, 2, 1, 0), mode="replicate"), IMAGE, "same"),
    (lambda x: F.pad(x, (1, 1), mode="circular"), (8, 6), "same"),
    (lambda x: F.pad(x, (1, 1), value=-1.0), IMAGE, "same"),
    (lambda x: F.pad(x, (1, 1), value=-torch.inf), IMAGE, "none"),
    (lambda x: F.pad(x, (6, 6), mode="replicate"), (8, 20), "none"),
    (lambda x: F.avg_pool3d(x, 2), SOLID, "same"),
    (lambda x: F.max_pool3d(x, 2), SOLID, "same"),
    (lambda x: F.max_pool3d(x, 3, 1), SOLID, "none"),
    (lambda x: F.adaptive_avg_pool3d(x, 1), SOLID, "same"),
    (lambda x: F.adaptive_max_pool3d(x, 1), SOLID, "same"),
    (lambda x: F.lp_pool2d(x, 2, 2), IMAGE, "same"),
    (lambda x: x / 8, ROW, "same"),
    (lambda x: x / 3, ROW, "same"),
    (lambda x: torch.div(x, 7.0), ROW, "same"),
    (lambda x: -x, ROW, "same"),
    (torch.abs, ROW, "same"),
    (lambda x: x.abs(), ROW, "same"),
    (torch.square, ROW, "same"),
    (lambda x: x**2, ROW, "same"),
    (lambda x: x.pow(3), ROW, "same"),
    (lambda x: (x * x) ** 2.5, ROW, "works"),
    (lambda x: x.sum((2, 3)), IMAGE, "same"),
    (lambda x: x.sum(-1, keepdim=True), IMAGE, "same"),
    (lambda x: torch.sum(x), IMAGE, "none"),
    (lambda x: torch.sum(x, (0, 1)), IMAGE, "none"),
    (lambda x: x.var((2, 3)), IMAGE, "same"),
    (lambda x: torch.var(x, 1, correction=2), IMAGE, "same"),
    (lambda x: x.var(-1, unbiased=False, keepdim=True), IMAGE, "same"),
    (lambda x: x.var(), IMAGE, "none"),
    (lambda x: torch.std(x, (1, 2)), IMAGE, "same"),
    (lambda x: x.std((0, 1)), IMAGE, "none"),
    (lambda x: torch.amax(x, (2, 3)), IMAGE, "same"),
    (lambda x: x.amin(dim=(2, 3), keepdim=True), IMAGE, "same"),
    (lambda x: x.amax(1), IMAGE, "same"),
    (lambda x: x.amin((1, -1)), IMAGE, "same"),
    (lambda x: torch.amin(x, (2, 3)), IMAGE, "same"),
    (lambda x: x.amax((1, 3), True), IMAGE, "same"),
    (lambda x: x.amax(-1), ROW, "same"),
    (lambda x: x.amax(), IMAGE, "none"),
    (lambda x: x.amax(0), IMAGE, "none"),
    (lambda x: x.detach(), ROW, "works"),
    (lambda x: x.to(torch.float32), ROW, "same"),
    (lambda x: x.to("cpu"), ROW, "same"),
    (lambda x: x.type_as(x), ROW, "same"),
    (lambda x: x.flip(1), (2, 3), "same"),
    (lambda x: x.flip(3), (2, 3, 8), "same"),
    (lambda x: torch.flip(x, (1, -1)), IMAGE, "same"),
    (lambda x: x.flip(2, 3), IMAGE, "same"),
    (lambda x: x.flip(-2), (2, 23, 3), "same"),
    (lambda x: x.flip(0), IMAGE, "none"),
    (torch.fliplr, IMAGE, "same"),
    (lambda x: x.roll(1, 1), IMAGE, "same"),
    (lambda x: torch.roll(x, 1, 3), IMAGE, "same"),
    (lambda x: x.roll((1, -2), (2, -1)), IMAGE, "same"),
    (lambda x: x.roll(8, 1), ROW, "same"),
    (lambda x: x.roll(1), IMAGE, "none"),
    (lambda x: x.repeat(1, 2, 1, 1), IMAGE, "same"),
    (lambda x: x.repeat(1, 1, 3, 2), IMAGE, "same"),
    (lambda x: x.tile(2), IMAGE, "same"),
    (lambda x: x.repeat(2, 1), ROW, "none"),
    (lambda x: x.repeat_interleave(2, 1), IMAGE, "same"),
    (lambda x: torch.repeat_interleave(x, 3, dim=-1), (4, 6), "same"),
    (lambda x: x.unbind(1), IMAGE, "same"),
    (lambda x: x.unbind(-1), IMAGE, "same"),
    (lambda x: F.hardtanh(x, 0.5, float("inf")), ROW, "same"),
    (lambda x: F.hardtanh(x, float("-inf"), 0.5), ROW, "same"),
    (lambda x: x.clamp(0.5, 0.5), ROW, "none"),
    (lambda x: F.embedding(torch.zeros(3, dtype=torch.long), x), ROW, "none"),
    (lambda x: torch.where(x > 0, x, x * 2), ROW, "same"),
    (lambda x: x.topk(2, 1)[1], ROW, "none"),
    (lambda x: F.mse_loss(x, x), ROW, "none"),
    (lambda x: F.cross_entropy(x, x), ROW, "none"),
    (lambda x: torch.einsum("bij,bkj->ik", x, x), (4, 6), "none"),
]
TWO: list[tuple[Callable[..., Any], str]] = [
    (lambda x, y: torch.stack([x, y], 1), "same"),
    (lambda x, y: F.cosine_similarity(x, y, dim=-1), "same"),
    (lambda x, y: F.cosine_similarity(x, y), "same"),
    (lambda x, y: torch.rsub(x, y), "same"),
    (lambda x, y: x / y, "same"),
    (lambda x, y: F.pairwise_distance(x, y), "same"),
    (lambda x, y: x.bmm(y.transpose(1, 2)), "none"),
]


@pytest.mark.parametrize(("call", "shape", "verdict"), CALLS, ids=range(len(CALLS)))
def test_functions_and_methods(call: Callable[..., Any], shape: tuple[int, ...], verdict: str) -> None:
    torch.manual_seed(0)
    assert agrees(judge(Called(call), torch.randn(3, *shape)), verdict)


@pytest.mark.parametrize(("call", "verdict"), TWO, ids=range(len(TWO)))
def test_functions_of_two_tensors(call: Callable[..., Any], verdict: str) -> None:
    torch.manual_seed(0)
    assert agrees(judge(Called(call, halves=True), torch.rand(3, 2, 4, 6) + 0.5, halves=True), verdict)


#: Of positive numbers.
POSITIVE: list[Callable[..., Any]] = [
    torch.sqrt,
    torch.reciprocal,
    lambda x: x**0.5,
    lambda x: x**-1,
    lambda x: F.lp_pool1d(x.unsqueeze(1), 3, 2),
]


@pytest.mark.parametrize("call", POSITIVE)
def test_roots_of_positive_numbers(call: Callable[..., Any]) -> None:
    assert agrees(judge(Called(call), torch.rand(3, 8) + 0.5), "same")


def test_exponentials_of_numbers_that_are_not_positive() -> None:
    assert agrees(judge(Called(torch.exp), -torch.rand(3, 8)), "same")


_MACHINERY = re.compile(r"assert_|boolean_dispatch|handle_torch|has_torch|upsample")


def _named(calls: list[Callable[..., Any]]) -> frozenset[str]:
    """Names of what these functions are or call."""
    codes = [getattr(each, "__code__", None) for each in calls]
    functions = {name for name in dir(F) if any(getattr(F, name) is each for each in calls)}
    return frozenset(functions.union(*(code.co_names for code in codes if code is not None)))


def test_every_function_of_torch_has_its_own_words() -> None:
    """Those that are called here are tried; what is said of the others is not that nothing is known."""
    supported, tried = frozenset(supported_names()), _named([each[0] for each in (*CALLS, *TWO)] + POSITIVE)
    for name in dir(F):
        if (
            name[0].islower()
            and callable(getattr(F, name))
            and name not in supported | tried
            and not _MACHINERY.match(name)
        ):
            if name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"):
                continue  # Gone on the device.
            assert "no other form" not in remedy(Asked(name, shape=(3, 8, 4, 6)), supported), name


def test_what_is_not_known_is_said_to_be_so() -> None:
    refused = refusal(Called(lambda x: torch.mvlgamma(x, 1)), torch.zeros(1, 4))
    assert refused is not None
    assert (refused.got, refused.remedy) == (
        "mvlgamma",
        "no other form of it is known here: leave it out of the network, or compose it of what can be exported; "
        + SUPPORTED,
    )


def test_the_list_that_remedies_point_to() -> None:
    (command,) = re.findall(r"`(.*?)`", SUPPORTED)
    assert command == "qtorch support"
    page = (ROOT / "docs" / "operators.md").read_text()
    missing = [name for name in supported_names() if f"`{name}`" not in page]
    assert not missing, f"expected {missing} in the table; run `python -m docs`"
    assert support_table() in page, f"expected what `{command}` prints; run `python -m docs`"


@pytest.mark.parametrize("parametrized", [parametrizations.weight_norm, parametrizations.spectral_norm])
@pytest.mark.filterwarnings("ignore:prepare. in training the network computes something else:UserWarning")
def test_parametrized_layers_are_prepared_as_they_are(parametrized: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 3, 3), nn.Conv1d(2, 3, 3), nn.Linear(4, 3)]
    for layer, shape in zip(layers, [(2, 5, 6), (2, 5), (4,)], strict=True):
        net, x = nn.Sequential(parametrized(layer)).eval(), torch.randn(3, *shape)
        torch.testing.assert_close(qtorch.prepare(net, x[:1]).eval()(x), net(x))


@pytest.mark.parametrize("once", [False, True])
def test_weights_that_a_hook_computes(once: bool) -> None:
    """Run once without gradients, what pruning leaves is a tensor like any other."""
    net, x = nn.Sequential(prune.l1_unstructured(nn.Linear(4, 3), "weight", amount=0.5)), torch.randn(2, 4)
    if once:
        with torch.no_grad():
            net(x)
    torch.testing.assert_close(qtorch.prepare(net, x[:1])(x), net(x))


class Masked(nn.Module):
    def __init__(self, standardized: bool) -> None:
        super().__init__()
        self.weight, self.standardized = nn.Parameter(torch.randn(4, 2, 3, 3)), standardized
        self.register_buffer("mask", (torch.rand(4, 2, 3, 3) > 0.5).float())

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * (2.0 if self.standardized else self.mask)
        return F.conv2d(x, weight)


@pytest.mark.parametrize("standardized", [False, True])
def test_weights_computed_from_parameters(standardized: bool) -> None:
    net, x = Masked(standardized), torch.randn(3, 2, 5, 5)
    torch.testing.assert_close(qtorch.prepare(net, x[:1])(x), net(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("file", ["<string>", "written"])
def test_no_line_of_code_that_stands_in_no_file(file: str) -> None:
    names: dict[str, Any] = {"nn": nn, "torch": torch}
    text = "class Net(nn.Module):\n    def forward(self, x):\n        return torch.mvlgamma(x, 1)\n"
    exec(compile(text, file, "exec"), names)
    refused = refusal(names["Net"](), torch.zeros(1, 4))
    assert refused is not None
    assert refused.where == "layer 'mvlgamma'"


def test_a_table_of_rows_is_a_layer_without_bias() -> None:
    """What the remedy says of an embedding, held against the embedding."""
    torch.manual_seed(0)
    table, index = nn.Embedding(10, 4), torch.randint(0, 10, (3, 5))
    said = remedy(Asked("Embedding", table, shape=(3, 5)), frozenset(supported_names()))
    vectors = eval(re.search(r"F\.one_hot\(.*?\)\.float\(\)", said)[0], {**NAMES, "index": index})  # type: ignore[index]
    layer = eval(re.search(r"nn\.Linear\(.*?\)", said)[0], dict(NAMES))  # type: ignore[index]
    layer.weight = nn.Parameter(table.weight.detach().t())
    torch.testing.assert_close(qtorch.prepare(nn.Sequential(layer), vectors[:1])(vectors), table(index))


def test_weights_computed_from_the_input() -> None:
    refused = refusal(Called(lambda x: F.linear(x, x)), torch.zeros(1, 4))
    assert refused is not None
    assert refused.got == "weight computed from the network's inputs"
    assert refused.remedy.startswith("no form of it can be exported")


# A row that is new: what it stands for by now is told before any other form ------------------------------------------


@pytest.fixture
def row_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds a row of a made-up op with some matches."""

    def add(*matches: Match) -> None:
        monkeypatch.setitem(ROWS, "made_up", replace(ROWS["hard_swish"], name="made_up", matches=matches))

    return add


def said_of(call: Callable[..., Any]) -> str:
    refused = refusal(Called(call), torch.zeros(1, 4))
    assert refused is not None
    return refused.remedy.removesuffix(f"; {SUPPORTED}")


_RRELU = Match("function", F.rrelu, parameters=("input", "lower", "upper", "training", "inplace"))


_MVLGAMMA, _METHOD, _RENORM = (
    Match("function", torch.mvlgamma, parameters=("input", "p")),
    Match("method", "mvlgamma", parameters=("input", "p")),
    Match("function", torch.renorm, parameters=("input", "p", "dim", "maxnorm")),
)


@pytest.mark.parametrize(
    ("match", "call", "said"),
    [
        (_MVLGAMMA, lambda x: (x * 2).mvlgamma_(1), "write `torch.mvlgamma(x, 1)`, which computes the same"),
        (_MVLGAMMA, lambda x: x.mvlgamma(1), "write `torch.mvlgamma(x, 1)`, which computes the same"),
        (_RENORM, lambda x: x.renorm(2, 0, 1.0), "write `torch.renorm(x, 2, 0, 1.0)`, which computes the same"),
        (_METHOD, lambda x: torch.mvlgamma(input=x, p=1), "write `x.mvlgamma(1)`, which computes the same"),
        # Nothing that a person should write instead: the form of before.
        (
            Match("function", operator.gt),
            lambda x: torch.gt(x, 0.5),
            WITHOUT_ROW["gt"](Asked("gt")),
        ),
    ],
)
def test_what_a_new_row_stands_for_is_told_first(
    row_of: Callable[..., None], match: Match, call: Callable[..., Any], said: str
) -> None:
    row_of(match)
    assert said_of(call) == said


def refuses_in_silence(call: Call) -> None:
    raise Refused(expected="alpha=1", got=f"alpha={call.get('alpha', 1.0)}", remedy="")


def refuses_in_words(call: Call) -> None:
    raise Refused(expected="alpha=1", got=f"alpha={call.get('alpha', 1.0)}", remedy="leave it out")


@pytest.mark.parametrize("attrs", [lambda call: None, refuses_in_silence])
def test_arguments_that_a_new_row_refuses_have_the_form_of_before(
    row_of: Callable[..., None], attrs: Callable[[Call], Any]
) -> None:
    torch.manual_seed(0)
    row_of(replace(_RRELU, attrs=attrs), Match("module", nn.RReLU, attrs))
    assert agrees(judge(Called(lambda x: F.rrelu(x, 0.2)), torch.randn(3, 8)), "same")
    assert agrees(judge(nn.Sequential(nn.RReLU(0.2)), torch.randn(3, 8)), "same")


def test_what_a_row_says_of_its_arguments_goes_before_other_forms(row_of: Callable[..., None]) -> None:
    row_of(replace(_RRELU, attrs=refuses_in_words))
    assert said_of(lambda x: F.rrelu(x, 0.2)) == "leave it out"


def test_arguments_of_which_no_form_is_known(row_of: Callable[..., None]) -> None:
    row_of(Match("function", torch.mvlgamma, lambda call: None, ("input", "p")))
    assert said_of(lambda x: torch.mvlgamma(x, 1)) == SUPPORTED


def test_what_returns_something_else_under_a_supported_name() -> None:
    """Torch's own has indices as well, so it is not said to compute the same as that of F."""
    supported = frozenset(supported_names())
    assert "adaptive_max_pool1d" in supported
    assert "computes the same" not in remedy(Asked("adaptive_max_pool1d"), supported)
