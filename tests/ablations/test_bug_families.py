"""What the zoo's pages say: families measured apart and together, and each bug on one page."""

import math
import re
from pathlib import Path

import pandas as pd
import pytest

from surgeon.ablations.bug_families import (
    UNSEEN,
    compare_families,
    compare_once,
    family_scenes,
    family_table,
    over_starts,
    signed,
    stray,
)
from surgeon.ablations.bug_starts import intervals, load_starts, spread
from surgeon.ablations.bug_zoo import compare_bugs
from surgeon.zoo.catalogue import ZOO
from surgeon.zoo.families import FAMILIES, family_of, label, title

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "book" / "ablations" / "zoo"
PAGES = {name: (FOLDER / f"{name}.md").read_text(encoding="utf8") for name in FAMILIES}
TINY = {"steps": 3, "last": 2, "batch_size": 5, "length": 7, "d_model": 12, "num_heads": 4, "held_out": 3}


# Measured


@pytest.fixture(scope="module")
def together():
    return compare_families(**TINY)


@pytest.mark.long
def test_families_together_are_what_the_bugs_are_together(together):
    expected = compare_bugs(**TINY)
    order = together.summary.set_index("fault").index
    assert sorted(order) == sorted(ZOO)
    pd.testing.assert_frame_equal(together.summary.set_index("fault"), expected.summary.set_index("fault").loc[order])
    assert together.history.groupby("fault").size().to_dict() == expected.history.groupby("fault").size().to_dict()
    assert tuple(together[2:]) == tuple(expected[2:])


@pytest.mark.long
def test_a_family_alone_is_what_it_is_among_all(together):
    alone = compare_families(["padding", "scale"], **TINY)
    names = [fault.name for name in ("padding", "scale") for fault in FAMILIES[name].faults]
    assert alone.summary.fault.tolist() == names
    among = together.summary.set_index("fault").loc[names].reset_index()
    pd.testing.assert_frame_equal(alone.summary, among)


def test_a_build_measures_each_fault_and_each_sound_model_once(tmp_path, monkeypatch):
    """Whether a page asks for its family, or another for some faults of several."""
    monkeypatch.setenv("SURGEON_ONCE", str(tmp_path))
    new = TINY | {"seed": 5}  # what this process has not met
    first = compare_families(["scale"], **new)
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir() if not file.suffix}
    assert len(kept) == 2 + len(first.summary)  # a sound model, its comparison, and one of each fault
    again = compare_families(["scale"], **new)
    names = first.summary.fault.tolist()[:1:-1]
    few = compare_once(names, **new)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir() if not file.suffix} == kept
    pd.testing.assert_frame_equal(first.summary, again.summary)
    by_name = first.summary.set_index("fault").loc[names]
    pd.testing.assert_frame_equal(few.summary.set_index("fault"), by_name)


def test_a_family_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"^families must be names of families, such as 'masks', got 'cats'[.]$"):
        compare_families(["cats"])


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1.2344, "+1.234"), (-0.5, "−0.500"), (0.0004, "0.000"), (-0.0004, "0.000"), (math.nan, "–"), (10.0, "+10.000")],
)
def test_a_difference_has_a_sign_that_is_no_hyphen(number, expected):
    assert signed(number) == expected


def test_what_pages_write_of_the_starts_is_their_intervals():
    found, all_of_them = over_starts(["scale", "dropout"]), intervals(load_starts())
    assert list(found.index) == [fault.name for name in ("scale", "dropout") for fault in FAMILIES[name].faults]
    for name, row in found.iterrows():
        bug = all_of_them.loc[name]
        assert row.training == spread(bug.gap, bug.gap_half)
        assert row.use == spread(bug.use_gap, bug.use_gap_half)
        assert row.whole == spread(bug.whole_gap, bug.whole_gap_half)
    assert sorted(over_starts().index) == sorted(ZOO)


@pytest.mark.long
def test_a_familys_table_has_a_link_and_a_circumstance_for_each_bug(together):
    table = family_table(together)
    assert list(table.columns) == [
        "bug", "training shows", "gap in training", "from the prefix", "shows with",
    ]  # fmt: skip
    starts, here = over_starts(), together.summary.set_index("fault")
    for name, row in zip(together.summary.fault, table.itertuples(index=False), strict=True):
        assert row[1] == starts.shows[name]
        for cell, many, one in ((row[2], starts.training, here.gap), (row[3], starts.use, here.use_gap)):
            more = f"<br><small>here {signed(one[name])}</small>"
            silent = (many[name], signed(one[name])) in {("–", "–"), ("0", "0.000")}
            assert cell == many[name] + ("" if silent else more)
        assert row[0] == f'<a href="#{label(ZOO[name])}">{title(ZOO[name])}</a>'
        assert row[-1] == (ZOO[name].scene or UNSEEN[name])
    assert set(UNSEEN) == {name for name, fault in ZOO.items() if not fault.scene}


