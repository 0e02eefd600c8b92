"""Scores of samples: a classifier of real images, and the distances in its features."""
