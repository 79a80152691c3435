"""Memory that ran out is told from every other fault, on any device."""

import subprocess
import sys

import pytest
import torch

from spectral_diffusion.diffusion.memory import is_out_of_memory


def test_what_the_allocator_of_this_machine_says_is_understood() -> None:
    with pytest.raises(RuntimeError) as refusal:
        torch.empty(2**60)
    assert is_out_of_memory(refusal.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        torch.cuda.OutOfMemoryError("Allocation on device"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_every_device_s_words_are_understood(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("a shape does not fit"), ValueError("out of memory"), KeyError("x")])
def test_nothing_else_is_taken_for_it(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_asking_needs_no_torch() -> None:
    code = "import sys, spectral_diffusion.diffusion.memory; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
