"""Times of the fused kernel, compared with eager and compiled torch."""
