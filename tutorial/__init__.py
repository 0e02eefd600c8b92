"""The lectures: classifier-free guidance derived step by step in NumPy, on toy 2-D data."""
