import re

import numpy as np
import pytest
import torch

from surgeon.arguments import (
    check_seed,
    divisor,
    generator_from,
    natural_number,
    positive_integer,
    probability,
    truth,
    whole_number,
)

NUMBERS = [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)]
NO_INTEGERS = [True, np.True_, torch.tensor(True), 3.0, np.float64(3), torch.tensor(3.0), "3", None, [3], 3j]
says = lambda message: pytest.raises(ValueError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: type(value).__name__)
def test_an_integer_is_an_integer_whoever_made_it(value):
    found = [
        whole_number(value),
        positive_integer("n", value),
        natural_number("n", value),
        check_seed(value),
        divisor("n", value, "the width", 21),
    ]
    assert found == [3] * 5
    assert {type(number) for number in found} == {int}
    assert generator_from(value).initial_seed() == 3


@pytest.mark.parametrize("value", NO_INTEGERS, ids=repr)
def test_booleans_and_floats_are_no_integers(value):
    assert whole_number(value) is None
    with says(f"n must be an integer of at least 1, got {value!r}."):
        positive_integer("n", value)
    with says(f"n must be an integer of at least 0, got {value!r}."):
        natural_number("n", value)
    with says(f"n must be a positive integer that divides the width (21), got {value!r}."):
        divisor("n", value, "the width", 21)
    with says(f"seed must be an integer from 0 to 2**32 - 1, got {value!r}."):
        generator_from(value)


def test_where_integers_begin_and_end():
    assert natural_number("n", 0) == check_seed(0) == 0
    assert check_seed(2**32 - 1) == 2**32 - 1
    assert positive_integer("n", 1) == divisor("n", 1, "the width", 7) == 1
    for call, value in [(positive_integer, 0), (natural_number, -1)]:
        with says(f"n must be an integer of at least {value + 1}, got {value}."):
            call("n", value)
    for seed in (-1, 2**32):
        with says(f"seed must be an integer from 0 to 2**32 - 1, got {seed}."):
            check_seed(seed)
    for value in (0, -7, 2):
        with says(f"n must be a positive integer that divides the width (7), got {value}."):
            divisor("n", value, "the width", 7)


@pytest.mark.parametrize("value", [0, 0.0, 0.25, np.float32(0.25), np.float64(0.25)], ids=repr)
def test_a_probability_leaves_something(value):
    assert type(probability("p", value)) is float
    assert probability("p", value) == value


@pytest.mark.parametrize("value", [1, 1.0, -0.1, float("nan"), float("inf"), True, False, None, "0.5", 0.5j], ids=repr)
def test_what_is_no_probability(value):
    with says(f"p must be a probability in [0, 1), got {value!r}."):
        probability("p", value)


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_], ids=repr)
def test_a_truth_is_true_or_false(value):
    assert truth("scale", value) is bool(value)


@pytest.mark.parametrize("value", [0.125, 1, 0, 1.0, None, "True", [], torch.tensor(True), np.array(True)], ids=repr)
def test_what_is_no_truth(value):
    with says(f"scale must be True or False, got {value!r}."):
        truth("scale", value)


def test_a_generator_goes_through_and_a_seed_leaves_the_global_one_alone():
    given, state = torch.Generator(), torch.get_rng_state()
    assert generator_from(given) is given
    expected = torch.rand(5, generator=torch.Generator().manual_seed(7))
    assert torch.equal(torch.rand(5, generator=generator_from(7)), expected)
    assert torch.equal(torch.get_rng_state(), state)
