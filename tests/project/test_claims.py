"""The tables beside the pages: every claim has its kind, where its bound comes from, and what would break it."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from small_book import ROOT

sys.path.insert(0, str(ROOT / ".ci"))
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import claims
from surgeon_book import evidence

PAGES = [page.relative_to(ROOT / "book").as_posix() for page in claims.pages()]
TABLES = sorted((ROOT / "book" / "claims").rglob("*.toml"))
FIELDS = {"says", "kind", "bound", "breaks"}


def entries(page: str) -> list[dict]:
    return claims.table(ROOT / "book" / page).get("claim", [])


@pytest.mark.parametrize("page", PAGES)
def test_every_claim_has_one_entry_and_every_entry_one_claim(page):
    said = claims.statements(ROOT / "book" / page)
    found = [[each["says"] for each in entries(page) if one.startswith(each["says"])] for one in said]
    assert [one for one, mine in zip(said, found, strict=True) if len(mine) != 1] == []
    assert sorted(says for mine in found for says in mine) == sorted(each["says"] for each in entries(page))


@pytest.mark.parametrize("page", PAGES)
def test_an_entry_says_what_a_reader_of_the_ledger_needs(page):
    for each in entries(page):
        assert FIELDS < set(each) <= FIELDS | {"value", "fault"}, each
        assert ("value" in each) != ("fault" in each), each
        assert each["kind"] in evidence.KINDS, each
        assert each["bound"] in evidence.BOUNDS, each
        assert each["breaks"].strip(" ."), each
        assert not each["breaks"].endswith("."), each


@pytest.mark.parametrize("page", PAGES)
def test_a_counter_example_computes(page):
    """Numbers are not typed in: the last line calls something or looks something up."""
    for each in entries(page):
        if "value" in each:
            *_, last = ast.parse(each["value"].strip()).body
            assert isinstance(last, ast.Expr), each
            assert any(isinstance(node, ast.Name) for node in ast.walk(last)), each


@pytest.mark.parametrize("page", PAGES)
def test_every_fault_is_asked_by_a_claim_and_changes_the_page(page):
    faults = claims.table(ROOT / "book" / page).get("fault", {})
    assert set(faults) == {each["fault"] for each in entries(page) if "fault" in each}
    whole = claims.program(ROOT / "book" / page)
    assert all(claims.program(ROOT / "book" / page, fault=fault) != whole for fault in faults)


def test_every_table_is_of_a_page_that_claims():
    tables = {table.relative_to(ROOT / "book" / "claims").with_suffix("").as_posix() for table in TABLES}
    assert tables == {page.removesuffix(".md") for page in PAGES}


PAGE = """---
kernelspec:
  display_name: Python 3
  name: python3
---

# A page

```{code-cell} ipython3
import torch
from surgeon.book.page import claim
seed = 0
generator = torch.Generator().manual_seed(seed)
draw = torch.rand(3, generator=generator)
half = 0.5 * draw
```

```{code-cell} ipython3
claim("A half is no more than a half.", float(half.max()), at_most=0.5)
claim(f"Of {len(draw)} draws, none is negative.", bool((draw >= 0).all()))
claim("The next draw is the fourth.", float(torch.rand(1, generator=generator)), within=(0, 1));
```
"""
TABLE = """
[[claim]]
says = "A half is"
kind = "finding"
bound = "theorem"
breaks = "the whole"
value = "torch.rand(5, generator=generator)\\nfloat((2 * half).max() + 0.5)"

[[claim]]
says = "Of "
kind = "finding"
bound = "exact"
breaks = "draws about 0"
fault = "centred"

[[claim]]
says = "The next draw"
kind = "identity"
bound = "exact"
breaks = "a number twice as large"
value = "3 * float(torch.rand(1, generator=generator) + 1)"

