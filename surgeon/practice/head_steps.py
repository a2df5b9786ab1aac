"""Heads: split the width, and lay it together again."""

import torch
from torch import Tensor

from surgeon.anatomy.heads import merge_heads, split_heads
from surgeon.practice.inside import layer_with
from surgeon.practice.step import Mistake, Question, Step, normal

PAGE = "anatomy/heads"


# How a split or a merge that only views goes wrong in memory
MEMORY = Mistake(
    "It is right for a tensor that lies in memory row by row, and fails for"
    " one that was transposed.",
    "view needs the memory in order. What copies where it must?",
    PAGE,
)
VIEWED = "the tokens are cut across: each head holds whole tokens, not a"


def ask_split(generator: torch.Generator) -> list[Question]:
    lying = normal(generator, 2, 12, 5)
    return [
        Question((normal(generator, 1, 3, 4), 2)),
        Question((normal(generator, 2, 5, 12), 3)),
        Question((normal(generator, 3, 7, 10), 5)),
        Question((normal(generator, 2, 5, 14, dtype=torch.float32), 7)),
        Question((normal(generator, 2, 5, 7), 1)),
        Question((lying.mT, 3), "order in memory"),
    ]


def viewed(x: Tensor, num_heads: int) -> Tensor:
    B, T, width = x.shape
    return x.reshape(B, num_heads, T, width // num_heads)


SPLITTING = Step(
    "split_heads",
    "takes [B, T, H * d] to [B, H, T, d]",
    "Each head has its own columns of every token.",
    PAGE,
    split_heads,
    ask_split,
    {
        "viewed": Mistake(
            f"The shape is right, and {VIEWED} part of each.",
            "Where do the entries of one token lie in memory? Cut before you"
            " move.",
            PAGE,
            viewed,
        ),
        "every other column": Mistake(
            "A head takes every H-th column, not its neighbours.",
            "Which of the two new axes is the outer one?",
            PAGE,
            lambda x, H: x.unflatten(-1, (-1, H)).movedim(-1, -3),
        ),
        "tokens before heads": Mistake(
            "The width is cut, and heads stand behind the tokens: products"
            " would meet heads, not tokens.",
            "Which two axes does a matrix product work on?",
            PAGE,
            lambda x, H: x.unflatten(-1, (H, -1)),
        ),
        "heads before batch": Mistake(
            "Heads stand before the batch.",
            "The axes wanted are B, H, T, d.",
            PAGE,
            lambda x, H: x.unflatten(-1, (H, -1)).movedim(-2, 0),
        ),
        "not cut": Mistake(
            "Every head has the whole width.",
            "How wide is one head?",
            PAGE,
            lambda x, H: x[:, None].expand(-1, H, -1, -1),
        ),
        "order in memory": MEMORY,
    },
    [(split_heads, ("1", "2"))],
    raising={"view size is not compatible": "order in memory"},
    inside=lambda yours: layer_with(split=yours),
)


def ask_merge(generator: torch.Generator) -> list[Question]:
    split = normal(generator, 2, 5, 3, 7).transpose(1, 2)
    return [
        Question((normal(generator, 1, 2, 3, 2),)),
        Question((normal(generator, 2, 3, 5, 7),)),
        Question((normal(generator, 2, 5, 3, 4, dtype=torch.float32),)),
        Question((normal(generator, 2, 1, 5, 7),)),
        Question((split,), "order in memory"),
    ]


MERGING = Step(
    "merge_heads",
    "takes [B, H, T, d] to [B, T, H * d]",
    "The heads of a token lie side by side, and no token moves.",
    PAGE,
    merge_heads,
    ask_merge,
    {
        "viewed": Mistake(
            "The shape is right, and rows of different tokens are laid"
            " together.",
            "Which two axes must be neighbours before they become one?",
            PAGE,
            lambda x: x.reshape(x.shape[0], x.shape[2], -1),
        ),
        "columns in turn": Mistake(
            "The first columns of all heads stand together, then the second"
            " ones.",
            "Which of the two axes is the outer one?",
            PAGE,
            lambda x: x.permute(0, 2, 3, 1).flatten(-2),
        ),
        "not joined": Mistake(
            "Heads and tokens have changed places, and the heads are still"
            " apart.",
            "How many axes did x have before it was split?",
            PAGE,
            lambda x: x.transpose(1, 2),
        ),
        "added up": Mistake(
            "The heads are added up, and nobody can tell them apart.",
            "How wide is a token afterwards?",
            PAGE,
            lambda x: x.sum(1),
        ),
        "averaged": Mistake(
            "The heads are averaged, and nobody can tell them apart.",
            "How wide is a token afterwards?",
            PAGE,
            lambda x: x.mean(1),
        ),
        "order in memory": MEMORY,
    },
    [(merge_heads, None)],
    raising={"view size is not compatible": "order in memory"},
    inside=lambda yours: layer_with(merge=yours),
)
