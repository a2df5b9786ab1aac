"""Scaled dot-product attention, wired by hand and taken apart."""

from typing import Any

import lazy_loader

from surgeon.extras import needed_by, say_what_is_missed

#: The one place that says it: the package is built with this.
__version__ = "0.1.0"

say_what_is_missed(__name__)

# What __init__.pyi names is imported when it is first asked for (SPEC 1):
# most of it draws, trains or examines, and whoever wants `attention` should
# not wait for that, nor install what it does not need.
_public, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    with needed_by(name):
        return _public(name)
