"""Ways to change a weight, one a file, by name, and the file that keeps a trained concept."""

from spectral_diffusion.adapters.adapter import Adapter, TokenInfo
from spectral_diffusion.adapters.base import METHODS, ColumnAdapter, FreeAdapter, WeightAdapter, holds_columns
from spectral_diffusion.adapters.lora import Lora
from spectral_diffusion.adapters.spectral import SpectralAdditive, SpectralRotation

METHODS.update({"spectral": SpectralAdditive, "rotation": SpectralRotation, "lora": Lora})

__all__ = [
    "METHODS",
    "Adapter",
    "ColumnAdapter",
    "FreeAdapter",
    "Lora",
    "SpectralAdditive",
    "SpectralRotation",
    "TokenInfo",
    "WeightAdapter",
    "holds_columns",
]
