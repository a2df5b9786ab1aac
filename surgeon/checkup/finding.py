"""What a check-up looks at: findings, and the laws behind them."""

from dataclasses import dataclass, field

from torch import Tensor

BOOK = "https://attention-surgeon.github.io/attention-surgeon/book/"


@dataclass(frozen=True)
class Finding:
    """One result of an examination.

    Parameters
    ----------
    name : str
        A key of `LAWS`.
    passed : bool or None
        Whether the law holds; None where that cannot be told, and `meaning`
        says why.
    measured : str or float
        What was seen.
    bound : str or float
        What a sound subject shows.
    meaning : str
        The likely cause of a failure, in words; the law itself where it
        holds.
    page : str
        Where the book explains it, such as "anatomy/masking".
    map : Tensor, optional
        [T, S]: how strongly output `i` depends on token `j`, for the two
        findings about the future.
    weight : str
        What a broken law weighs: a key of `WEIGHTS`; empty where none is
        broken.
    instead : str
        What to write instead; empty where nobody knows.
    accepted : str
        The reason for which the caller accepts that this law is broken.
    """

    name: str
    passed: bool | None
    measured: str | float = ""
    bound: str | float = ""
    meaning: str = ""
    page: str = ""
    map: Tensor | None = field(default=None, repr=False, compare=False)
    weight: str = ""
    instead: str = ""
    accepted: str = ""

    @property
    def verdict(self) -> str:
        """ "pass", "FAIL" or "n/a"."""
        return {True: "pass", False: "FAIL", None: "n/a"}[self.passed]

    @property
    def counts(self) -> bool:
        """Whether the law is broken, and nobody accepts that."""
        return self.passed is False and not self.accepted

    @property
    def status(self) -> str:
        """What a broken law weighs, or that it is accepted.

        Of any other, the verdict.
        """
        if self.passed is not False:
            return self.verdict
        return "accepted" if self.accepted else self.weight

    @property
    def named(self) -> str:
        """The law, and what it weighs if it is no fault."""
        light = self.weight not in ("", "fault")
        return f"{self.name} ({self.weight})" if light else self.name

    @property
    def advice(self) -> str:
        """What to write instead, in a sentence or two, if that is known."""
        return f"Instead: {self.instead}" if self.instead else ""

    @property
    def address(self) -> str:
        """Where the book's page is published."""
        return f"{BOOK}{self.page}.html"


# What a broken law weighs, the heaviest first
WEIGHTS = {
    "fault": "wrong as it was asked here",
    "hazard": "right here, and breaks elsewhere",
    "choice": "a convention that others follow too",
}


# How a finding begins that no probe could come to
RAISES = "Cannot be told: the subject raises "

# What a mask may be taken for
READING = (
    "mask obeyed",
    "mask polarity",
    "mask before softmax",
    "minus infinity",
    "padding on keys",
)
FUTURE = ("future, training", "future, evaluating")

