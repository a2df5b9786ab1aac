"""Models of the library transformers, by their configuration and signature.

The library is not imported here: whoever hands in one of its models has done
so.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.checkup.models.adapter import Adapter, arguments, usual_names
from surgeon.checkup.subjects.places import library_kind

PROGRAMS = ("eager", "sdpa")
FLEX = (
    " Not asked: flex_attention, which has to be compiled, and has on a CPU"
    " neither float64 nor gradients."
)
# What a configuration calls the number of its positions, and its layers
LONGEST = ("max_position_embeddings", "n_positions", "max_seq_len")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
SPECIAL = (
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "decoder_start_token_id",
)
SLIDING = "sliding_attention"
# What keeps a bias or an angle by distance, and no table of positions
RELATIVE = (
    "rope_parameters",
    "rope_theta",
    "alibi",
    "relative_attention_num_buckets",
)


def of_transformers(model: Any, said: Adapter) -> Adapter:
    """What the configuration of one of the library's models says besides."""
    if library_kind(model) is None or not isinstance(model, nn.Module):
        return said
    config = getattr(model, "config", None)
    if config is None:
        return said
    config = (
        config.get_text_config()
        if hasattr(config, "get_text_config")
        and not getattr(config, "is_encoder_decoder", False)
        else config
    )
    kind = said.kind or _kind(model, config)
    names = usual_names(model, {})
    if kind == "encoder-decoder":
        names |= {
            "ids": "decoder_input_ids",
            "mask": "decoder_attention_mask",
            "source": "input_ids",
            "source_mask": "attention_mask",
            "positions": "",
            "embeds": "",
        }
    if kind == "encoder":
        names["cache"] = ""
    pictures = _pictures(config, names, arguments(model))
    if pictures:
        names["mask"] = ""
    window, layers = _window(config)
    version = getattr(sys.modules.get("transformers"), "__version__", "?")
    program = getattr(config, "_attn_implementation", None) or "eager"
    return replace(
        said,
        kind=kind,
        names={**names, **said.names},
        by_piece=names["cache"] == "cache_params",
        switches="use_cache" in arguments(model) and kind != "encoder",
        checkpointing=said.checkpointing or _checkpoints(model),
        programs=said.programs or _programs(model),
        unasked="" if said.programs else _unasked(model),
        generate=said.generate or _generate(model, kind),
        vocab=said.vocab or getattr(config, "vocab_size", 0),
        max_len=said.max_len or _number(config, LONGEST),
        window=said.window or window,
        layers=said.layers or layers,
        pad=said.pad if said.pad is not None else _pad(config),
        special=said.special or _special(config),
        positions=said.positions or _positions(config),
        pictures=pictures,
        said=(
            f"{type(model).__name__} of transformers {version}, {program}:"
            " declared from its configuration.",
        ),
    )


def _kind(model: nn.Module, config: Any) -> str | None:
    """Decoder, encoder or both; None where neither says so."""
    if getattr(config, "is_encoder_decoder", False):
        return "encoder-decoder"
    if getattr(config, "is_decoder", False):
        return "decoder"
    name = type(model).__name__
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return "decoder"
    causal = [m.is_causal for m in model.modules() if hasattr(m, "is_causal")]
    if causal:
        return "decoder" if all(causal) else "encoder"
    return "encoder" if hasattr(config, "is_decoder") else None


def _pictures(
    config: Any, names: dict[str, str], known: dict[str, Any]
) -> tuple[int, ...]:
    """Channels, rows and columns, of what takes pixels and no words."""
    if "input_ids" in known or "pixel_values" not in known:
        return ()
    names["ids"] = "pixel_values"
    size = getattr(config, "image_size", 0)
    rows, columns = size if isinstance(size, (tuple, list)) else (size, size)
    return getattr(config, "num_channels", 3), rows, columns


def _number(config: Any, names: tuple[str, ...]) -> int | None:
    found = (getattr(config, name, None) for name in names)
    return next((n for n in found if isinstance(n, int) and n > 0), None)


def _window(config: Any) -> tuple[int | None, int | None]:
    """Its window, and its layers, if all of them look through it."""
    window = getattr(config, "sliding_window", None)
    if not window or getattr(config, "use_sliding_window", True) is False:
        return None, None
    layers = _number(config, LAYERS)
    types = getattr(config, "layer_types", None)
    if types and any(each != SLIDING for each in types):
        layers = None
    return window, layers


def _pad(config: Any) -> int | None:
    pad = getattr(config, "pad_token_id", None)
    vocab = getattr(config, "vocab_size", 0)
    return pad if isinstance(pad, int) and 0 <= pad < vocab else None


def _special(config: Any) -> tuple[int, ...]:
    """Words that mean more than themselves."""
    found: list[Any] = []
    for name in SPECIAL:
        value = getattr(config, name, None)
        found += value if isinstance(value, list) else [value]
    return tuple(n for n in found if isinstance(n, int))


def _positions(config: Any) -> str | None:
    """Whether only distances count."""
    found = (getattr(config, name, None) for name in RELATIVE)
    if any(found) or type(config).__name__.startswith(("Bloom", "Mpt")):
        return "relative"
    longest = any(hasattr(config, name) for name in LONGEST)
    return "absolute" if longest else None


def _checkpoints(model: nn.Module) -> Callable[[Any], Any] | None:
    if not getattr(model, "supports_gradient_checkpointing", False):
        return None
    usual = "activation_checkpointing_enable"
    name = usual if hasattr(model, usual) else "gradient_checkpointing_enable"
    return lambda it: getattr(it, name)()


def _programs(
    model: nn.Module,
) -> dict[str, Callable[[Any], Any]]:
    """What sets it to each program, by name."""
    if not hasattr(model, "set_attn_implementation"):
        return {}
    return {name: partial(_set_to, name) for name in PROGRAMS}


def _unasked(model: nn.Module) -> str:
    """Which program is left out, and why."""
    if not getattr(model, "_supports_flex_attn", False):
        return ""
    return FLEX


def _set_to(program: str, model: Any) -> None:
    model.set_attn_implementation(program)


def _generate(
    model: nn.Module, kind: str | None
) -> Callable[..., Tensor] | None:
    """The library's own greedy writing."""
    can = getattr(model, "can_generate", None)
    if kind != "decoder" or can is None or not can():
        return None

    def write(
        it: Any, ids: Tensor, seen: Tensor | None, new: int, cached: bool
    ) -> Tensor:
        # without a mask, the word for padding would be taken for padding; and
        # no word ends a text: -1 is none, for which min_new_tokens would
        # forbid the last one
        seen = torch.ones_like(ids) if seen is None else seen
        return it.generate(
            ids,
            attention_mask=seen.long(),
            do_sample=False,
            num_beams=1,
            max_new_tokens=new,
            use_cache=cached,
            pad_token_id=0,
            eos_token_id=-1,
        )

    return write
