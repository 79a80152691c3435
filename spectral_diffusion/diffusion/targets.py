"""Which weights of a model an adapter may change, and what they are called.

A weight is called by its tensor prefix, the component's name and the module path inside it:
`unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_q`, `text_encoder.encoder.layers.0.self_attn.q_proj`.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from spectral_diffusion.spectrum import as_matrix

# One regular expression a pattern and component: which modules of the component it names.
PATTERNS: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "attention": {
        "unet": re.compile(r"\.attn\d+\.(to_q|to_k|to_v|to_out\.0)$"),
        "text_encoder": re.compile(r"\.self_attn\.(q_proj|k_proj|v_proj|out_proj)$"),
    },
    "feed_forward": {
        "unet": re.compile(r"\.ff\.net\.(0\.proj|2)$"),
        "text_encoder": re.compile(r"\.mlp\.(fc1|fc2)$"),
    },
    "projection": {"unet": re.compile(r"\.(proj_in|proj_out)$")},
    "convolution": {"unet": re.compile(r"\.(resnets\.\d+\.(conv1|conv2|conv_shortcut)|(down|up)samplers\.\d+\.conv)$")},
}
DEFAULT_PATTERNS = ("attention", "feed_forward")


def matching_modules(component: str, root: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Module]:
    """The modules of one component that the patterns name, by path inside it, in order of path.

    Args:
        component: Its tensor prefix, `unet` or `text_encoder`.
        root: The component.
        patterns: Any of `PATTERNS`: `attention` (q, k, v and output Linear), `feed_forward` (Linear), `projection` (the
            transformers' `proj_in` / `proj_out`, Linear or 1x1 convolution), `convolution` (residual blocks and
            resampling, k x k).
    """
    expressions = [PATTERNS[name][component] for name in patterns if component in PATTERNS[name]]
    # Later versions of transformers dropped the `text_model.` level; without it a path means the same everywhere.
    found = {
        path.removeprefix("text_model."): module
        for path, module in root.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and any(regex.search(f".{path}") for regex in expressions)
    }
    return dict(sorted(found.items()))


def find_module(components: Mapping[str, nn.Module], path: str) -> nn.Module | None:
    """The module called `component.path`, or None. Knows text encoders with and without the `text_model.` level."""
    component, _, inner = path.partition(".")
    root = components.get(component)
    if root is None or not inner:
        return None
    for candidate in (inner, f"text_model.{inner}"):
        try:
            return root.get_submodule(candidate)
        except AttributeError:
            continue
    return None


def flat_weight(module: nn.Module) -> torch.Tensor:
    """The weight as a matrix: Linear (out, in), Conv2d flattened to (out, in * kh * kw). Shares memory where it can."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    return as_matrix(weight.detach())


def cross_attention_paths(unet: nn.Module) -> list[str]:
    """Paths of the cross-attentions as the signal meets them: down, middle, up. Layer-wise tokens follow this order."""
    paths = [path for path, _ in unet.named_modules() if path.endswith(".attn2")]
    order = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}
    return sorted(paths, key=lambda path: order.get(path.split(".")[0], 3))
