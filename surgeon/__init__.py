"""Scaled dot-product attention, wired by hand and taken apart."""

import lazy_loader

# What __init__.pyi names is imported when it is first asked for (SPEC 1):
# most of it draws, trains or examines, and whoever wants `attention` should
# not wait for that.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
