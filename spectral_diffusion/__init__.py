"""Personalisation and multi-concept fusion for Stable-Diffusion-family models with Spectral Adapters."""

__version__ = "0.1.0"
