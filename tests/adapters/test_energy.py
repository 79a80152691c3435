"""Laws of energies: they are what dense matrices and a full SVD say, and slots share out the whole spectrum."""

import pytest
import torch

from spectral_diffusion.adapters.energy import ALL, energies, group_of
from tests.adapters.making import SHAPES, base_weights, make_adapter

METHODS = ("spectral", "rotation")
# The narrowest weight has 12 singular values, and both have exactly that many.
SLOTS = 6


def test_disjoint_slots_that_cover_everything_share_out_the_whole_energy() -> None:
    weights = base_weights()
    totals = [energies(make_adapter("octo", number), weights)[-1] for number in range(SLOTS)]
    assert sum(total.share or 0 for total in totals) == pytest.approx(1, abs=1e-5)
    whole = sum(float(weight.double().square().sum()) for weight in weights.values())
    assert sum(total.slot for total in totals) == pytest.approx(whole, rel=1e-5)
    assert all(total.weight == pytest.approx(whole) for total in totals)
    # The first slot holds the largest singular values.
    assert [total.slot for total in totals] == sorted((total.slot for total in totals), reverse=True)


@pytest.mark.parametrize("number", range(SLOTS))
def test_a_slot_s_energy_is_that_of_its_singular_values(number: int) -> None:
    expected = sum(
        float(torch.linalg.svd(weight.double()).S[2 * number : 2 * number + 2].square().sum())
        for weight in base_weights().values()
    )
    assert energies(make_adapter("octo", number))[-1].slot == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-4, 0.5])
def test_the_change_is_that_of_the_dense_weight_however_small(method: str, scale: float) -> None:
    adapter = make_adapter("octo", 1, method=method, scale=scale)
    weights = base_weights(torch.float64)
    with torch.no_grad():
        changes = [
            float((adapter.weight_adapter(module).double()(weight) - weight).square().sum())
            for module, weight in weights.items()
        ]
    total = energies(adapter)[-1]
    assert total.change == pytest.approx(sum(changes), rel=1e-3)
    assert total.change_norm == pytest.approx(sum(changes) ** 0.5, rel=1e-3)
    assert total.relative_change == pytest.approx((sum(changes) / total.slot) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_an_untrained_adapter_changes_nothing(method: str) -> None:
    total = energies(make_adapter("octo", 0, method=method, scale=0.0))[-1]
    assert total.change == pytest.approx(0, abs=1e-10)
    assert total.relative_change == pytest.approx(0, abs=1e-5)


def test_groups_add_up_and_without_the_base_there_are_no_shares() -> None:
    names = ("unet.a.attn1.to_q", "unet.b.attn2.to_k")
    modules = dict(zip(names, make_adapter("octo", 0).modules.values(), strict=True))
    *groups, total = energies(make_adapter("octo", 0, modules=modules))
    assert [group.group for group in groups] == ["unet cross-attention", "unet self-attention"]
    assert total.group == ALL and total.modules == sum(group.modules for group in groups) == len(SHAPES)
    assert total.change == pytest.approx(sum(group.change for group in groups))
    assert total.slot == pytest.approx(sum(group.slot for group in groups))
    assert total.weight is None and total.share is None


@pytest.mark.parametrize(
    ("module", "group"),
    [
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "unet self-attention"),
        ("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0", "unet cross-attention"),
        ("unet.up_blocks.1.attentions.0.transformer_blocks.0.ff.net.2", "unet feed-forward"),
        ("unet.up_blocks.1.attentions.0.proj_in", "unet projection"),
        ("unet.down_blocks.0.resnets.0.conv1", "unet convolution"),
        ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj", "text_encoder self-attention"),
        ("text_encoder.text_model.encoder.layers.0.mlp.fc1", "text_encoder feed-forward"),
        ("unet.time_embedding.linear_1", "unet other"),
    ],
)
def test_a_layer_s_group_follows_from_its_path(module: str, group: str) -> None:
    assert group_of(module) == group
