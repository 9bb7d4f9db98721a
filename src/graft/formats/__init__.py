"""Runnable forms of a network, with their readers: one file a format.

FILES are the names that it writes, the one to read first. `read(path)` gives the function that such a file holds,
prepared examples by name → outputs by name. `write(network, …)` makes it from torch, or `convert(onnx, path, samples)`
from the ONNX file. A format that says BOUND loses accuracy, by at most that, or it is not kept.
"""
