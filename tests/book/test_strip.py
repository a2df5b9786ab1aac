"""The strip that says where a page is: its mark, its shapes, its words, and nothing that a notebook would not show."""

import re

import pytest
from bs4 import BeautifulSoup

from surgeon.book import page
from surgeon.book.strip import ACCENT, FORMULA, MARK, PARTS, where
from surgeon.imaging.style import VERMILION

# What stands in the mark, as a reader sees it.
MARKED = {
    "scores": "Q[T, dk]K⊤[dk, S]",
    "softmax": "softmax[T, S]",
    "scaling": "/ √dk",
    "masking": "+ mask[T, S]",
    "attention": "softmax[T, S](Q[T, dk]K⊤[dk, S]/ √dk+ mask[T, S])V[S, dv]",
    "heads": "softmax(Q1 K1⊤ / √dk + mask) V1[T, dv]…softmax(QH KH⊤ / √dk + mask) VH[T, dv]WO[H dv, dmodel]",
    "positions": "Q[T, dk]place iK⊤[dk, S]place j",
}


@pytest.fixture
def strip(monkeypatch):
    def shown(part):
        bundles = []
        monkeypatch.setattr(page, "display", lambda thing: bundles.append(thing._repr_mimebundle_()))
        assert where(part) is None
        (bundle,) = bundles
        return BeautifulSoup(bundle["text/html"], "html.parser").find("div"), bundle["text/plain"]

    return shown


def test_every_part_has_a_strip():
    assert set(PARTS) == set(MARKED)


def test_the_mark_is_the_figures_vermilion_with_nothing_to_look_up():
    assert ACCENT == VERMILION
    assert "var(" not in MARK


@pytest.mark.parametrize("part", PARTS)
def test_one_part_is_marked_in_a_formula_that_is_otherwise_the_same(strip, part):
    drawing, _ = strip(part)
    (mark,) = drawing.select(".where-mark")
    assert mark.get_text() == MARKED[part]
    assert f"border:2px solid {ACCENT}" in mark["style"]
    if part != "heads":
        assert re.sub("place [ij]", "", drawing.div.get_text()) == MARKED["attention"]


@pytest.mark.parametrize("part", PARTS)
def test_a_reader_who_does_not_see_it_is_told_what_is_marked_and_what_it_gives(strip, part):
    drawing, plain = strip(part)
    sign, gives = PARTS[part]
    assert drawing["role"] == "img"
    assert drawing["aria-label"].startswith("Where we are: " + sign)
    for said in (FORMULA, f"gives {gives}", "Q [T, d_k], Kᵀ [d_k, S], mask [T, S], V [S, d_v]"):
        assert said in drawing["aria-label"]
    assert plain == "[where we are: " + drawing["aria-label"].removeprefix("Where we are: ").split(". ")[0] + "]"
    assert drawing.find_all("div")[-1].get_text() == f"gives {gives}".replace("_", "")


@pytest.mark.parametrize("part", PARTS)
def test_it_brings_its_own_style_and_asks_for_nothing(strip, part):
    drawing, _ = strip(part)
    assert {tag.name for tag in [drawing, *drawing.find_all(True)]} <= {"div", "span", "i", "sub", "sup"}
    styles = ";".join(tag.get("style", "") for tag in [drawing, *drawing.find_all(True)])
    assert "url(" not in styles
    # A colour that a theme may not have comes with one to use then; text has none but the place's.
    assert set(re.findall(r"(?<!-)color:([^;]+)", styles)) == {"var(--pst-color-text-muted,inherit)"}
    assert not re.findall(r"var\([\w-]+\)", styles)
    assert "flex-wrap:wrap" in styles
    assert len(str(drawing)) < 4500


@pytest.mark.parametrize("part", ["score", "", None, "Scores"])
def test_another_part_is_refused(part):
    message = f"part must be one of scores, softmax, scaling, masking, attention, heads, positions, got {part!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        where(part)
