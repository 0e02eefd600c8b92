"""The figures and the printed checks of the appendix."""
