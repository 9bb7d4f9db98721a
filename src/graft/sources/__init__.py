"""Where pretrained weights come from: one file a source."""
