"""Stubs for the reader to fill in, and who judges them."""
