"""Machine code of the kernels, compiled without a GPU."""
