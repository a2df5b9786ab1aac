"""Which axis is the heads'?"""

import pytest
import torch

from surgeon.recording.layers import by_head

SHAPES = {
    "as it is": ((2, 3, 5, 7), 3, (2, 5), (2, 3, 5, 7)),
    "heads folded into the batch": ((6, 5, 7), 3, (2, 5), (2, 3, 5, 7)),
    "one head for each text": ((6, 5, 7), 3, (6, 5), (6, 1, 5, 7)),
    "as many heads as texts": ((9, 5, 7), 3, (3, 5), (3, 3, 5, 7)),
    "nobody says": ((6, 5, 7), None, (2, 5), (6, 1, 5, 7)),
    "no batch": ((5, 7), 3, (5, 11), (1, 1, 5, 7)),
    "groups of one query": ((2, 3, 4, 7), 12, (2, 1), (2, 12, 1, 7)),
    "groups": ((2, 3, 4, 5, 7), 12, (2, 5), (2, 12, 5, 7)),
    "groups that nobody counts": ((2, 3, 4, 5, 7), None, (2, 5), (2, 12, 5, 7)),
    "blocks that nobody counts": ((2, 11, 3, 4, 7), None, (2, 44), (22, 3, 4, 7)),
    "blocks": ((2, 11, 3, 5, 7), 3, (2, 5), (22, 3, 5, 7)),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_weights_of_any_shape(shape):
    given, heads, batch, wanted = shape
    weights = torch.arange(torch.Size(given).numel()).reshape(given)
    found = by_head(weights, heads, batch)
    assert tuple(found.shape) == wanted
    assert torch.equal(found.flatten(), weights.flatten())
    assert found.data_ptr() == weights.data_ptr()
