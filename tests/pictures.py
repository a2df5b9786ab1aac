"""What a figure shows, read off Matplotlib's artists, and weights to draw."""

import numpy as np
import torch
from oracle import normal

from surgeon.anatomy.softmax import stable_softmax

TOKENS = ["the", "surgeon", "cut", "the", "wire"]
SEVEN = ["le", "chirurgien", "coupe", "un", "fil", "très", "fin"]


def weights_of(*shape, mask=None, dtype=torch.float64):
    scores = 2 * normal(*shape, grad=False)
    return stable_softmax(scores if mask is None else scores + mask).to(dtype)


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def printed(ax):
    """Text by (row, column)."""
    return {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in ax.texts}


def covered(ax, shape, hatched=True):
    """The cells that lie under rectangles."""
    cells = torch.zeros(shape, dtype=torch.bool)
    for patch in ax.patches:
        if bool(patch.get_hatch()) == hatched:
            left, top, width, height = (*patch.get_xy(), patch.get_width(), patch.get_height())
            rows, columns = slice(round(top + 0.5), round(top + 0.5 + height)), slice(round(left + 0.5), None)
            cells[rows, columns][:, : round(width)] = True
    return cells


def luminance(rgba):
    c = np.asarray(rgba)[..., :3]
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ np.array([0.2126, 0.7152, 0.0722])


def lightness(rgba):
    return 116 * np.cbrt(luminance(rgba)) - 16
