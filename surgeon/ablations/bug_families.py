"""The bugs by families: what their pages say of each, and measure once."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from surgeon.ablations.bug_scenes import Scene, scene
from surgeon.ablations.bug_starts import intervals, load_starts, spread
from surgeon.ablations.bug_zoo import (
    BugComparison,
    compare_bugs,
    known_names,
)
from surgeon.book.once import once, once_each
from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.families import FAMILIES, label, title

# what shows a fault that five tokens cannot show
UNSEEN = {
    "half_precision_sums": "hundreds of keys",
    "SeedsEverything": "numbers drawn later",
}
# nothing was measured, or there is nothing to see
SILENT = {("–", "–"), ("0", "0.000")}


def compare_families(
    families: Iterable[str] | None = None, **options: Any
) -> BugComparison:
    """`compare_once` of all the faults of some families.

    Parameters
    ----------
    families : iterable of str, optional
        Names in `surgeon.zoo.families.FAMILIES`; all if not given.
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
    faults = [fault.name for name in names for fault in FAMILIES[name].faults]
    return compare_once(faults, **options)


def compare_once(faults: Iterable[str], **options: Any) -> BugComparison:
    """`compare_bugs`, with each fault trained once in a build.

    Parameters
    ----------
    faults : iterable of str
        Names in `surgeon.zoo.catalogue.ZOO`.
    **options
        As `compare_bugs` takes them.

    Returns
    -------
    BugComparison
        Its rows are in the order of the faults.

    Raises
    ------
    ValueError
        As `compare_bugs`.

    Examples
    --------
    >>> small = {"steps": 2, "last": 1, "d_model": 4, "num_heads": 2}
    >>> found = compare_once(["undivided"], length=5, held_out=3, **small)
    >>> found.history.fault.unique().tolist()
    ['sound', 'undivided']
    """
    bare = once(compare_bugs, (), **options)
    found = once_each(
        compare_bugs, [((name,),) for name in faults], **options
    )
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


def over_starts(families: Iterable[str] | None = None) -> pd.DataFrame:
    """`intervals` of some families, and what pages write of them.

    Parameters
    ----------
    families : iterable of str, optional
        Names in `surgeon.zoo.families.FAMILIES`; all if not given.

    Returns
    -------
    pandas.DataFrame
        As `surgeon.ablations.bug_starts.intervals` gives it, with three
        columns more, which `spread` writes: `training`, the gap; `use`, the
        gap from the prefix; `whole`, the gap on whole texts.

    Raises
    ------
    ValueError
        If a name is not that of a family.

    Examples
    --------
    >>> over_starts(["memory"]).training["scales_in_place"]
    '0'
    """
    names = known_names("families", families, FAMILIES, "families")
    faults = [fault.name for name in names for fault in FAMILIES[name].faults]
    found = intervals(load_starts()).loc[faults]
    written = {"training": "gap", "use": "use_gap", "whole": "whole_gap"}
    for name, measure in written.items():
        pairs = zip(found[measure], found[f"{measure}_half"], strict=True)
        found[name] = [spread(*pair) for pair in pairs]
    return found


def family_table(result: BugComparison) -> pd.DataFrame:
    """What was measured of some faults, a row each, in words and numbers.

    Parameters
    ----------
    result : BugComparison
        As `compare_families` gives it: one start, beside which the sixteen
        are put that the book keeps.

    Returns
    -------
    pandas.DataFrame
        `bug`, a link within the page; what `training shows`; two differences
        of losses over sixteen starts, and below each the one that this start
        gave, as `signed` writes it; and the circumstance that the bug `shows
        with`.

    Examples
    --------
    >>> small = {"steps": 2, "last": 1, "d_model": 4, "num_heads": 2}
    >>> found = compare_families(["scale"], length=5, held_out=3, **small)
    >>> family_table(found).iloc[-1].tolist()[-1]
    'large entries, float16'
    """
    summary = result.summary
    faults = [ZOO[name] for name in summary.fault]
    starts = over_starts().loc[summary.fault]
    return pd.DataFrame(
        {
            "bug": [f'<a href="#{label(f)}">{title(f)}</a>' for f in faults],
            "training shows": starts.shows.to_list(),
            "gap in training": _beside(starts.training, summary.gap),
            "from the prefix": _beside(starts.use, summary.use_gap),
            "shows with": [f.scene or UNSEEN[f.name] for f in faults],
        }
    )


def stray(result: BugComparison) -> pd.Series:
    """How far one start is from the mean of the sixteen that are kept.

    Parameters
    ----------
    result : BugComparison
        As `compare_families` gives it, with the steps of the sixteen.

    Returns
    -------
    pandas.Series
        fault: the larger of two distances, of the gap in training and of the
        one from the prefix, each in standard deviations of a start. Bugs of
        which all starts say the same are left out.

    Examples
    --------
    >>> kept = load_starts().table
    >>> first = kept[kept.seed == 1]
    >>> bool((stray(BugComparison(first, kept, 0.0, 0.0)) < 4).all())
    True
    """
    here = result.summary.set_index("fault")
    starts = load_starts().table.groupby("fault")
    measures = ["gap", "use_gap"]
    mean, deviation = (
        getattr(starts[measures], name)().loc[here.index]
        for name in ("mean", "std")
    )
    far = (here[measures] - mean).abs() / deviation.where(deviation > 1e-4)
    return far.max(axis=1).dropna()


def _beside(many: pd.Series, here: pd.Series) -> list[str]:
    """Sixteen starts, and below them this one, where it says anything."""
    written = []
    for mean, one in zip(many, here.map(signed), strict=True):
        more = f"<br><small>here {one}</small>"
        written.append(mean if (mean, one) in SILENT else mean + more)
    return written
