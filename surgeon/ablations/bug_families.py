"""The bugs by families: what their pages say of each, and measure once."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from surgeon.ablations.bug_scenes import Scene, scene
from surgeon.ablations.bug_zoo import (
    OTHERS,
    BugComparison,
    compare_bugs,
    known_names,
)
from surgeon.book.once import once, once_each
from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.families import FAMILIES, label, title

# nats; a loss this near to the sound model's would make nobody look twice
NEAR = 0.1
# what shows a fault that five tokens cannot show
UNSEEN = {
    "half_precision_sums": "hundreds of keys",
    "SeedsEverything": "numbers drawn later",
}


def compare_families(
    families: Iterable[str] | None = None, **options: Any
) -> BugComparison:
    """`compare_bugs` by families, each of which is trained once in a build.

    Parameters
    ----------
    families : iterable of str, optional
        Names in `surgeon.zoo.families.FAMILIES`; all if not given. How far
        sound models stray is measured only with all of them.
    **options
        As `compare_bugs` takes them.

    Returns
    -------
    BugComparison
        Its rows are in the order of the families.

    Raises
    ------
    ValueError
        If a name is not that of a family, or as `compare_bugs`.

    Examples
    --------
    >>> small = {"steps": 2, "last": 1, "d_model": 4, "num_heads": 2}
    >>> found = compare_families(["scale"], length=5, held_out=3, **small)
    >>> found.summary.fault.tolist()[-1]
    'scaled_too_late'
    """
    names = known_names("families", families, FAMILIES, "families")
    others = OTHERS if families is None else 0
    bare = once(compare_bugs, (), others=others, **options)
    calls = [
        (tuple(fault.name for fault in FAMILIES[name].faults),)
        for name in names
    ]
    found = once_each(compare_bugs, calls, others=0, **options)
    histories = [one.history.query("fault != 'sound'") for one in found]
    return bare._replace(
        summary=pd.concat([one.summary for one in found], ignore_index=True),
        history=pd.concat([bare.history, *histories], ignore_index=True),
    )


def signed(number: float) -> str:
    """A difference of losses as pages write it: three digits, and a sign.

    Parameters
    ----------
    number : float
        In nats; NaN is written as a dash.

    Returns
    -------
    str

    Examples
    --------
    >>> signed(-0.1234), signed(0.0001), signed(float("nan"))
    ('−0.123', '0.000', '–')
    """
    if number != number:
        return "–"
    text = f"{number:+.3f}".replace("-", "−")
    return "0.000" if text[1:] == "0.000" else text


def reading(row: Any) -> str:
    """What the training loss says of a fault, in a word or three.

    Parameters
    ----------
    row : pandas.Series
        A row of the summary of `compare_bugs`.

    Returns
    -------
    str
        "not tried"; "nothing", if no step is changed; "impossible", if the
        loss is below the source's own; "as good as sound", if it is within
        `NEAR` of the sound model's; "better" or "worse".

    Examples
    --------
    >>> lost = {"changes": "the step", "cheats": True, "gap": -1.1}
    >>> reading(pd.Series(lost))
    'impossible'
    """
    if row.changes == "no padding here":
        return "not tried"
    if row.changes == "nothing":
        return "nothing"
    if row.cheats:
        return "impossible"
    if abs(row.gap) <= NEAR:
        return "as good as sound"
    return "better" if row.gap < 0 else "worse"


def family_scenes(name: str, *, seed: int = 0) -> dict[str, Scene]:
    """The picture of each fault of a family that five tokens can show.

    Parameters
    ----------
    name : str
        A key of `surgeon.zoo.families.FAMILIES`.
    seed : int
        As `surgeon.ablations.bug_scenes.scene` takes it.

    Returns
    -------
    dict
        fault's name: Scene

    Examples
    --------
    >>> list(family_scenes("dropout"))
    ['DropoutInEvaluation', 'DropoutBeforeSoftmax']
    """
    faults = [fault for fault in FAMILIES[name].faults if fault.scene]
    return {fault.name: scene(fault, seed=seed) for fault in faults}


def family_table(result: BugComparison) -> pd.DataFrame:
    """What was measured of some faults, a row each, in words and numbers.

    Parameters
    ----------
    result : BugComparison
        As `compare_families` gives it.

    Returns
    -------
    pandas.DataFrame
        `bug`, a link within the page; what `training shows`; three
        differences of losses as `signed` writes them; and the circumstance
        that the bug `shows with`.

    Examples
    --------
    >>> small = {"steps": 2, "last": 1, "d_model": 4, "num_heads": 2}
    >>> found = compare_families(["scale"], length=5, held_out=3, **small)
    >>> family_table(found).iloc[-1].tolist()[-1]
    'large entries, float16'
    """
    summary = result.summary
    faults = [ZOO[name] for name in summary.fault]
    return pd.DataFrame(
        {
            "bug": [f'<a href="#{label(f)}">{title(f)}</a>' for f in faults],
            "training shows": summary.apply(reading, axis=1),
            "gap in training": summary.gap.map(signed),
            "whole texts": summary.whole_gap.map(signed),
            "from the prefix": summary.use_gap.map(signed),
            "shows with": [f.scene or UNSEEN[f.name] for f in faults],
        }
    )
