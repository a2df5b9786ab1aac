"""What only a part of the package needs, and the extra that brings it."""

from collections.abc import Iterator
from contextlib import contextmanager

#: Each extra of pyproject.toml, and the modules that it brings.
EXTRAS = {
    "plots": ("matplotlib",),
    "experiments": ("pandas", "scipy", "tqdm"),
    "models": ("safetensors", "tokenizers"),
    "widgets": ("anywidget",),
}


@contextmanager
def needed_by(what: str) -> Iterator[None]:
    """Say which extra brings a module that an import inside misses.

    Parameters
    ----------
    what : str
        What cannot be had without it: the subject of the sentence.

    Raises
    ------
    ModuleNotFoundError
        If a module of `EXTRAS` is missed. What else is missed is raised as
        it comes.

    Examples
    --------
    >>> with needed_by("A table"):
    ...     raise ModuleNotFoundError(name="pandas.core")
    Traceback (most recent call last):
    ModuleNotFoundError: A table needs pandas, which is not installed:
    pip install "attention-surgeon[experiments]".
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        for extra, brought in EXTRAS.items():
            if module in brought:
                raise ModuleNotFoundError(
                    f"{what} needs {module}, which is not installed: pip"
                    f' install "attention-surgeon[{extra}]".',
                    name=error.name,
                ) from error
        raise
