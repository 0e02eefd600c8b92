"""One step of any solver as one pass over memory: the reference, the kernel, and its proof.

`guided_step` sends a CUDA tensor to the Triton kernel and any other to the plain torch reference;
so does `noised_batch`, which makes what a step of training shows the network.
"""

from kernels.dispatch import guided_step, noised_batch

__all__ = ["guided_step", "noised_batch"]
