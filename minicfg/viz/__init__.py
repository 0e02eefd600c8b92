"""Pictures: plots, image grids, animations, and self-contained HTML pages."""
