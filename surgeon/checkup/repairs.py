"""What to write instead of what broke a law."""

from collections.abc import Mapping

from surgeon.checkup.designs.repairs import DESIGN_REPAIRS

HIDE = "Write scores.masked_fill(hidden, -inf), before softmax"
TRIANGLE = "Write torch.ones(T, S, dtype=torch.bool).tril(S - T)"
EMPTY = (
    "or zeros, hide with torch.finfo(scores.dtype).min, and set hidden"
    " weights to 0 after softmax"
)

PARTLY = "Do the same for every query, every head and every sequence."

FUTURE = (
    (
        "padding",
        "Hide what either rule hides: past & padding[:, None, None].",
    ),
    ("raises", "If it is asked in another way, say so: causal."),
    ("alone", "Hide the future in both modes, whatever self.training is."),
    ("", "Let no output read a later token, by the mask or past it."),
)

# law: (words of what it means that it is broken, what to write instead); the
# first that fits, and words of none fit all.
REPAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "answers": (
        ("given up", "Give it more patience, or find what never ends."),
        ("answers once", "Find what differs from one call to the next."),
        (
            "",
            "If it is called in another way, say so: layout, names, widths,"
            " options.",
        ),
    ),
    "same answer twice": (
        (
            "dropout",
            "Write F.dropout(weights, p, self.training), or p = 0 in use.",
        ),
        (
            "under too few",
            "Keep nothing from one call to the next, or keep it under all"
            " that it depends on: both lengths, precision, device.",
        ),
        ("half precision", "Keep it in float64, or once for each precision."),
        ("", "Keep nothing from one call to the next."),
    ),
    "same by every road": (
        (
            "mask",
            "Hide the same on every road: build the mask before they part.",
        ),
        ("", "Compute the output in one place, whatever is handed back."),
    ),
    "batch elements apart": (
        ("by design", "Transpose to [batch, tokens, width] first."),
        ("", "Mix nothing along the axis of the batch."),
    ),
    "heads apart": (
        (
            ", and joined",
            "Split by unflatten(-1, (H, d)).transpose(1, 2), and join by"
            " transpose(1, 2).flatten(2).",
        ),
        ("joined", "Join by transpose(1, 2).flatten(2)."),
        ("split", "Split by unflatten(-1, (H, d)).transpose(1, 2)."),
        ("by design", "Transpose to [batch, heads, tokens, width] first."),
        ("", "Mix nothing along the axis of the heads."),
    ),
    "grouped heads in order": (
        ("", "Write K.repeat_interleave(group, 1), not K.repeat."),
    ),
    "softmax over keys": (("", "Write torch.softmax(scores, dim=-1)."),),
    "values in step with keys": (
        ("", "Reorder keys and values alike, or neither."),
    ),
    "scale": (
        (
            "",
            "Write (Q * factor) @ K.mT; the factor is Q.shape[-1] ** -0.5,"
            " or what you declare by scale.",
        ),
    ),
    "convex hull": (
        (
            "division",
            "Divide by powers.sum(-1, keepdim=True), over the keys.",
        ),
    ),
    "known form": (
        (
            "angles do not fit",
            "Lay angles out as pairs are: torch.cat([a, a], -1) for halves,"
            " a.repeat_interleave(2, -1) for neighbours.",
        ),
        (
            "not shifted",
            "Divide by torch.exp(-m) + powers.sum(-1, keepdim=True): the one"
            " is shifted by the maximum m, too.",
        ),
        (
            "nobody wrote to",
            "Take as many keys of a cache as were written, or hide the rest"
            " before softmax.",
        ),
        (
            "empty keys",
            "Hide what fills up the last block, before softmax.",
        ),
        (
            "blocks of",
            "Let every block of keys have the same factor, and what was"
            " summed before it the new maximum.",
        ),
        (
            "belongs to more",
            "Let a score rest on its own query, its own key and their"
            " distance alone.",
        ),
        ("dropped", "Let every query see its own key."),
        (
            "not what was declared",
            "Declare what is there, or write what was declared.",
        ),
    ),
    "weights returned": (
        ("", "Hand back what multiplied V, mask and softmax included."),
    ),
    "gradients": (
        (
            "While training",
            "On the way back, multiply by what dropout multiplied by: the"
            " same zeros, and the same 1 / (1 - p).",
        ),
        ("NaN", "Take no root or norm of zero, not even to hide it later."),
        (
            "slope",
            "Send back what each step forward multiplies by: let autograd do"
            " it, or try your own with torch.autograd.gradcheck.",
        ),
        ("", "Write no detach, .data or no_grad on the way to the output."),
    ),
    "mask obeyed": (
        ("refuses", "If it takes masks in another way, say so: mask_shape."),
        (
            "zeros and ones",
            "Write scores.masked_fill(mask == 0, -inf), before softmax.",
        ),
        ("", f"{HIDE}."),
    ),
    "mask polarity": (
        ("not seen", "Hide what the mask hides, and nothing else."),
        (
            "past",
            "Hide what lies above the diagonal, and nothing else. If the"
            " mask is meant to be read in another way, say so: mask.",
        ),
        (
            "",
            "Turn it round: masked_fill(~mask, -inf) where True attends,"
            " masked_fill(mask, -inf) where True blocks. If it is meant as"
            " it is, say so: mask.",
        ),
    ),
    "mask diagonal": (("", f"{TRIANGLE}, True where a query may look."),),
    "mask before softmax": (("", f"{HIDE}, and no weights after it."),),
    "minus infinity": (
        ("among hidden keys", f"{HIDE} and before its maximum is taken."),
        ("", f"{HIDE}: minus infinity itself."),
    ),
    "padding on keys": (
        (
            "inverted",
            "Turn it round. If it is meant as it is, say so: mask.",
        ),
        (
            "",
            "Hide keys, from every query: by a mask [batch, 1, 1, keys], or"
            " [batch, 1, keys] without heads.",
        ),
    ),
    "one mask for all": (
        ("", "Expand it: mask.expand(B, -1, -1), and repeat nothing else."),
    ),
    "rectangular mask": (
        ("", "Take both lengths from the scores: *_, T, S = scores.shape."),
    ),
    "mask and padding": (
        ("", "Hide what either hides: allowed = mask & padding[:, None]."),
    ),
    "future, training": FUTURE,
    "future, evaluating": FUTURE,
    "rectangular causal": (
        (
            "top-left",
            f"{TRIANGLE}. If top-left is meant, say so:"
            ' alignment="top-left".',
        ),
        (
            "bottom-right",
            "Write torch.ones(T, S, dtype=torch.bool).tril(). If"
            ' bottom-right is meant, say so: alignment="bottom-right".',
        ),
        ("", f"{TRIANGLE}."),
    ),
    "dead rows, forward": (
        ("harms", "Let each row of weights rest on its own scores alone."),
        ("gives zeros", 'If zeros are meant, say so: dead_rows="zero".'),
        ("", f"F{EMPTY}. If what it gives is meant, say so: dead_rows."),
    ),
    "dead rows, backward": (
        ("", f"Make no NaN on the way forward: f{EMPTY}."),
    ),
    "dropout after softmax": (
        ("", "Write F.dropout(torch.softmax(scores, -1), p, training)."),
    ),
    "large scores": (
        ("refuses", "Scores may be large: refuse none that are finite."),
        (
            "maximum",
            "Subtract each row's own maximum before exp: scores -"
            " scores.amax(-1, keepdim=True).",
        ),
        ("digits", "Subtract no large numbers that are almost alike."),
        ("", "Clamp no scores, and subtract each row's own maximum."),
    ),
    "scale before overflow": (("", "Write (Q / d_k ** 0.5) @ K.mT."),),
    "single precision": (
        ("", "Make no half precision of float32, nor tables in it."),
    ),
    "autocast": (
        (
            "raises",
            "Take the precision of a tensor that is there: scores.dtype, not"
            " Q.dtype or a fixed one.",
        ),
        ("", "Add up in float32, and scale Q before the product."),
    ),
    "compiled": (
        ("raises", "Compile what is around it, or keep to plain tensors."),
        (
            "",
            "Branch on sizes and flags alone, on nothing that is kept.",
        ),
    ),
    "half precision": (
        (
            "",
            "Add up in float32: torch.softmax(scores, -1,"
            " dtype=torch.float32).",
        ),
    ),
    "strided inputs": (("", "Call contiguous() first, or read by strides."),),
    "inputs unchanged": (
        ("", "Write x = x * y, not x *= y; masked_fill, not masked_fill_."),
    ),
    "random state": (
        ("", "Draw from a torch.Generator of its own, and seed nothing."),
    ),
} | DESIGN_REPAIRS


def instead_of(
    name: str,
    meaning: str,
    repairs: Mapping[str, tuple[tuple[str, str], ...]] = REPAIRS,
) -> str:
    """What to write instead where a law is broken, and means that."""
    if " So it is " in meaning and meaning.endswith(" alone."):
        return PARTLY
    for words, repair in repairs.get(name, ()):
        if words in meaning:
            return repair
    return ""
