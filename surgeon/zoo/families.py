"""The families of faults: which belong together, and where each is told."""

import re
from typing import NamedTuple

from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.fault import Fault


class Family(NamedTuple):
    """Faults that the book tells of on one page.

    Attributes
    ----------
    name : str
        A word for it, and the name of its page's file.
    findings : tuple of str
        The findings of `surgeon.examine` that name its faults.
    """

    name: str
    findings: tuple[str, ...]

    @property
    def page(self) -> str:
        """The page's address."""
        return f"ablations/zoo/{self.name}"

    @property
    def faults(self) -> list[Fault]:
        """In the order of the catalogue."""
        return [f for f in ZOO.values() if f.finding in self.findings]


#: name: Family, in the order of the book
FAMILIES = {
    name: Family(name, findings)
    for name, findings in {
        "masks": (
            "mask obeyed",
            "mask polarity",
            "mask before softmax",
            "minus infinity",
        ),
        "padding": (
            "padding on keys",
            "dead rows, forward",
            "dead rows, backward",
        ),
        "time": (
            "mask diagonal",
            "rectangular causal",
            "future, evaluating",
            "future, training",
        ),
        "scale": ("scale", "scale before overflow"),
        "softmax": ("softmax over keys", "convex hull", "large scores"),
        "heads": (
            "heads apart",
            "grouped heads in order",
            "batch elements apart",
            "values in step with keys",
        ),
        "memory": (
            "gradients",
            "weights returned",
            "inputs unchanged",
            "strided inputs",
            "half precision",
        ),
        "dropout": (
            "same answer twice",
            "dropout after softmax",
            "random state",
        ),
    }.items()
}


def family_of(fault: Fault) -> Family:
    """The family that a fault belongs to.

    Parameters
    ----------
    fault : Fault
        An entry of `surgeon.zoo.catalogue.ZOO`.

    Returns
    -------
    Family

    Examples
    --------
    >>> family_of(ZOO["lost_mask"]).name
    'masks'
    """
    (family,) = (f for f in FAMILIES.values() if fault.finding in f.findings)
    return family


def label(fault: Fault) -> str:
    """What a page calls the place where a fault is told.

    Parameters
    ----------
    fault : Fault
        An entry of `surgeon.zoo.catalogue.ZOO`.

    Returns
    -------
    str
        Words with hyphens, after "bug-".

    Examples
    --------
    >>> label(ZOO["CausalInTrainingOnly"]), label(ZOO["lost_mask"])
    ('bug-causal-in-training-only', 'bug-lost-mask')
    """
    words = re.sub("(?<=[a-z])(?=[A-Z])|_", "-", fault.name)
    return f"bug-{words.lower()}"


def title(fault: Fault) -> str:
    """The name of a fault in words, as its heading has it.

    Parameters
    ----------
    fault : Fault
        An entry of `surgeon.zoo.catalogue.ZOO`.

    Returns
    -------
    str

    Examples
    --------
    >>> title(ZOO["ViewedHeads"])
    'Viewed heads'
    """
    return label(fault).removeprefix("bug-").replace("-", " ").capitalize()
