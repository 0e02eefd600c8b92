"""The appendix: arguments that the steps refer to, in more detail."""
