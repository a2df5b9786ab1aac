"""What the portrait at the head of a report must say: how each is asked, and all its lines."""

from importlib.metadata import version

import designed
import torch
from examined import Fused, causal, softened
from kinds import SOUND, by_features, in_halves, made, turned
from layers import AlwaysAside, AsideUnlessAlike, Longer, Turning
from library_layers import made as made_in_library
from odd_modules import fused
from torch import nn

from surgeon import MultiHeadAttention, attention, grouped_attention
from surgeon.zoo.catalogue import ZOO


def table(scores):
    """A number for each place."""
    T, S = scores.shape[-2:]
    return torch.sin(torch.arange(T)[:, None] * torch.arange(S)).to(scores.dtype)


def without_table():
    """A layer whose configuration no longer says by what it turns."""
    layer = made_in_library("Llama", "sdpa")
    layer.config.rope_parameters = None
    return layer


VERSION = version("transformers")  # without an import of it
PLAIN = ["Plain attention, softmax(0.378 QKᵀ)V, to rounding.", "Every query sees every key."]
OUTSIDE = "Asked from outside: queries and keys are not seen."
RESTS = "What its weights rest on cannot be told so:"

PORTRAITS = {
    "one projection in no usual order": (
        lambda: Fused(wrong=True),
        {"projections": ("inner.all", "inner.out"), "heads": 4},
        [
            "What it is cannot be told while “heads apart” fails.",
            "In no usual order does its one projection act as queries, keys and values: 3 H d is taken."
            " Say fused if it is another.",
        ],
    ),
    "many heads of PyTorch's": (
        lambda: nn.MultiheadAttention(560, 80, batch_first=True),
        {"dead_rows": "any"},
        [*PLAIN, "Of its 80 heads, which are alike, 73 are asked."],
    ),
    "aside unless alike": (
        AsideUnlessAlike,
        {},
        [
            *PLAIN,
            "It leaves its projections aside where queries, keys and values are not one and the same.",
        ],
    ),
    "always aside": (AlwaysAside, {}, [OUTSIDE, "It does not go through qkv, proj."]),
    "angles of zero": (
        Turning,
        {},
        [
            "Plain attention, softmax(0.408 QKᵀ)V, to rounding.",
            "Every query sees every key.",
            "It wants position_embeddings: it got angles of zero, by which nothing turns."
            " What it makes of places is not examined.",
        ],
    ),
    "longer": (
        Longer,
        {},
        [
            OUTSIDE,
            "It adds 2 tokens to the tokens it is given, in front: their outputs are set aside.",
            f"{RESTS} hand in model.inner, an attention in it.",
        ],
    ),
    "an encoder's layer": (
        lambda: nn.TransformerEncoderLayer(28, 4, 56, 0.0),
        {},
        [*PLAIN, "Its self_attn is examined, and nothing else of the layer."],
    ),
    "a decoder's layer": (
        lambda: nn.TransformerDecoderLayer(28, 4, 56, 0.0),
        {},
        [
            *PLAIN,
            "Its self_attn is examined, and nothing else of the layer.",
            "Its cross-attention is multihead_attn: hand it in as well.",
        ],
    ),
    "ALiBi in the mask": (
        lambda: made_in_library("Falcon, ALiBi", "sdpa"),
        {},
        [
            "Plain attention, softmax(0.316 QKᵀ)V, to rounding.",
            "Without a mask it is causal; one of all ones opens it.",
            f"FalconAttention of transformers {VERSION}, sdpa: declared from its configuration.",
            "On sdpa the model adds ALiBi to the mask: it is not examined here.",
        ],
    ),
    "a window in the mask": (
        lambda: made_in_library("Mistral", "sdpa"),
        {},
        [
            "Attention as it was declared (positions).",
            "Without a mask it is causal; one of all ones opens it.",
            "6 query heads share 2 key heads.",
            f"MistralAttention of transformers {VERSION}, sdpa: declared from its configuration.",
            "Its window of 4096 keys is in the mask that the model hands in: it is not examined here.",
        ],
    ),
    "no table": (
        without_table,
        {},
        [
            "Plain attention, softmax(0.316 QKᵀ)V, to rounding.",
            "Without a mask it is causal; one of all ones opens it.",
            "6 query heads share 2 key heads.",
            f"LlamaAttention of transformers {VERSION}, sdpa: declared from its configuration.",
            "Its angles are not known here: it got angles of zero, by which nothing turns.",
        ],
    ),
    "ours": (
        lambda: attention,
        {},
        ["Plain attention, softmax(0.378 QKᵀ)V, to rounding.", "Every query sees every key."],
    ),
    "grouped": (
        lambda: grouped_attention,
        {"layout": "B H T d", "heads": 6, "kv_heads": 2},
        [
            "Plain attention, softmax(0.378 QKᵀ)V, to rounding.",
            "Every query sees every key.",
            "6 query heads share 2 key heads.",
        ],
    ),
    "multi-query": (
        lambda: grouped_attention,
        {"layout": "B H T d", "heads": 3, "kv_heads": 1},
        [
            "Plain attention, softmax(0.378 QKᵀ)V, to rounding.",
            "Every query sees every key.",
            "All query heads share one key head.",
        ],
    ),
    "a layer that trains": (
        lambda: MultiHeadAttention(28, 4, dropout=0.25),
        {},
        [
            "Plain attention, softmax(0.378 QKᵀ)V, to rounding.",
            "Every query sees every key.",
            "Training makes a weight 0 or 1.33 times itself.",
        ],
    ),
    "causal by nature": (
        lambda: lambda Q, K, V: causal(Q, K, V, is_causal=True),
        {"causal": True},
        ["Plain attention, softmax(0.378 QKᵀ)V, to rounding.", "It is causal by itself."],
    ),
    "causal unless told": (
        lambda: lambda Q, K, V, mask=None: causal(Q, K, V, mask, is_causal=mask is None),
        {},
        [
            "Plain attention, softmax(0.378 QKᵀ)V, to rounding.",
            "Without a mask it is causal; one of all ones opens it.",
        ],
    ),
    "softmax over the queries": (
        lambda: ZOO["softmax_over_queries"].made,
        {},
        ["What it is cannot be told while “softmax over keys” fails."],
    ),
    "a cap": (
        lambda: softened,
        {},
        [
            "No plain attention. It looks like one with scores bent to a limit of 1 (a cap).",
            "The weights of a query add up to 1.",
            "Every query sees every key.",
            "Places do not count: only what the tokens are.",
            "The lengths of queries and of keys count.",
            "No score beyond 1 passes.",
            "It agrees with softcap=1: say so, and that is examined, too.",
        ],
    ),
    "scores that grow ever more slowly": (
        lambda: designed.made(bend=lambda scores: scores.sign() * scores.abs().log1p()),
        {},
        [
            "The weights of a query add up to 1.",
            "Every query sees every key.",
            "Places do not count: only what the tokens are.",
            "The lengths of queries and of keys count.",
            "A constant added to a row of scores changes its weights.",
        ],
    ),
    "rotary": (
        lambda: turned(),
        {},
        [
            "No plain attention. It looks like one with queries and keys turned by their places (rotary).",
            "The weights of a query add up to 1.",
            "Every query sees every key.",
            "With one token repeated, the distance counts, and the token.",
            "The lengths of queries and of keys count.",
            "Say what is meant (positions), and that is examined, too.",
        ],
    ),
    "rotary, of an even width": (
        lambda: turned(),
        {"widths": (8, 8)},
        [
            "No plain attention. It looks like one with queries and keys turned by their places (rotary).",
            "The weights of a query add up to 1.",
            "Every query sees every key.",
            "With one token repeated, the distance counts, and the token.",
            "The lengths of queries and of keys count.",
            'It agrees with positions="rotary": say so, and that is examined, too.',
        ],
    ),
    "turned the other way, declared": (
        lambda: designed.WRONG["turned the other way"][0],
        {"positions": "rotary"},
        [
            "Attention, but not as declared: see “positions”.",
            "Every query sees every key.",
        ],
    ),
    "rotary, declared, from the first": (
        lambda: designed.SOUND["rotary, both from the first"][0],
        {"positions": "rotary"},
        [
            "Attention as it was declared (positions).",
            "With fewer queries than keys, both count from the first: it is not made for a cache.",
            "Every query sees every key.",
        ],
    ),
    "everything": (
        lambda: designed.everything,
        {"widths": (8, 8)},
        [
            "No plain attention. It looks like one with queries and keys turned by their places (rotary), and cosines"
            " for scores (a norm of queries and keys), and a sink, which takes 0.094 to 0.47 of a row, and keys hidden"
            " by place (a window, or documents).",
            "The weights of a query add up to 0.532 to 0.906.",
            "Of 5 keys, the queries see 3 4 5 4 3.",
            "With one token repeated, the distance counts, and the token.",
            "Only directions of queries and keys count.",
            "Say what is meant (qk_norm, positions, sink, window), and that is examined, too.",
        ],
    ),
    "a window of twenty": (
        lambda: SOUND["a window of twenty"][0],
        {},
        [
            "Plain, but for keys hidden by place: of 61, the last query sees 20 (a window, or documents).",
            "It agrees with window=19: say so, and that is examined, too.",
        ],
    ),
    "rotary, pairs mixed": (
        lambda: turned(mixed=True),
        {},
        [
            "The weights of a query add up to 1.",
            "Every query sees every key.",
            "With one token repeated, places count, not only distances.",
            "The lengths of queries and of keys count.",
        ],
    ),
    "a table of distances": (
        lambda: SOUND["a table of distances"][0],
        {},
        [
            "No plain attention. It looks like one with a bias by distance (as ALiBi's or T5's).",
            "The weights of a query add up to 1.",
            "Every query sees every key.",
            "With one token repeated, the distance counts, whatever the token.",
            "The lengths of queries and of keys count.",
            "A constant added to a row of scores changes nothing.",
            'It agrees with positions="distance": say so, and that is examined, too.',
        ],
    ),
    "a table of places, undeclared causal": (
        lambda: made(lambda Q, K, s: s + table(s), seen=lambda i, j: j <= i),
        {},
        [
            "No plain attention. It looks like one with a bias by place, added to the scores.",
            "The weights of a query add up to 1.",
            "It is causal by itself.",
            "With one token repeated, places count, whatever the token.",
            "The lengths of queries and of keys count.",
            "A constant added to a row of scores changes nothing.",
            "Say causal=True, and what that needs is tried.",
            "Say what is meant (positions), and that is examined, too.",
        ],
    ),
    "keys with places": (
        lambda: SOUND["keys with places"][0],
        {},
        [
            "No plain attention. It looks like one with places added to queries or keys.",
            "The weights of a query add up to 1.",
            "Every query sees every key.",
            "With one token repeated, places count, even for keys of nothing.",
            "The lengths of queries and of keys count.",
            "Say what is meant (positions), and that is examined, too.",
        ],
    ),
    "normed queries": (
        lambda: SOUND["normed queries"][0],
        {},
        [
            "No plain attention. It looks like one with a norm of queries.",
            "The weights of a query add up to 1.",
            "Every query sees every key.",
            "Places do not count: only what the tokens are.",
            "Of queries, only directions count; of keys, lengths too.",
            "Say what is meant (qk_norm), and that is examined, too.",
        ],
    ),
    "normed keys": (
        lambda: SOUND["normed keys"][0],
        {},
        [
            "No plain attention. It looks like one with a norm of keys.",
            "The weights of a query add up to 1.",
            "Every query sees every key.",
            "Places do not count: only what the tokens are.",
            "Of keys, only directions count; of queries, lengths too.",
            "Say what is meant (qk_norm), and that is examined, too.",
        ],
    ),
    "a sink": (
        lambda: SOUND["softmax-plus-one"][0],
        {},
        [
            "No plain attention. It looks like one with a sink, which takes 0.067 to 0.26 of a row.",
            "The weights of a query add up to 0.744 to 0.933.",
            "Every query sees every key.",
            "Places do not count: only what the tokens are.",
            "The lengths of queries and of keys count.",
            "A constant added to a row of scores changes its weights.",
            "It agrees with sink=True: say so, and that is examined, too.",
        ],
    ),
    "cosines": (
        lambda: SOUND["cosines"][0],
        {},
        [
            "No plain attention. It looks like one with cosines for scores (a norm of queries and keys).",
            "The weights of a query add up to 1.",
            "Every query sees every key.",
            "Places do not count: only what the tokens are.",
            "Only directions of queries and keys count.",
            'It agrees with qk_norm="l2": say so, and that is examined, too.',
        ],
    ),
    "documents": (
        lambda: SOUND["documents"][0],
        {},
        [
            "No plain attention. It looks like one with keys hidden by place (a window, or documents).",
            "The weights of a query add up to 1.",
            "Of 5 keys, the queries see 3 3 3 2 2.",
            "Places do not count: only what the tokens are.",
            "The lengths of queries and of keys count.",
            "A constant added to a row of scores changes nothing.",
        ],
    ),
    "products of features": (
        lambda: by_features,
        {},
        [
            "No plain attention. It looks like one with products of features for weights (linear attention).",
            "The weights of a query add up to 1.",
            "Every query sees every key.",
            "Places do not count: only what the tokens are.",
            "The lengths of queries and of keys count.",
            "The weights are of rank 7.",
        ],
    ),
    "in halves": (lambda: in_halves, {}, ["It computes in half precision, whatever comes."]),
    "from outside": (
        lambda: MultiHeadAttention(28, 4),
        {"projections": False},
        [OUTSIDE, f"{RESTS} it is where projections are not False (W_Q, W_K, W_V, W_O)."],
    ),
    "of no names": (
        fused(),
        {"width": 28},
        [OUTSIDE, f'{RESTS} name its projections, as in projections=("q", "k", "v", "o").'],
    ),
    "a function on x": (
        lambda: lambda x: attention(x, x, x),
        {"width": 28},
        [OUTSIDE, f"{RESTS} hand in what it does with Q, K and V."],
    ),
    "what raises": (lambda: lambda Q, K, V, mask=None: None, {}, []),
}
