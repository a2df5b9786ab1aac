"""The sentence that every page of Anatomy takes up, and its vectors.

*The surgeon dropped the scalpel because it*: seven words, each written down
by hand in four coordinates that have names. A row of `Q` is what its word
looks for. A row of `K` is what its word is, and what it gives: `V` is `K`. In
a model all three would come from learned matrices.

`COORDINATES` names the columns, `TOKENS` the rows; `Q`, `K` and `V` are
float64, [7, 4].

Examples
--------
>>> it = TOKENS.index("it")
>>> dict(zip(COORDINATES, Q[it].tolist()))  # a thing, sharp, no person
{'thing': 3.0, 'sharp': 1.0, 'person': -1.0, 'deed': 0.0}
>>> (Q @ K.mT)[it].tolist()  # its best match is the scalpel
[0.0, -1.0, 0.0, 0.0, 7.0, 0.0, 3.0]
"""

import torch

COORDINATES = ("thing", "sharp", "person", "deed")
TOKENS = ("the", "surgeon", "dropped", "the", "scalpel", "because", "it")

Q = torch.tensor(
    [
        [1, 0, 1, 0],  # the: a noun, a thing or a person
        [0, 0, 0, 2],  # surgeon: what was done
        [2, 0, 2, 0],  # dropped: who did it, and to what
        [1, 0, 1, 0],  # the
        [0, 0, 0, 2],  # scalpel: what happened to it
        [0, 0, 0, 2],  # because: which deed is explained
        [3, 1, -1, 0],  # it: a thing, sharp if possible, no person
    ],
    dtype=torch.float64,
)
K = torch.tensor(
    [
        [0, 0, 0, 0],  # the
        [0, 1, 2, 0],  # surgeon: a person, a little sharp
        [0, 0, 0, 2],  # dropped: a deed
        [0, 0, 0, 0],  # the
        [2, 1, 0, 0],  # scalpel: a thing, sharp
        [0, 0, 0, 1],  # because: something of a deed
        [1, 0, 0, 0],  # it: a thing
    ],
    dtype=torch.float64,
)
V = K
