"""Files that somebody published: are they the right ones, and whole?"""

import functools
import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Published(NamedTuple):
    """What a file was when its authors published it."""

    sha256: str
    size: int  #: bytes


def installed_folder(module: str) -> Path | None:
    """Where an installed package lies, which is found and not imported.

    Importing it is not needed, and would be no promise.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def from_hub(
    repository: str,
    names: Mapping[str, Published],
    revision: str,
    wanted: str,
) -> Path:
    """Where the Hugging Face hub's files lie, once they are downloaded.

    That is in the cache of huggingface_hub. FileNotFoundError, which begins
    with `wanted`, if there is no such library, or no network.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise FileNotFoundError(
            f"{wanted}, or be downloaded by huggingface_hub, of which none"
            " was found."
        ) from None
    try:
        paths = [
            Path(hf_hub_download(repository, name, revision=revision))
            for name in names
        ]
    # whatever the network, the hub or a full disk may say
    except Exception as error:
        raise FileNotFoundError(
            f"{wanted}, or be downloaded from {repository}, which failed with"
            f" {type(error).__name__}."
        ) from error
    return paths[0].parent


def check_file(path: Path, expected: Published, remedy: str) -> None:
    """Raise a ValueError, which ends in `remedy`, unless it is that file."""
    if not path.is_file():
        raise ValueError(
            f"{path.name} must be in {path.parent}, where no such file was"
            f" found; {remedy}."
        )
    found = path.stat()
    digest = _digest(path, found.st_ino, found.st_size, found.st_mtime_ns)
    if digest != expected.sha256:
        raise ValueError(
            f"{path} must have SHA-256 {expected.sha256} ({expected.size}"
            f" bytes), got {digest} ({found.st_size} bytes); {remedy}."
        )


@functools.lru_cache
def _digest(path: Path, number: int, size: int, changed: int) -> str:
    """The SHA-256 of a file, once for as long as it stays as it is."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
