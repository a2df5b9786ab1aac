"""What a reader writes is read as numbers, sizes, functions and tensors."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from surgeon.practice.exercises.answers import (
    Unreadable,
    read_function,
    read_number,
    read_numbers,
    read_sizes,
    read_tensor,
)


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        (3, 3),
        (-2.5, -2.5),
        (Fraction(1, 4), 0.25),
        (Decimal("0.25"), 0.25),
        (np.float32(0.25), 0.25),
        (np.array([[7]]), 7),
        (torch.tensor(0.25, dtype=torch.bfloat16, requires_grad=True), 0.25),
        (torch.tensor([3]), 3),
        (["1/3"], 1 / 3),
        (" 3 % ", 0.03),
        ("−1/4", -0.25),
        ("2e-4", 2e-4),
        ("inf", float("inf")),
    ],
)
def test_a_number_is_read(answer, number):
    assert read_number(answer) == pytest.approx(number, abs=0)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ("one", "the text 'one'"),
        ("1/0", "the text '1/0'"),
        ("", "the text ''"),
        (True, "True"),
        (None, "None"),
        (np.array([True]), "a ndarray without numbers"),
        (torch.tensor([1j]), "a Tensor without numbers"),
        ([1, 2], "2 numbers"),
        ([], "0 numbers"),
        (len, "a function"),
        ({1}, "a set"),
    ],
)
def test_what_is_no_number_is_named(answer, what):
    with pytest.raises(Unreadable, match=rf"^{what}$"):
        read_number(answer)


def test_numbers_are_read_from_any_nesting():
    assert read_numbers(([1, "2; 3"], torch.tensor([[4.0], [5.0]])), 3, 5) == [1, 2, 3, 4, 5]
    with pytest.raises(Unreadable, match=r"^one number$"):
        read_numbers(1, 2)


@pytest.mark.parametrize("answer", [[1, 0], [1, 2.5], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_sizes_are_positive_integers(answer):
    assert read_sizes([1, "2"], 2) == [1, 2]
    with pytest.raises(Unreadable, match="no sizes"):
        read_sizes(answer, 2)


def test_a_function_is_something_to_call_and_no_class():
    assert read_function(len) is len
    for answer in (int, 3, "len"):
        with pytest.raises(Unreadable):
            read_function(answer)


def test_a_tensor_is_read_in_float64_without_its_history():
    tensor = read_tensor(torch.ones(2, 3, requires_grad=True), 2)
    assert tensor.dtype == torch.float64
    assert not tensor.requires_grad
    with pytest.raises(Unreadable, match=r"^a tensor with 1 axes$"):
        read_tensor([1, 2], 2)
    with pytest.raises(Unreadable, match=r"^a list$"):
        read_tensor([[1], [2, 3]], 2)
