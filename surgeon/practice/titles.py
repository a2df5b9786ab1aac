"""The titles of the pages that a verdict may name."""

from collections.abc import Mapping
from types import MappingProxyType

#: address: title. The pages are not installed with the package; a test holds
#: each against the page's own heading.
TITLES: Mapping[str, str] = MappingProxyType(
    {
        "ablations/no-mask": "No mask at all",
        "ablations/no-scale": "No scale",
        "ablations/wrong-mask": "The wrong mask",
        "ablations/zoo/dropout": "Bugs of dropout and randomness",
        "ablations/zoo/heads": "Bugs of heads and batches",
        "ablations/zoo/masks": "Bugs of masks",
        "ablations/zoo/memory": "Bugs of numbers and memory",
        "ablations/zoo/padding": "Bugs of padding and empty rows",
        "ablations/zoo/scale": "Bugs of scale",
        "ablations/zoo/softmax": "Bugs of softmax",
        "ablations/zoo/time": "Bugs of time",
        "anatomy/attention": "Attention",
        "anatomy/heads": "Heads",
        "anatomy/masking": "Masking",
        "anatomy/positions": "Positions",
        "anatomy/scaling": "Scaling",
        "anatomy/scores": "Scores",
        "anatomy/softmax": "Softmax",
        "checks/minus-infinity": "Minus infinity",
        "checks/output-width": "Output width",
        "checks/rank": "Rank",
        "checks/score-growth": "Score growth",
        "imaging/heatmaps": "Heatmaps",
        "imaging/patterns": "Patterns",
        "procedures/dropout": "Dropout",
        "procedures/multi-query": "Multi-query attention",
        "procedures/sparse": "Sparse attention",
        "reference/checkup": "Check-up",
    }
)
