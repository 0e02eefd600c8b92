"""The kernel rung by rung: eight files, from the five lines of a mix to the whole step."""
