"""Weights as figures, in words and as numbers."""