def test_scenes_are_those_of_the_family_that_can_be_seen():
    assert list(family_scenes("memory")) == [
        "detached_weights", "weights_before_the_mask", "scales_in_place", "assumes_contiguous",
    ]  # fmt: skip


def test_a_start_is_as_far_as_its_worse_distance_in_standard_deviations():
    starts = load_starts().table
    first = starts[starts.seed == starts.seed.min()].set_index("fault")
    found = stray(compare_bugs(["lost_mask"], **TINY)._replace(summary=first.reset_index()))
    spreads = starts.groupby("fault")
    for name in ("lost_mask", "unscaled"):
        far = [
            abs(first[measure][name] - spreads[measure].mean()[name]) / spreads[measure].std()[name]
            for measure in ("gap", "use_gap")
        ]
        assert found[name] == pytest.approx(max(far))
    assert "minus_ten_thousand" not in found.index  # it changes nothing, wherever it starts
    assert "padding_on_queries" not in found.index


# The pages


def cards(text: str) -> dict[str, str]:
    """Each bug that has a section on a page, and the section."""
    parts = re.split(r"\n\((bug-[a-z-]+)\)=\n", text)
    return {label: text.split("\n## ", 1)[0] for label, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_bug_is_on_one_page_that_of_its_family():
    found = {name: list(cards(text)) for name, text in PAGES.items()}
    assert found == {name: list(map(label, family.faults)) for name, family in FAMILIES.items()}
    elsewhere = [ROOT / "book" / "ablations" / "bug-zoo.md", FOLDER / "loss.md", FOLDER / "symptoms.md"]
    assert not any("\n(bug-" in page.read_text().replace("\n(bug-card)=", "") for page in elsewhere)


@pytest.mark.parametrize("name", ZOO)
def test_a_card_shows_its_bug_and_cites_where_it_was_shipped(name):
    fault = ZOO[name]
    text = cards(PAGES[family_of(fault).name])[label(fault)]
    assert text.startswith(f"## {title(fault)}\n")
    for shown in (f'source(ZOO["{name}"].made)', f'`ZOO["{name}"].finding`', f'`ZOO["{name}"].repair`'):
        assert shown in text
    cited = {key for keys in re.findall(r"\{cite:[pt]\}`([^`]+)`", text) for key in keys.split(",")}
    assert ({fault.thread} - {""}) <= cited


@pytest.mark.parametrize("name", FAMILIES)
def test_a_page_measures_and_draws_its_own_family(name):
    assert f'compare_families(["{name}"], ' in PAGES[name]
    assert f'family_scenes("{name}", seed=seed)' in PAGES[name]


SYMPTOMS = (FOLDER / "symptoms.md").read_text(encoding="utf8")


# Bugs of which no log, sample or picture tells more than of their neighbours.
WITHOUT = {
    "added_ones",
    "blind_to_itself",
    "clipped_scores",
    "DropoutBeforeSoftmax",
    "minus_epsilon",
    "minus_ten_billion",
}


def test_every_other_bug_has_a_symptom():
    told = set(re.findall(r"\bbug-[a-z-]+", SYMPTOMS))
    assert {name for name, fault in ZOO.items() if label(fault) not in told} == WITHOUT


def test_every_message_of_the_table_is_provoked_on_the_page():
    rows = re.findall(r"^\| `+ ?(\w+): (.*?) ?`+ \| (?:error message|warning) \|", SYMPTOMS, re.MULTILINE)
    namespace: dict = {}
    block = SYMPTOMS[SYMPTOMS.index("MISTAKES = {") : SYMPTOMS.index("}\n```", SYMPTOMS.index("MISTAKES = {")) + 1]
    exec(re.sub(r"(?m)^        nothing_to_see,|^        changed_in_place,", "        None,", block), namespace)
    assert len(rows) > 20
    assert sorted(message for _, message in rows) == sorted(namespace["MISTAKES"])
