"""The look of every figure: lightness, contrast, size."""

import re

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from pictures import lightness, luminance

from surgeon.imaging.style import PALETTE, PAPER, SCORES, VERMILION, WEIGHTS, house_style, new_figure

pytestmark = pytest.mark.usefixtures("nothing_global")


def test_equal_steps_of_weight_are_equal_steps_of_lightness():
    steps = lightness(WEIGHTS(np.linspace(0, 1, 101)))
    assert np.abs(steps - np.linspace(steps[0], steps[-1], 101)).max() < 1.5
    assert steps[0] > 96
    assert steps[-1] < 17


def test_scores_darken_alike_on_both_sides_of_a_pale_zero():
    steps = lightness(SCORES(np.linspace(0, 1, 257)))
    assert np.abs(steps - steps[::-1]).max() < 1.5
    assert np.abs(steps[128:] - np.linspace(97.5, 30, 129)).max() < 2
    orange, blue = SCORES(np.linspace(0, 0.4, 50)), SCORES(np.linspace(0.6, 1, 50))
    assert (orange[:, 0] > orange[:, 2]).all()  # red over blue, which no kind of colour blindness confuses
    assert (blue[:, 0] < blue[:, 2]).all()


def test_a_figure_in_the_house_style_is_opaque_and_legible():
    fig, ax = new_figure()
    assert isinstance(ax, Axes)
    assert fig.get_facecolor() == ax.get_facecolor() == to_rgba(PAPER)
    assert fig.get_size_inches()[0] == 6.4
    (line,) = ax.plot([1, 2, 3])
    (named,) = ax.plot([3, 2, 1], color=VERMILION)
    assert to_rgba(line.get_color()) == to_rgba(PALETTE[0])
    assert line.get_linewidth() == named.get_linewidth() == 2
    fig.draw_without_rendering()
    texts = [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()]
    assert min(text.get_fontsize() for text in texts) >= 10
    _, axes = new_figure(2, np.int64(3), size=(5, 7), sharex="col", sharey=True)
    assert axes.shape == (2, 3)
    assert axes[0, 0].figure.get_size_inches().tolist() == [5, 7]
    assert axes[0, 0].get_shared_y_axes().joined(axes[0, 0], axes[1, 2])
    assert axes[0, 0].get_shared_x_axes().joined(axes[0, 0], axes[1, 0])
    assert not axes[0, 0].get_shared_x_axes().joined(axes[0, 0], axes[0, 1])


def test_the_style_is_what_rc_context_takes():
    with matplotlib.rc_context(house_style()):
        assert matplotlib.rcParams["svg.fonttype"] == "path"
        assert matplotlib.rcParams["font.size"] >= 10
    house_style()["font.size"] = 1
    assert house_style()["font.size"] >= 10


def test_every_colour_of_the_palette_can_be_told_from_paper_and_from_the_others():
    light = lightness([to_rgba(colour) for colour in PALETTE])
    contrast = 1.05 / (luminance([to_rgba(colour) for colour in PALETTE]) + 0.05)
    assert contrast[:3].min() >= 3  # WCAG 2, for lines
    assert len(set(light.round())) == len(PALETTE)


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ((0,), "rows must be an integer of at least 1, got 0."),
        ((1, True), "columns must be an integer of at least 1, got True."),
    ],
    ids=["rows", "columns"],
)
def test_panels_are_counted(panels, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        new_figure(*panels)