[fault.centred]
changes = [["torch.rand(3, generator=generator)", "torch.rand(3, generator=generator) - 1"]]
"""


@pytest.fixture
def page(tmp_path, monkeypatch):
    (tmp_path / "book" / "claims").mkdir(parents=True)
    (tmp_path / "book" / "page.md").write_text(PAGE)
    (tmp_path / "book" / "claims" / "page.toml").write_text(TABLE)
    monkeypatch.setattr(claims, "ROOT", tmp_path)
    claims.table.cache_clear()
    yield tmp_path / "book" / "page.md"
    claims.table.cache_clear()


def asked(page: Path, *runs: tuple) -> list[list[dict]]:
    return [done["claims"] for done in claims.side_by_side([(page, *run) for run in runs], 1)]


def test_counter_examples_are_asked_where_the_claim_stands_and_use_up_no_draw(page):
    plain, against = asked(page, (None, None, False), (None, None, True))
    assert [each["value"] for each in plain] == [each["value"] for each in against]
    assert [each.get("breaks") for each in against] == [True, None, True]
    assert [each["holds"] for each in against] == [True, True, True]


def test_under_a_fault_the_claim_fails_and_the_rest_goes_on(page):
    (made,) = asked(page, (None, "centred", False))
    assert [each["holds"] for each in made][1] is False
    assert len(made) == 3


def test_other_seeds_are_other_draws(page):
    first, again, other = asked(page, (1,), (1,), (2,))
    assert first == again
    assert first[0]["value"] != other[0]["value"]


def test_a_fault_that_changes_nothing_is_refused(page):
    table = claims.table_of(page)
    table.write_text(TABLE.replace('"torch.rand(3,', '"torch.randn(3,'))
    with pytest.raises(SystemExit, match="not there"):
        claims.program(page, fault="centred")


def test_a_cell_that_fails_ends_the_run_and_is_named(page):
    page.write_text(PAGE.replace("half = 0.5 * draw", "half = 0.5 * nothing"))
    with pytest.raises(RuntimeError, match=r"page\.md .* NameError"):
        asked(page, (None,))


@pytest.mark.parametrize("pick", ["max", "min"])
def test_an_extreme_does_not_pass_over_a_nan(page, pick):
    page.write_text(PAGE.replace("float(half.max())", f"float({pick}(0.2, 0.1 * float('nan')))"))
    with pytest.raises(RuntimeError, match=f"{pick} of numbers of which one is NaN"):
        asked(page, (None,))
    page.write_text(PAGE.replace("float(half.max())", f"{pick}(float(x) for x in half)"))
    (made,) = asked(page, (None,))
    assert made[0]["holds"]


def test_a_statement_is_what_stands_before_anything_computed(page):
    assert claims.statements(page) == ["A half is no more than a half.", "Of ", "The next draw is the fourth."]
    assert tomllib.loads(TABLE)["claim"] == claims.table(page)["claim"]


ONE_CELL = """# Page

```{code-cell} ipython3
x = 1
```
"""
ASKING = """
```{code-cell} ipython3
:tags: [hide-cell]
:mystnb:
:  code_prompt_show: "Check"
:  code_prompt_hide: "Check"

from surgeon import check

check("one-two", ...)
```
"""


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (f"{ONE_CELL}More words.\n", True),
        (ONE_CELL + ASKING, True),
        (ONE_CELL + ASKING + ASKING.replace("one-two", "three"), True),
        (ONE_CELL + ASKING.replace("...", "x"), False),
        (ONE_CELL + ASKING.replace("from", "x = 2\nfrom"), False),
        (ONE_CELL.replace("x = 1", "x = 2"), False),
    ],
    ids=["words", "an exercise", "two", "an answer", "a cell that does more", "another number"],
)
def test_draws_are_as_old_as_what_a_page_computes(tmp_path, text, same):
    one, other = tmp_path / "one.md", tmp_path / "other.md"
    one.write_text(ONE_CELL, encoding="utf8")
    other.write_text(text, encoding="utf8")
    assert (evidence.digest(one) == evidence.digest(other)) is same


def test_the_ledger_is_written_again_for_another_computation_and_not_for_other_words(tmp_path, monkeypatch):
    """What `standing` gives is compared by the next build."""
    monkeypatch.setattr(evidence, "ROOT", tmp_path)
    monkeypatch.setattr(evidence, "CLAIMS", tmp_path / "book" / "claims")
    evidence.CLAIMS.mkdir(parents=True)
    page, module, table = (tmp_path / name for name in ("book/page.md", "surgeon/part.py", "book/claims/page.toml"))
    module.parent.mkdir()
    module.write_text("x = 1\n", encoding="utf8")
    page.write_text(ONE_CELL, encoding="utf8")
    standing = evidence.standing()
    page.write_text(f"{ONE_CELL}More words.\n", encoding="utf8")
    assert evidence.standing() == standing
    for file, text in (
        (page, ONE_CELL.replace("x = 1", "x = 2")),
        (module, "x = 2\n"),
        (table, '[[claim]]\nsays = "It is so"\nkind = "finding"\n'),
        (table, '[[claim]]\nsays = "It is so"\nkind = "identity"\n'),
    ):
        file.write_text(text, encoding="utf8")
        before, standing = standing, evidence.standing()
        assert standing != before, file
    assert evidence.behind("book/page", "It is so, they say.").kind == "identity"
