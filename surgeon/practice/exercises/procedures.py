"""Judges of the exercises in Procedures."""

import math
from typing import Any

import torch

from surgeon.anatomy.mask_reading import visible
from surgeon.anatomy.masks import create_causal_mask, create_window_mask
from surgeon.practice.exercises.answers import read_numbers
from surgeon.practice.exercises.judged import (
    judge_formula,
    judge_number,
    judge_numbers,
)
from surgeon.practice.verdict import Judged
from surgeon.procedures.online import Partial, merge, partial_attention
from surgeon.procedures.ring import shard


def flash_pencil(answer: Any) -> Judged:
    query = torch.ones(1, 1, dtype=torch.float64)
    keys = torch.tensor([[1.0], [3], [12]]).double().log()
    values = torch.tensor([[8.0], [0], [6]]).double()

    def part(which: slice) -> Partial:
        return partial_attention(
            query, keys[which], values[which], scale=False
        )

    def both(cut: int) -> tuple[float, float]:
        first, second = part(slice(cut)), part(slice(cut, None))
        plain = (first.out + second.out) / 2
        return float(merge(first, second).out), float(plain)

    (whole, plain), (_, other) = both(1), both(2)
    return judge_numbers(
        answer,
        [whole, plain],
        ["The merged output", "The plain average"],
        right="Merged it is the whole; averaged it depends on the cut.",
        hint="Give each part its own sum of powers and its own output.",
        slips=[
            ([whole, other], "That is the average for the page's own split."),
            ([plain, whole], "The two are in the other order."),
            (
                [plain, plain],
                "Merging weighs each part by its sum of powers.",
            ),
        ],
    )


def sparse_least_mass(answer: Any) -> Judged:
    weights = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    values = torch.tensor([0.0, 8, 4], dtype=torch.float64)
    errors = (values - weights @ values).abs()
    true = [int(weights.argmax()) + 1, int(errors.argmin()) + 1]
    given = read_numbers(answer, 2)
    hint = "What is the whole output, and how far off is each value?"
    right = "The weights do not know the values."
    if given == [place - 1 for place in true]:
        return Judged(True, f"{right} (You count from 0.)")
    return judge_numbers(
        given,
        true,
        ["The key that drops the least", "The key with the smallest error"],
        right=right,
        hint=hint,
        slips=[
            ([true[0]] * 2, "The least mass need not have the least error."),
            ([true[0], 2], "That key's value is the farthest off."),
            (true[::-1], "The two are in the other order."),
        ],
    )


def sparse_worth(answer: Any) -> Judged:
    T, d = 10**6, 64
    dense = 2 * T**2 * d
    best = T**2 * d + T * 1 * d  # one key kept
    return judge_number(
        answer,
        dense / best,
        right="The scores are computed in any case, and they are half.",
        hint="Which of the two products does top-k leave as it is?",
        slips=[
            (1, "With few keys, the second product nearly vanishes."),
            (0.5, "That is the time it takes; how many times as fast is it?"),
            *(
                (many, "To know the largest scores, one computes all.")
                for many in (T, math.inf)
            ),
        ],
    )


def sparse_layers(answer: Any) -> Judged:
    tokens, reach = 10_000, 100
    steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    spread = float(steps.square().mean())  # of one layer, squared
    return judge_numbers(
        answer,
        [math.ceil((tokens - 1) / reach), tokens**2 / spread],
        [
            "The number of layers to reach it",
            "The number for the typical distance",
        ],
        right="A path is not the same as a signal.",
        hint="Distances of even steps add like a random walk's.",
        slips=[
            ([100, 100], "Not all steps go the same way."),
            (
                [100, (tokens / reach) ** 2],
                "A step is even between −100 and 100, mostly shorter.",
            ),
            (
                [100, math.sqrt(3) * tokens],
                "Variances add up, not spreads.",
            ),
        ],
    )


