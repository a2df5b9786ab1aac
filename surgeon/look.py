"""Look at a model's heads: `python -m surgeon.look FOLDER "a sentence"`."""

import argparse
import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surgeon.checkup.models.folder import from_folder
from surgeon.instruments.explorer import explore
from surgeon.recording.capturing import capture

OUT = "heads.html"
# What a tokenizer is kept in
TOKENIZERS = ("tokenizer*", "vocab*", "*.model")


def main(arguments: Sequence[str] | None = None) -> int:
    """0 once the file is written; 2 if something is in its way."""
    given = parser().parse_args(arguments)
    try:
        said = _written(Path(given.folder), given.sentences, Path(given.out))
    except ValueError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    print(said)
    return 0


def parser() -> argparse.ArgumentParser:
    """What a shell may say."""
    words = argparse.ArgumentParser(
        prog="python -m surgeon.look",
        description="Every head of a model on your sentences, in one file"
        " that any browser opens from disk. Nothing is downloaded, and no"
        " code runs that came with the model.",
        allow_abbrev=False,
    )
    words.add_argument(
        "folder",
        metavar="MODEL_FOLDER",
        help="with config.json, weights in safetensors and a tokenizer",
    )
    words.add_argument("sentences", nargs="+", metavar="SENTENCE")
    words.add_argument("--out", metavar="FILE", default=OUT, help=OUT)
    return words


def _written(folder: Path, sentences: Sequence[str], out: Path) -> str:
    """Write the file, and say what is in it."""
    if not out.absolute().parent.is_dir():
        raise ValueError(
            f"out must be in a folder that is there, got {str(out)!r}."
        )
    with _quietly():
        model: Any = from_folder(folder)
    tokenizer = _tokenizer(folder)
    encode = getattr(model, "get_encoder", None)
    half = ""
    if getattr(model.config, "is_encoder_decoder", False) and encode:
        model, half = encode(), ", of its encoder alone"
    model.eval()
    names, weights = [], []
    for sentence in sentences:
        asked = tokenizer(sentence, return_tensors="pt")
        names.append(_names(tokenizer, asked["input_ids"][0].tolist()))
        weights.append(_weights(model, asked))
    causal = all(_causal(w) for w in weights)
    explorer = explore(weights, names, causal=causal)
    try:
        explorer.save(out, title=model.config.name_or_path or folder.name)
    except OSError as error:
        raise ValueError(
            f"out must be a file that can be written, got {str(out)!r}:"
            f" {os.strerror(error.errno or 0)}."
        ) from None
    L, H = weights[0].shape[:2]
    texts = "1 text" if len(names) == 1 else f"{len(names)} texts"
    return f"{out}: {L} layers of {H} heads on {texts}{half}"


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the library's bars of progress, among which errors drown."""
    try:
        from transformers.utils import logging
    except ImportError:
        raise ValueError(
            "A look at a folder needs transformers, which is not installed:"
            " pip install transformers."
        ) from None
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    if not any(any(folder.glob(pattern)) for pattern in TOKENIZERS):
        raise ValueError(
            f"model must be a folder with a tokenizer, got {str(folder)!r}"
            " without any."
        )
    try:
        return AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # whatever the library raises
        raise ValueError(
            f"model must be a folder with a tokenizer, got {str(folder)!r}:"
            f" {error}."
        ) from None


def _weights(model: Any, asked: Any) -> Tensor:
    """[layers, H, T, T] of one sentence."""
    if not asked["input_ids"].numel():
        raise ValueError("sentence must hold a token, got none.")
    known = inspect.signature(model.forward).parameters
    given = {name: x for name, x in asked.items() if name in known}
    try:
        with torch.no_grad(), capture(model) as recording:
            model(**given)
    except (RuntimeError, TypeError, IndexError) as error:
        length = asked["input_ids"].shape[-1]
        most = getattr(model.config, "max_position_embeddings", None)
        if isinstance(most, int) and length > most:
            raise ValueError(
                f"sentence must be of at most {most} tokens, which is how"
                f" many the model has positions for, got {length}."
            ) from None
        raise ValueError(
            "model must take the words of its tokenizer, got"
            f" {type(error).__name__}: {error}."
        ) from None
    return recording.stack().float()


def _names(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """What tokens are called: as they are written, or as pieces."""
    pieces = tokenizer.convert_ids_to_tokens(ids)
    words = [tokenizer.decode([one]).strip() for one in ids]
    return [
        word if word and "\N{REPLACEMENT CHARACTER}" not in word else piece
        for word, piece in zip(words, pieces, strict=True)
    ]


def _causal(weights: Tensor) -> bool:
    """Whether no token looks at a later one."""
    return not weights.triu(1).any()


if __name__ == "__main__":
    sys.exit(main())
