"""Ways to change a weight, one a file, by name, and the file that keeps a trained concept."""

from spectral_diffusion.adapters.adapter import Adapter, TokenInfo
from spectral_diffusion.adapters.base import METHODS, WeightAdapter
from spectral_diffusion.adapters.spectral import SpectralAdditive, SpectralRotation

METHODS.update({"spectral": SpectralAdditive, "rotation": SpectralRotation})

__all__ = ["METHODS", "Adapter", "SpectralAdditive", "SpectralRotation", "TokenInfo", "WeightAdapter"]
