"""One step of any solver as one pass over memory: the reference, the kernel, and its proof.

`guided_step` sends a CUDA tensor to the Triton kernel and any other to the plain torch reference.
"""

from kernels.op import guided_step

__all__ = ["guided_step"]
