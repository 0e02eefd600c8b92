"""The figure and the checks of each lesson, in a file of the lesson's name."""
