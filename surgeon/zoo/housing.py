"""A fault at work: in a layer, in a model, under a mask that it can read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from surgeon.anatomy.mask_reading import block, visible
from surgeon.anatomy.masks import create_causal_mask
from surgeon.models.transformer import Block, MaskOf, TransformerLM
from surgeon.zoo.fault import Fault, Layer, Mask, Result


class Housing(Layer):
    """A layer whose core is a function of the zoo.

    The function is told of the mask in the way that it expects.
    """

    def __init__(
        self, d_model: int, num_heads: int, *, fault: Fault, **more: Any
    ) -> None:
        super().__init__(d_model, num_heads, **more)
        self.fault = fault

    def attend(self, Q: Tensor, K: Tensor, V: Tensor, mask: Mask) -> Result:
        """The function instead of the sound core."""
        return self.fault.made(Q, K, V, **told(self.fault.held, mask))

    def repeat(self, x: Tensor) -> Tensor:
        """As they are, where no head is shared.

        A copy would not leave keys in memory as `split_heads` does.
        """
        alone = self.num_heads == self.num_kv_heads
        return x if alone else super().repeat(x)


def told(held: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """The arguments that tell a function of the zoo about a mask."""
    if isinstance(held.get("causal"), str):
        return {"mask": mask, held["causal"]: True}
    if mask is None:
        return {}
    if "padding" in held:
        return {held["padding"]: mask}
    shown = visible(mask, mask.shape, mask.device)
    if held.get("mask") == "0-1":
        return {"mask": shown.float()}
    if held.get("mask") == "additive":
        return {"mask": block(~shown)}
    return {"mask": shown}


def house(
    fault: Fault | None, d_model: int, num_heads: int, **more: Any
) -> Layer:
    """A layer with one fault, or with none.

    Its weights come from PyTorch's global generator.
    """
    if fault is None:
        return Layer(d_model, num_heads, **more)
    if fault.is_layer:
        return fault.made(d_model, num_heads, **more)
    return Housing(d_model, num_heads, fault=fault, **more)


def put_in(
    model: TransformerLM, fault: Fault | None, **more: Any
) -> TransformerLM:
    """Give every layer of a model a faulty attention with the old weights.

    Parameters
    ----------
    model : TransformerLM
        Changed in place.
    fault : Fault or None
        An entry of `surgeon.zoo.catalogue.ZOO`; None for the zoo's sound
        layer.
    **more
        `num_kv_heads` and `dropout` of the layer. Of fewer key heads, the
        first are kept.

    Returns
    -------
    TransformerLM
        The model.
    """
    for layer in model.blocks:
        assert isinstance(layer, Block)
        old = layer.attention
        new = house(fault, old.d_model, old.num_heads, **more)
        kept, sizes = old.state_dict(), new.state_dict()
        new.load_state_dict({n: kept[n][: len(x)] for n, x in sizes.items()})
        layer.attention = new
    return model


def mask_of(fault: Fault | None) -> MaskOf:
    """The causal mask; or none, for a fault that is causal by itself."""
    if fault is not None and fault.is_causal:
        return lambda seq_len: None
    return create_causal_mask


def kind_of(needs: str, num_heads: int, dropout: float) -> dict[str, Any]:
    """The layer that a fault needs, and the sound one beside it."""
    if needs == "dropout":
        return {"dropout": dropout}
    if needs == "shared heads":
        return {"num_kv_heads": num_heads // 2}
    return {}


@contextmanager
def quiet(seed: int) -> Iterator[None]:
    """A seeded global generator, from which layers draw dropout.

    It is put back afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
