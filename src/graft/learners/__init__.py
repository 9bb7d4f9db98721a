"""The loops, which yield an Epoch: one file a learner."""
