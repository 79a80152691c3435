"""The embedded base: a toy world that renders, and the scripts that train a small Stable Diffusion on it."""
