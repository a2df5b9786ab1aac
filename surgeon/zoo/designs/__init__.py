"""Attentions of other designs than the textbook's: right, and wrong."""
