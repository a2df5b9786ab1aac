"""Instruments that a reader handles: on the site, in notebooks, in files."""
