"""How raw examples are read, prepared, varied and decoded: one file a modality."""
