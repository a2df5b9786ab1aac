"""Attentions that are wrong: a right one but for a line, named after it."""
