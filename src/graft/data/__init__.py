"""Floor 1: examples and their store."""
