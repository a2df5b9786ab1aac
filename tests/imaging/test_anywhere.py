"""Wherever the inputs are, and whatever somebody else has made PyTorch's default: the same answers."""

import inspect
from functools import partial

import numpy as np
import pytest
import torch
from foreign import foreign_defaults
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from oracle import CAUSAL, normal
from pictures import TOKENS, weights_of

from surgeon.imaging import (
    cells,
    hand_set,
    head_grids,
    heatmaps,
    hull,
    influence,
    patterns,
    rank,
    style,
    token_lines,
    words,
)
from surgeon.imaging.style import house_style, new_figure

pytestmark = pytest.mark.usefixtures("nothing_global")

MODULES = [cells, hand_set, head_grids, heatmaps, hull, influence, patterns, rank, style, token_lines, words]
MASK = CAUSAL.clone()
MASK[3] = False  # one row may look at nothing
WEIGHTS = weights_of(5, 5, mask=torch.zeros(5, 5).masked_fill(~MASK, -torch.inf)).float()
HEADS = weights_of(2, 3, 5, 5).float()
X, POINTS, VERTICES = (normal(*shape, grad=False).float() for shape in [(5, 3), (11, 5, 3), (7, 3)])

# Every documented function, as a function of the tensors that it gets.
CALLS = {
    "analyze_attention_patterns": (patterns.analyze_attention_patterns, (WEIGHTS,), {"mask": MASK}),
    "baseline_patterns": (patterns.baseline_patterns, (MASK,), {}),
    "describe_attention": (partial(words.describe_attention, tokens=TOKENS), (WEIGHTS,), {"mask": MASK}),
    "describe_heads": (head_grids.describe_heads, (HEADS,), {}),
    "describe_token_lines": (partial(token_lines.describe_token_lines, tokens=TOKENS), (WEIGHTS,), {}),
    "distance_to_rank_one": (rank.distance_to_rank_one, (X,), {}),
    "effective_rank": (rank.effective_rank, (X,), {}),
    "hand_set_pattern": (partial(hand_set.hand_set_pattern, "blocks", 5, phrases=[2, 3]), (), {}),
    "house_style": (house_style, (), {}),
    "hull_distance": (hull.hull_distance, (POINTS, VERTICES), {}),
    "in_convex_hull": (hull.in_convex_hull, (POINTS, VERTICES), {}),
    "influence_map": (partial(influence.influence_map, lambda x: x.cumsum(0).sin()), (X,), {}),
    "new_figure": (new_figure, (), {}),
    "normalized_entropy": (patterns.normalized_entropy, (WEIGHTS,), {"mask": MASK}),
    "plot_all_heads": (head_grids.plot_all_heads, (HEADS,), {}),
    "plot_attention_heatmap": (partial(heatmaps.plot_attention_heatmap, tokens=TOKENS), (WEIGHTS,), {"mask": MASK}),
    "plot_matrix": (heatmaps.plot_matrix, (X,), {}),
    "plot_multihead_attention": (
        partial(heatmaps.plot_multihead_attention, tokens=TOKENS, num_heads=3),
        (HEADS[0],),
        {"mask": torch.ones(5, 5, dtype=torch.bool)},
    ),
    "plot_token_lines": (partial(token_lines.plot_token_lines, tokens=TOKENS), (WEIGHTS,), {}),
    "row_entropy": (patterns.row_entropy, (WEIGHTS,), {}),
    "uniform_weights": (patterns.uniform_weights, (MASK,), {}),
}


def shown(result):
    """What can be compared: numbers with their precision, words, and what a figure shows."""
    if isinstance(result, tuple):
        return [shown(one) for one in result]
    if isinstance(result, torch.Tensor):
        return result.dtype, result.tolist()
    if isinstance(result, Axes):
        return [text.get_text() for text in result.texts], [np.array(image.get_array()) for image in result.images]
    if isinstance(result, Figure):
        return [shown(ax) for ax in result.axes]
    return result


def call(name, move=lambda x: x):
    function, tensors, options = CALLS[name]
    return function(*map(move, tensors), **{key: move(value) for key, value in options.items()})


def test_every_documented_function_is_called_here():
    documented = {
        name
        for module in MODULES
        for name, thing in vars(module).items()
        if inspect.isfunction(thing) and thing.__module__ == module.__name__ and "Returns\n" in (thing.__doc__ or "")
    }
    assert documented == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_other_peoples_defaults_change_nothing(name):
    expected = shown(call(name))
    with foreign_defaults():
        found = shown(call(name))
    np.testing.assert_equal(found, expected)


class OnAppleGPU(torch.Tensor):
    """As a tensor on a device without double precision: nothing there has it, and `cpu` leads away."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        result = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(result, torch.Tensor) and result.dtype == torch.float64:
            raise TypeError("Cannot convert a tensor to float64 on this device.")
        return result


def test_the_stand_in_has_no_double_precision():
    with pytest.raises(TypeError, match="float64"):
        WEIGHTS.as_subclass(OnAppleGPU).sum(-1, dtype=torch.float64)
    assert WEIGHTS.as_subclass(OnAppleGPU).cpu().double().dtype == torch.float64


@pytest.mark.parametrize("name", [name for name, (_, tensors, _) in CALLS.items() if tensors])
def test_a_device_without_double_precision_gives_the_same(name):
    found, expected = call(name, lambda x: x.as_subclass(OnAppleGPU)), call(name)
    plain = found.as_subclass(torch.Tensor) if isinstance(found, torch.Tensor) else found
    np.testing.assert_equal(shown(plain), shown(expected))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", [name for name, (_, tensors, _) in CALLS.items() if tensors])
def test_a_cuda_device_gives_the_same(name):
    found, expected = call(name, torch.Tensor.cuda), call(name)
    if isinstance(expected, torch.Tensor):
        assert found.is_cuda
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-6)
    elif isinstance(expected, dict | float):
        assert found == pytest.approx(expected, rel=1e-6)
    else:
        np.testing.assert_equal(shown(found), shown(expected))
