"""Files: atomic writes, the checkpoint format, and checkpoints."""
