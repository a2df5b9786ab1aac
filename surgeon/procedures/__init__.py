"""Attention by other ways: in tiles, over few keys, across processes."""