# name: (what holds for a sound attention, the page about it), in the order of
# a report
ALL_LAWS = {
    "answers": (
        "Queries, keys and values give an output of their shape.",
        "reference/checkup",
    ),
    "same answer twice": (
        "Asked twice, it answers alike: no dropout outside training.",
        "procedures/dropout",
    ),
    "same by every road": (
        "Weights or none, gradients or none: the output is the same.",
        "anatomy/attention",
    ),
    "batch elements apart": (
        "No sequence of a batch knows of another.",
        "anatomy/heads",
    ),
    "heads apart": (
        (
            "No head knows of another, and no token changes place when heads"
            " are split."
        ),
        "anatomy/heads",
    ),
    "grouped heads in order": (
        "Neighbouring query heads share a key head.",
        "procedures/multi-query",
    ),
    "softmax over keys": (
        "Each query shares one unit of weight among the keys.",
        "anatomy/softmax",
    ),
    "values in step with keys": (
        "The weight found for a key goes to that key's value.",
        "anatomy/attention",
    ),
    "scale": (
        "Scores are divided by the square root of the heads' width.",
        "anatomy/scaling",
    ),
    "convex hull": ("Each output lies between the values.", "checks/rank"),
    "known form": (
        "The output is softmax(QKᵀ/√d_k)V, to rounding.",
        "anatomy/attention",
    ),
    "norm of queries and keys": (
        "Queries and keys are normalised as declared.",
        "checks/score-growth",
    ),
    "positions": (
        "Places come in as declared.",
        "anatomy/positions",
    ),
    "soft cap": (
        "Scores are capped as declared, before keys are hidden.",
        "checks/score-growth",
    ),
    "window": (
        "Keys outside the declared window are hidden, and no others.",
        "procedures/sparse",
    ),
    "sink": (
        "The declared sink takes its share beside the keys.",
        "procedures/sparse",
    ),
    "linear attention": (
        "Weights are products of features, as declared.",
        "procedures/sparse",
    ),
    "documents": (
        "Tokens see those of their own document alone.",
        "anatomy/masking",
    ),
    "weights returned": (
        "The weights handed back are those that multiplied the values.",
        "anatomy/attention",
    ),
    "gradients": (
        "The gradients are those of the formula.",
        "anatomy/attention",
    ),
    "mask obeyed": (
        "What the mask hides has no weight.",
        "ablations/no-mask",
    ),
    "mask polarity": (
        "What the mask shows is seen, and what it hides is not.",
        "anatomy/masking",
    ),
    "mask diagonal": (
        "A causal token sees itself, and not the next one.",
        "anatomy/masking",
    ),
    "mask before softmax": (
        "A hidden key takes no share: its score is out before the softmax.",
        "anatomy/masking",
    ),
    "minus infinity": (
        "No score, however low, is outbid by a hidden key.",
        "checks/minus-infinity",
    ),
    "padding on keys": (
        "Padding hides keys, from every query of its own sequence.",
        "anatomy/masking",
    ),
    "one mask for all": (
        "A mask with a batch of one hides the same in every sequence.",
        "anatomy/masking",
    ),
    "rectangular mask": (
        "A mask of more keys than queries, or of fewer, is obeyed.",
        "anatomy/masking",
    ),
    "mask and padding": (
        "With a mask and padding, a query sees what both show.",
        "anatomy/masking",
    ),
    "future, training": (
        "While training, no causal output depends on a later token.",
        "ablations/wrong-mask",
    ),
    "future, evaluating": (
        "While evaluating, no causal output depends on a later token.",
        "ablations/no-mask",
    ),
    "rectangular causal": (
        "With more keys than queries, the last query sees the last key.",
        "procedures/multi-query",
    ),
    "dead rows, forward": (
        "A query that may look at nothing gives zeros.",
        "anatomy/masking",
    ),
    "dead rows, backward": (
        "A query that may look at nothing sends no NaN back.",
        "anatomy/masking",
    ),
    "dropout after softmax": (
        "Dropout sets weights to zero and leaves the scores alone.",
        "procedures/dropout",
    ),
    "large scores": (
        "A constant added to a row of scores changes nothing, however large.",
        "anatomy/softmax",
    ),
    "scale before overflow": (
        "Scores that fit into float16 once scaled do not overflow before.",
        "anatomy/scaling",
    ),
    "single precision": (
        "In float32 it is as in float64, but for rounding.",
        "anatomy/softmax",
    ),
    "half precision": (
        "Half precision costs no more than rounding each stage once.",
        "anatomy/softmax",
    ),
    "autocast": (
        "Under autocast, it loses no more than rounding to bfloat16.",
        "anatomy/softmax",
    ),
    "compiled": (
        "torch.compile changes nothing but rounding.",
        "anatomy/attention",
    ),
    "strided inputs": ("Inputs are read by their strides.", "anatomy/heads"),
    "inputs unchanged": (
        "Inputs are left as they were.",
        "anatomy/attention",
    ),
    "random state": (
        "Without dropout, no global generator is drawn from or seeded.",
        "procedures/dropout",
    ),
}

# Those of what may be declared: in a report of who declares it
DESIGNS = (
    "norm of queries and keys",
    "positions",
    "soft cap",
    "window",
    "sink",
    "linear attention",
    "documents",
)
# Those of everyone
LAWS = {name: law for name, law in ALL_LAWS.items() if name not in DESIGNS}
