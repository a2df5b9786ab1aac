"""What only a part of the package needs, and the extra that brings it."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

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
                # One sentence, by whoever asked first: what an import says
                # is said again by the import that wanted it.
                raise ModuleNotFoundError(
                    f"{what} needs {module}, which is not installed: pip"
                    f' install "attention-surgeon[{extra}]".',
                    name=error.name,
                ) from (error.__cause__ or error)
        raise


class _Saying(SourceFileLoader):
    """Loads a module, which says what it misses."""

    def exec_module(self, module: ModuleType) -> None:
        with needed_by(module.__name__):
            super().exec_module(module)


class Within:
    """Finds the modules of a package, each of which says what it misses.

    Parameters
    ----------
    package : str
        Its name.
    """

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        """Where Python itself finds a module of the package."""
        if not name.startswith(f"{self.package}."):
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Saying(name, spec.loader.path)
        return spec


def say_what_is_missed(package: str) -> None:
    """From now on, a module of a package says the extra that it misses."""
    finders = (one for one in sys.meta_path if isinstance(one, Within))
    if package not in {one.package for one in finders}:
        sys.meta_path.insert(0, Within(package))
