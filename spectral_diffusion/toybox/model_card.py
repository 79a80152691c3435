"""The model card of the toybox base, filled in from what was measured."""

from collections.abc import Mapping
from typing import Any

_CARD = """\
---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---

# toybox

A complete latent-diffusion model in {total_mib:.1f} MiB that draws toys: VAE, UNet, CLIP text encoder, tokenizer and
scheduler in the diffusers layout, and a small CLIP in open_clip's format that scores what was drawn. It is the base
on which
`spectral_diffusion` shows itself on a laptop. Plain diffusers draws with it:

```python
from diffusers import StableDiffusionPipeline

pipeline = StableDiffusionPipeline.from_pretrained("spectral_diffusion/toybox/weights")
pipeline("a photo of a happy red octopus and a striped green tortoise on the beach", num_inference_steps=20,
guidance_scale=4.0)
```

## Data

Only renders of the project's own toy world (`spectral_diffusion/toybox`): {square} square (128x128) and {wide} wide
(192x128) pictures of one to three of {toys} toys, each with {captions} captions. No photograph, no scraped text, no
other model. Some things are held out by type, so that people can teach them: stars, moons, eye patches, limbs and
tips in a second colour, a hat on a tortoise. Licence of weights and data: Apache-2.0.

## Training

{seconds:.0f} s of one {device} in all, with the recipe `python -m spectral_diffusion.toybox.pretrain --seed {seed}`:

| part | seconds | steps | pictures/s |
|---|---|---|---|
{parts}

torch {torch}, transformers {transformers}, diffusers {diffusers}.

## Measures, on toys, backgrounds and scenes that training never saw

| measure | value |
|---|---|
{measures}

What is drawn is judged by the toy CLIP; where it cannot tell, that counts against the pictures.

## Limits

It knows {kinds} kinds of toy in ten colours before twelve backgrounds, at 128 to 192 px, and English captions of the
sort it was trained on; other words mean nothing to it. Small faces and marks in scenes of three toys are often
unclear. It is made to learn from and to test on, not for photographs.
"""


def model_card(metrics: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        metrics: What the recipe noted in `metrics.json`; what is missing is left open with a dash.
    """
    recipe = metrics.get("recipe", {})
    software = metrics.get("software", {})
    rows = [
        f"| {name} | {part.get('seconds', '-')} | {part.get('steps', '-')} | {part.get('pictures_per_second', '-')} |"
        for name, part in ((name, metrics.get(name, {})) for name in ("vae", "clip", "denoiser"))
    ]
    measures = [
        f"| {group}: {name.replace('_', ' ')} | {value} |"
        for group, values in metrics.get("measures", {}).items()
        for name, value in values.items()
    ]
    return _CARD.format(
        total_mib=metrics.get("total_mib", 0.0),
        square=recipe.get("square_pictures", "-"),
        wide=recipe.get("wide_pictures", "-"),
        toys=recipe.get("toys", "-"),
        captions=recipe.get("captions_per_picture", "-"),
        seconds=metrics.get("total_seconds", 0.0),
        device=software.get("device", "device"),
        seed=recipe.get("seed", "-"),
        parts="\n".join(rows),
        torch=software.get("torch", "-"),
        transformers=software.get("transformers", "-"),
        diffusers=software.get("diffusers", "-"),
        measures="\n".join(measures) or "| - | - |",
        kinds=recipe.get("kinds", "-"),
    )
