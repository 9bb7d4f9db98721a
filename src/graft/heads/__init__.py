"""What is asked of the features: layer, loss, metric, answer: one file a head."""
