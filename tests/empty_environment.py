"""An environment with nothing but what one asks for: as an index would fill it, and without one.

What is asked for, with all that it requires in turn, is linked from the environment of the tests, as its metadata
tell; nothing else of that can be imported. The package itself is installed by pip, which looks whether all is there.
"""

import os
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What lies beside the site-packages is a script, which starts the tests' own Python.
NOT_LINKED = ("..", "__pycache__")


def required(asked: list[str]) -> set[str]:
    """The names of all distributions that some requirements bring here."""
    queue = [(Requirement(line), "") for line in asked]
    seen: set[tuple[str, str]] = set()
    for requirement, asker in queue:  # it grows
        if requirement.marker and not requirement.marker.evaluate({"extra": asker}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {each for known, each in seen if known == name}:
            seen.add((name, extra))
            queue += [(Requirement(line), extra) for line in metadata.requires(name) or []]
    return {name for name, _ in seen}


class Environment:
    """A Python with some distributions. Commands run in a folder of their own, with no way back to the checkout."""

    def __init__(self, folder: Path, asked: list[str]) -> None:
        venv.create(folder / "venv", symlinks=True)
        self.python = folder / "venv/bin/python"
        self.place = folder / "place"
        self.place.mkdir()
        (packages,) = (folder / "venv/lib").glob("python*/site-packages")
        for name in sorted(required(asked)):
            distribution = metadata.distribution(name)
            for top in {Path(file).parts[0] for file in distribution.files or []}:
                if top not in NOT_LINKED and not (packages / top).exists():
                    (packages / top).symlink_to(Path(str(distribution.locate_file(top))).resolve())

    def install(self, archive: Path, extra: str = "", options: tuple[str, ...] = ()) -> None:
        """By pip, without an index: it fails if anything that is required is not there."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", "--no-index"]
        named = f"attention-surgeon{extra} @ {archive.as_uri()}"
        done = subprocess.run([*pip, *options, named], env=self.variables(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
        return kept | {"PIP_CONFIG_FILE": os.devnull, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, *arguments], cwd=self.place, env=self.variables(), capture_output=True, text=True
        )

    def says(self, code: str) -> str:
        """What a program prints, which must end well."""
        done = self.run("-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout
