"""What to write instead of what broke a law."""

HIDE = "Write scores.masked_fill(hidden, -inf), before softmax"
TRIANGLE = "Write torch.ones(T, S, dtype=torch.bool).tril(S - T)"
EMPTY = (
    "or zeros, hide with torch.finfo(scores.dtype).min, and set hidden"
    " weights to 0 after softmax"
)

FUTURE = (
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
        ("", "Keep nothing from one call to the next."),
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
    "weights returned": (
        ("", "Hand back what multiplied V, mask and softmax included."),
    ),
    "gradients": (
        ("NaN", "Take no root or norm of zero, not even to hide it later."),
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
    "minus infinity": (("", f"{HIDE}: minus infinity itself."),),
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
        ("", "Clamp no scores, and subtract each row's own maximum."),
    ),
    "scale before overflow": (("", "Write (Q / d_k ** 0.5) @ K.mT."),),
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
}


def instead_of(name: str, meaning: str) -> str:
    """What to write instead where a law is broken, and means that."""
    for words, repair in REPAIRS.get(name, ()):
        if words in meaning:
            return repair
    return ""
