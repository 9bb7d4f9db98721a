"""Transferability estimates: one file, one function f(features, labels) -> float, higher is better."""
