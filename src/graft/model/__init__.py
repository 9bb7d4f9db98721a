"""Floor 1: networks, their cuts and chains."""
