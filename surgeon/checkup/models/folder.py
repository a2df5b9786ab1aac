"""A model in a folder, as transformers saves it; nothing is downloaded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def from_folder(
    folder: Path, *, trust: bool = False, advice: str = ""
) -> Callable[..., Any]:
    """The model of a folder, by transformers, which must be there.

    Parameters
    ----------
    folder : pathlib.Path
        With config.json and weights in safetensors, which run no code.
    trust : bool
        Whether code that the folder brings along may run.
    advice : str
        What to do about such code, in the words of whoever asks.

    Returns
    -------
    callable
        The model.

    Raises
    ------
    ValueError
        If there is no config.json, if there are no weights in safetensors,
        if the folder wants to run code of its own, or if transformers is not
        there or cannot load it.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model must be a folder with a config.json, got {str(folder)!r}:"
            f" {error}."
        ) from None
    if not any(folder.glob("*.safetensors")):
        raise ValueError(
            "model must be a folder with weights in safetensors, which run no"
            f" code, got {str(folder)!r} without any."
        )
    if "auto_map" in config and not trust:
        raise ValueError(
            f"model must run without code of its own, got {str(folder)!r},"
            f" which brings some along{advice}."
        )
    try:
        import transformers
    except ImportError:
        raise ValueError(
            "model must be a factory where transformers is not installed, got"
            f" {str(folder)!r}."
        ) from None
    kinds = config.get("architectures") or ["AutoModel"]
    kind = getattr(transformers, kinds[0], None)
    if kind is None or trust:
        kind = transformers.AutoModelForCausalLM if trust else None
    if kind is None:
        raise ValueError(
            f"model must be of transformers' architectures, got {kinds[0]!r}."
        )
    try:
        model: Callable[..., Any] = kind.from_pretrained(
            str(folder),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trust,
        )
    except Exception as error:  # whatever the library raises
        raise ValueError(
            f"model must be a folder that transformers can load, got"
            f" {str(folder)!r}: {error}."
        ) from None
    return model
