"""Whether an error says that memory ran out: a smaller batch may do then what this one could not."""

_NAMES = frozenset(("OutOfMemoryError", "MemoryError"))
# What torch says where it has no class for it, in small letters: MPS, the CPU, cuBLAS and cuDNN.
_SAYINGS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the machine's or the device's.

    It goes by names and messages and never imports torch, so asking costs nothing.

    Args:
        error: Anything that was raised: torch's `OutOfMemoryError` of any device, its plain `RuntimeError` of MPS and
            of the CPU's allocator, Python's own `MemoryError`.
    """
    if any(kind.__name__ in _NAMES for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error).lower() for saying in _SAYINGS)
