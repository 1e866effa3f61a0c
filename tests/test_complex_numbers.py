"""Calls of complex numbers written as calls of their parts, against the module itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

import qtorch
from export.graph.build import integer_graph
from qtorch.capture.compositions.complex_numbers import write_parts_of_complex_numbers
from qtorch.capture.compositions.decompose import decompose_calls
from qtorch.capture.writes import write_values
from qtorch.errors import UnsupportedLayer
from tests.exported_calls import IMAGE, SEQUENCE, Calls, Case, check, exported, operators

#: What one of these is left of has no form.
COMPLEX = ("fft", "complex", "real", "imag", "polar", "conj", "stft")


def in_parts(traced: fx.GraphModule) -> None:
    write_values(traced)
    write_parts_of_complex_numbers(traced)
    decompose_calls(traced)


def filled(x: Tensor) -> Tensor:
    kept = torch.zeros(x.shape[0], 4, 9, dtype=torch.cfloat)
    kept[:, :, :3] = torch.fft.rfft(x, n=16)[:, :, :3] * 2
    return torch.fft.irfft(kept, n=16)


def fourier_layer(s: nn.Module, x: Tensor) -> Tensor:
    filters = torch.view_as_complex(s.matrix[:, :2].reshape(1, 8, 1, 2).contiguous())
    return torch.fft.irfft2(torch.fft.rfft2(x, dim=(1, 2), norm="ortho") * filters, s=(4, 8), dim=(1, 2), norm="ortho")


def spectrogram(x: Tensor, **options: object) -> Tensor:
    return torch.stft(x.flatten(1), 8, 4, window=torch.hann_window(8), return_complex=True, **options)  # type: ignore[arg-type]


CASES: dict[str, Case] = {
    "parts": (lambda s, x: (z := torch.fft.rfft(x)).real + 2 * z.imag + torch.view_as_real(z)[..., 1], SEQUENCE),
    "size": (lambda s, x: torch.fft.fft(x, norm="ortho").abs() + torch.complex(x, x.roll(1, 2)).abs(), SEQUENCE),
    "axes": (lambda s, x: torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real - torch.fft.fft2(x).imag, IMAGE),
    "lengths": (lambda s, x: torch.fft.rfft(x, n=6).real + torch.fft.rfft(x, n=9, dim=1).imag[:, 1:, :4], SEQUENCE),
    "back": (lambda s, x: torch.fft.irfftn(torch.fft.rfftn(x, dim=(2, 3)), s=(6, 4)), IMAGE),
    "inverse": (lambda s, x: torch.fft.ifft(torch.fft.fftn(x, dim=(1, 2)) * x[:, :1], norm="forward").real, SEQUENCE),
    "hermitian": (lambda s, x: torch.fft.hfft(torch.fft.ihfft(x), n=7), SEQUENCE),
    "filled": (lambda s, x: filled(x), SEQUENCE),
    "filtered": (fourier_layer, SEQUENCE[::-1]),
    "products": (
        lambda s, x: torch.view_as_real((z := torch.fft.rfft(x)) * z.conj() + z**2 * 1j + z / (2 - 1j) - 0.5),
        SEQUENCE,
    ),
    "quotient": (lambda s, x: (torch.fft.rfft(x) / torch.complex(x.abs() + 1, x)[..., :5] + x[..., :5]).imag, SEQUENCE),
    "matrices": (
        lambda s, x: torch.einsum("bix,iox->box", torch.fft.rfft(x), torch.polar(s.matrix[:4, :3], s.matrix[4:, :3])[
            ..., None].repeat(1, 1, 5)).real + ((z := torch.fft.fft(x)) @ z.mT).imag[:, :3, :1],
        SEQUENCE,
    ),
    "shapes": (
        lambda s, x: torch.cat([torch.roll(z := torch.fft.rfft(x), 1, 1), z.flip(1)], 1).permute(0, 2, 1)
        .reshape(-1, 20, 2).chunk(2, 1)[1].sum(1).imag,
        SEQUENCE,
    ),
    "waves": (lambda s, x: torch.polar(x, x.mT).real + torch.exp(1j * x).imag + torch.exp(x * (0.1 + 1j)).real, IMAGE),
    "spectrogram": (lambda s, x: spectrogram(x).abs(), SEQUENCE),
    "short frames": (
        lambda s, x: torch.view_as_real(torch.stft(x.flatten(1), 10, 3, 6, torch.ones(6), normalized=True,
                                                   center=False, return_complex=True)),
        SEQUENCE,
    ),
    "signal": (
        lambda s, x: torch.istft(z := spectrogram(x, onesided=True) * x[:, :1, :1].sigmoid(), 8, 4, length=30,
                                 window=torch.hann_window(8)) + torch.istft(z, 8, 4, window=torch.ones(8))[:, :30],
        SEQUENCE,
    ),
    "layers": (
        lambda s, x: F.conv1d(
            F.linear(torch.fft.rfft(x), w := torch.complex(s.matrix[:6, :5], s.matrix[2:, 3:]), w[:, 0]),
            w[:4, :4, None], w[:4, 1],
        ).imag + F.linear(x[..., :5].to(torch.cfloat), w, w[:, 2]).abs(),
        SEQUENCE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_parts_compute_what_complex_numbers_do(name: str) -> None:
    torch.manual_seed(0)
    function, shape = CASES[name]
    traced = check(Calls(function), shape, in_parts)
    assert not [each for each in operators(traced) if any(word in each for word in COMPLEX)]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("fft_fft", lambda s, x: torch.fft.fft(x, dim=0).real),
        ("fft_rfft", lambda s, x: torch.fft.rfft(x, n=1025).imag),
        ("angle", lambda s, x: torch.fft.rfft(x).angle()),
        ("tanh", lambda s, x: torch.fft.rfft(x).tanh().real),
        ("stft", lambda s, x: torch.stft(x.flatten(1), 8, window=s.matrix[0], return_complex=True).real),
    ],
)
def test_what_has_no_form_is_refused_by_its_name(name: str, function: object) -> None:
    with pytest.raises(UnsupportedLayer, match=f"got {name}"):
        qtorch.prepare(Calls(function), torch.randn(2, *SEQUENCE))  # type: ignore[arg-type]


def test_frames_of_a_merged_batch_are_convolved() -> None:
    def levels(s: nn.Module, x: Tensor) -> Tensor:
        z = torch.stft(x.reshape(-1, 32), 16, 8, window=torch.hann_window(16), return_complex=True)
        return torch.log(z.real**2 + z.imag**2 + 0.1).view(-1, 2, 9, 5)

    x = torch.randn(8, 2, 32)
    network = qtorch.prepare(Calls(levels), x)
    qtorch.calibrate(network.eval(), [x])
    assert [node.op for node in integer_graph(network).nodes].count("conv_2d") in (2, 4)


def test_filters_of_a_spectrum_stay_trainable() -> None:
    net = Calls(fourier_layer)
    traced = exported(net, SEQUENCE[::-1])
    in_parts(traced)
    x = torch.randn(2, 8, 4)
    wanted = torch.autograd.grad(net(x).square().sum(), net.matrix)
    found = torch.autograd.grad(traced(x).square().sum(), traced.get_parameter("matrix"))
    torch.testing.assert_close(found, wanted)
