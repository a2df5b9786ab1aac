"""What can be wrong with a patient, in plain words, and how to see it."""

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from surgeon.checkup.finding import LAWS


class Suspicion(NamedTuple):
    """What may be wrong, and the question that tells.

    Attributes
    ----------
    words : str
        What is wrong, in plain words.
    ask : str
        What to ask a patient: the answer tells this from what is like it.
    """

    words: str
    ask: str


#: finding: what is wrong, and what to ask
SUSPICIONS: Mapping[str, Suspicion] = MappingProxyType(
    {
        "batch elements apart": Suspicion(
            "texts of a batch know of each other",
            "Change one text alone. Does another's output move?",
        ),
        "softmax over keys": Suspicion(
            "the softmax runs over the wrong axis",
            "Add up the weights over each axis in turn. Which sums are one?",
        ),
        "values in step with keys": Suspicion(
            "weights go to other keys' values",
            "V is the identity, and one key wins all. Which other place"
            " has it?",
        ),
        "scale": Suspicion(
            "scores are divided by the wrong number, or by none",
            "Two keys of known scores, at two widths. How do their weights"
            " compare?",
        ),
        "convex hull": Suspicion(
            "weights are not divided by their sum",
            "Let Q be zeros. Is each weight one over the keys, or one?",
        ),
        "weights returned": Suspicion(
            "the weights handed back are not those used",
            "Let V be the identity, with a mask. Is the output the weights?",
        ),
        "gradients": Suspicion(
            "the gradient is cut or wrong",
            "The output is right. Is the gradient the formula's, too?",
        ),
        "mask obeyed": Suspicion(
            "the mask counts for nothing",
            "Hide one key. Is its weight what it was?",
        ),
        "mask polarity": Suspicion(
            "the mask is read the wrong way round",
            "Hide one key. Is it the only one with a weight?",
        ),
        "mask diagonal": Suspicion(
            "the causal mask is one diagonal off",
            "causal=True. Does a word see itself, and not the next?",
        ),
        "mask before softmax": Suspicion(
            "the mask comes after the softmax",
            "Hide one key. What do the weights of a row sum to?",
        ),
        "minus infinity": Suspicion(
            "hidden scores become a number, not -∞",
            "The mask counts. Show one key, of score -1e20: does a hidden"
            " one win?",
        ),
        "padding on keys": Suspicion(
            "the mask is laid on the queries",
            "Hide key 3 from all. Is column 3 empty, or row 3?",
        ),
        "rectangular causal": Suspicion(
            "with more keys, the causal corner is wrong",
            "causal=True is right for five queries. Of two, does the last"
            " see all?",
        ),
        "dead rows, forward": Suspicion(
            "a query that may see nothing gets no zeros",
            "Hide all keys from all queries. Is the output zero?",
        ),
        "dead rows, backward": Suspicion(
            "a query that may see nothing sends NaN back",
            "Hide all keys from all queries. Zeros come; is a gradient NaN?",
        ),
        "large scores": Suspicion(
            "large scores overflow, or are cut off",
            "Shares are right for small scores. And for ±1000, row by row?",
        ),
        "scale before overflow": Suspicion(
            "in float16 the product overflows first",
            "The scale is right. float16, width 64, all entries 60: is it"
            " NaN?",
        ),
        "half precision": Suspicion(
            "sums are kept in half precision",
            "bfloat16, a thousand equal keys, values of 1. Is the output 1?",
        ),
        "strided inputs": Suspicion(
            "inputs are read in the wrong order of memory",
            "Hand over K as a transposed view, then as a copy. Two answers?",
        ),
        "inputs unchanged": Suspicion(
            "inputs are written over",
            "Copy Q, K and V before a call. Are they alike after it?",
        ),
    }
)


def findings() -> dict[str, Suspicion]:
    """What can be wrong with a patient, by the check-up's names.

    Returns
    -------
    dict
        The name of a finding: what is wrong, in plain words, and what to ask
        so as to see it. `diagnose` takes the name or the words.

    Examples
    --------
    >>> print(*findings()["mask polarity"], sep="\\n")
    the mask is read the wrong way round
    Hide one key. Is it the only one with a weight?
    """
    return dict(SUSPICIONS)


def named(finding: str) -> str:
    """The check-up's name for what was found."""
    said = " ".join(str(finding).casefold().split()).rstrip(".")
    names = {name: name for name in LAWS} | {
        each.words.casefold(): name for name, each in SUSPICIONS.items()
    }
    if said in names:
        return names[said]
    close = difflib.get_close_matches(said, names, 1, 0.5)
    near = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"finding must be one that findings() lists, got {finding!r}.{near}"
    )
