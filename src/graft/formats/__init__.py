"""Runnable forms of a network, with their readers: one file a format."""
