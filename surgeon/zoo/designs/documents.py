"""Several texts in one row, which must not see each other."""

# Pages show these functions, which all have the signature of the first.
# mypy: allow-untyped-defs, check-untyped-defs

from surgeon.anatomy.masks import combine_masks
from surgeon.zoo.designs.design import ahead, scored, sound, weighed, wrong


def together(documents):
    """[B, T] -> [B, T, T]: whether two tokens are of one document."""
    return documents[:, :, None] == documents[:, None, :]


def attended(Q, K, V, mask, near):
    """Attention where a mask and documents, if there are any, allow it."""
    masks = [it for it in (mask, near) if it is not None]
    return weighed(scored(Q, K), combine_masks(*masks) if masks else None) @ V


@sound(documents="documents")
def packed(Q, K, V, mask=None, *, documents=None):
    """Documents side by side: each token sees its own document."""
    near = None if documents is None else together(documents)
    return attended(Q, K, V, mask, near)


@sound(documents="documents", causal=True, mask="none")
def packed_causal(Q, K, V, *, documents=None):
    """Documents side by side: each token sees what came before in its own."""
    near = ahead(Q, K) <= 0
    near = near if documents is None else near & together(documents)
    return weighed(scored(Q, K), near) @ V


@wrong(
    packed_causal,
    "documents",
    thread="alex-hh/profam#495",
    repair="Hide keys of other documents; new positions hide nothing.",
)
def documents_unread(Q, K, V, *, documents=None):
    """Documents are told apart by their positions alone."""
    return weighed(scored(Q, K), ahead(Q, K) <= 0) @ V


@wrong(
    packed_causal,
    "future, evaluating",
    thread="facebookresearch/xformers#1185",
    repair="Both: the same document, and not ahead.",
)
def documents_out_of_order(Q, K, V, *, documents=None):
    """With documents, the causal mask is lost on the way."""
    near = ahead(Q, K) <= 0 if documents is None else together(documents)
    return weighed(scored(Q, K), near) @ V


@wrong(
    packed,
    "documents",
    thread="meta-pytorch/attention-gym#98",
    repair="A mask for each row of the batch.",
)
def documents_of_the_first(Q, K, V, mask=None, *, documents=None):
    """The first row's documents are used for the whole batch."""
    near = None if documents is None else together(documents[:1])
    return attended(Q, K, V, mask, near)


@wrong(packed, "documents", repair="The same document, not nearly so.")
def next_document_seen(Q, K, V, mask=None, *, documents=None):
    """Each document sees the one before it, too."""
    near = None
    if documents is not None:
        between = documents[:, :, None] - documents[:, None, :]
        near = (between == 0) | (between == 1)
    return attended(Q, K, V, mask, near)
