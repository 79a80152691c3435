"""Laws of the training objective: targets, weights, masks and schedules."""

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from spectral_diffusion.diffusion.objective import (
    add_noise,
    check_prediction,
    draw_noise,
    masked_loss,
    min_snr_weights,
    rate_factor,
    target,
)
from spectral_diffusion.errors import InputError


def test_noising_and_v_agree_with_diffusers() -> None:
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", prediction_type="v_prediction")
    latents, noise = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([0, 500, 999])
    alphas = scheduler.alphas_cumprod[timesteps]
    torch.testing.assert_close(
        add_noise(latents, noise, alphas),
        scheduler.add_noise(latents, noise, timesteps),  # pyright: ignore
    )
    torch.testing.assert_close(
        target(latents, noise, alphas, "v_prediction"),
        scheduler.get_velocity(latents, noise, timesteps),  # pyright: ignore
    )
    assert target(latents, noise, alphas, "epsilon") is noise


@given(alpha=st.floats(0.001, 0.999), gamma=st.floats(0.1, 20))
def test_min_snr_weighs_the_same_error_of_x_alike_for_epsilon_and_v(alpha: float, gamma: float) -> None:
    # An error d of the clean latent is sqrt(a / (1-a)) d of epsilon and d / sqrt(1-a) of v: both losses become
    # min(snr, gamma) d^2.
    a = torch.tensor([alpha], dtype=torch.float64)
    snr = a / (1 - a)
    epsilon = min_snr_weights(a, gamma, "epsilon") * snr
    v = min_snr_weights(a, gamma, "v_prediction") / (1 - a)
    torch.testing.assert_close(epsilon, snr.clamp(max=gamma))
    torch.testing.assert_close(v, snr.clamp(max=gamma))


def test_without_gamma_all_weights_are_one() -> None:
    assert torch.equal(min_snr_weights(torch.tensor([0.1, 0.9]), 0.0, "epsilon"), torch.ones(2))


def test_the_loss_sees_the_mask_and_not_its_size() -> None:
    wanted, predicted = torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8)
    predicted[:, :, :2] = 1.0
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, :2], mask[1, :, 2:] = 1.0, 1.0
    assert float(masked_loss(predicted, wanted, mask, torch.tensor([1.0, 0.0]))) == pytest.approx(0.5)
    assert float(masked_loss(predicted, wanted, mask, torch.tensor([0.0, 1.0]))) == 0.0
    plain = masked_loss(predicted, wanted, torch.ones(2, 1, 8, 8), torch.ones(2))
    assert float(plain) == pytest.approx(float(torch.nn.functional.mse_loss(predicted, wanted)))
    assert float(masked_loss(predicted, wanted, 7 * torch.ones(2, 1, 8, 8), torch.ones(2))) == pytest.approx(
        float(plain)
    )


def test_the_noise_offset_shifts_whole_channels() -> None:
    plain = draw_noise(torch.Size((2, 4, 32, 32)), 0.0, torch.Generator().manual_seed(0))
    shifted = draw_noise(torch.Size((2, 4, 32, 32)), 0.5, torch.Generator().manual_seed(0))
    shift = shifted - plain
    assert torch.allclose(shift, shift[:, :, :1, :1].expand_as(shift), atol=1e-6)
    assert float(shift.abs().max()) > 0.1


@given(
    steps=st.integers(1, 300), warmup=st.integers(0, 400), schedule=st.sampled_from(["constant", "linear", "cosine"])
)
def test_rates_rise_then_fall_and_never_vanish(steps: int, warmup: int, schedule: str) -> None:
    factors = [rate_factor(step, steps, warmup, schedule) for step in range(steps)]
    peak = min(warmup, steps - 1)
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    if warmup < steps:
        assert factors[warmup] == 1.0


def test_an_unknown_prediction_is_refused() -> None:
    check_prediction("epsilon")
    with pytest.raises(InputError, match="'sample'"):
        check_prediction("sample")
