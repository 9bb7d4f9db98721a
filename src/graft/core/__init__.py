"""Floor 0: plain data; standard library only."""
