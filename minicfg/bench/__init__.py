"""Times: the sampler on this machine, and other projects under the same conditions."""
