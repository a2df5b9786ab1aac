"""Attentions that are wrong: each a small mutation of a right one, named after its bug."""