def multi_query_batch(answer: Any) -> Judged:
    memory, parameters, text = 80, 40, 1
    return judge_number(
        answer,
        (memory - parameters) // text,
        right="The parameters are there once, whatever the batch.",
        hint="What is left beside the parameters?",
        slips=[
            (80, "The parameters have to fit as well."),
            (2, "How often are the parameters there?"),
            (1, "How often are the parameters there?"),
        ],
    )


def multi_query_when_absorbed(answer: Any) -> Judged:
    d, r, places = 128, 512, 64

    def made(T: float) -> float:
        return 4 * r * d + T * (4 * d + 2 * places)

    def absorbed(T: float) -> float:
        return T * (4 * r + 2 * places)

    last = max(T for T in range(1, 1000) if absorbed(T) < made(T))
    even = r * d / (r - d)
    (given,) = read_numbers(answer, 1)
    right = "The columns for positions cancel."
    if last <= given <= even + 0.01:
        return Judged(True, right)
    return judge_number(
        given,
        last,
        right=right,
        hint="Set the two counts equal. What cancels?",
        slips=[
            (last + 1, "There absorbing takes more."),
            (
                d,
                "Absorbing makes the vectors r wide for each of the T words.",
            ),
            (
                math.floor(r * d / (r + places - d)),
                "Both ways compare the columns for positions.",
            ),
            (r * d / (2 * (r - d)), "Keys and values are both made."),
            (2 * even, "Comparing and averaging both cost T times."),
        ],
        digits=4,
    )


def ring_two_ranks(answer: Any) -> Judged:
    sees = visible(create_causal_mask(8), (8, 8), "cpu").sum(-1)
    cut = [
        shard(sees[:, None], rank, 2, zigzag=zigzag)
        for zigzag in (False, True)
        for rank in range(2)
    ]
    true = [float(part.sum()) for part in cut]
    own = [total - 4 for total in true]
    return judge_numbers(
        answer,
        true,
        [
            f"The count of rank {rank} {order}"
            for order in ("in order", "in zigzag")
            for rank in range(2)
        ],
        right="Early and late tokens together see T + 1 keys.",
        hint="Token i sees i keys. Which tokens does each rank hold?",
        slips=[
            (own, "Each token sees itself as well."),
            ([32.0] * 4, "Under a causal mask no token sees the later ones."),
            ([10, 10, 10, 10], "Rank 1 sees the keys of rank 0 too."),
            (
                [*true[:2], 16.0, 20.0],
                "That takes every second token; zigzag cuts four blocks.",
            ),
        ],
        digits=3,
    )


def ring_shared_heads(answer: Any) -> Judged:
    def factor(H: float, H_kv: float) -> float:
        work = H  # every query head looks at every pair
        bytes_sent = H_kv
        return bytes_sent / work

    return judge_formula(
        answer,
        factor,
        [
            {"H": 64, "H_kv": 8},
            {"H": 21, "H_kv": 7},
            {"H": 10, "H_kv": 5},
        ],
        right="The work is as before, and fewer bytes travel.",
        hint="What changes, the work or the bytes? In which ratio?",
        slips=[
            (lambda H, H_kv: H / H_kv, "Do more tokens suffice, or fewer?"),
            (lambda H, H_kv: 1, "The bytes are those of fewer heads."),
            (
                lambda H, H_kv: math.sqrt(H_kv / H),
                "Work and bytes both grow with a head; no root.",
            ),
            (lambda H, H_kv: 1 / H_kv, "In which ratio do the bytes fall?"),
        ],
    )


def company_window_places(answer: Any) -> Judged:
    mask = create_window_mask(6, 2, causal=True)
    may_look = visible(mask, (6, 6), "cpu")
    true = (may_look.sum(-1) - 1).double().tolist()
    return judge_numbers(
        answer,
        true,
        [f"The place of word {word}" for word in range(1, 7)],
        right="A word sees at most the window, and so from there on all have"
        " one place.",
        hint="How many words does the fifth see?",
        slips=[
            ([0, 1, 2, 3, 4, 5], "These are the places without a window."),
            ([1, 2, 3, 3, 3, 3], "One is taken off."),
            ([0, 1, 1, 1, 1, 1], "It sees two words back, and itself."),
        ],
    )
