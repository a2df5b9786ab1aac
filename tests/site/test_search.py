"""The search of the book: a table of what others asked, and what a reader does on its page."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from contents import parsed
from playwright.sync_api import expect
from questions import Search, asked
from readers import new_context, served
from small_book import ROOT
from survey import AXE

LESSON = "book/anatomy/softmax"
TABLE = asked()
FIRST = 3


@pytest.fixture(scope="module")
def search(folder):
    return Search(folder)


@pytest.fixture(scope="module")
def anchors(folder) -> dict[str, list[set[str]]]:
    """Of each page, the names of each of its sections: its own, and labels."""
    found = {}
    for file in sorted((folder / "book").rglob("*.html")):
        article = parsed(file).article
        names = []
        for section in article.select("section[id]"):
            labels = {span["id"] for span in section.find_all("span", id=True, recursive=False)}
            names.append({section["id"], *labels})
        names += [{entry["id"]} for entry in article.select("dt[id]")]
        found[file.relative_to(folder / "book").with_suffix("").as_posix()] = names
    return found


def answers(section: str, anchors: dict[str, list[set[str]]]) -> set[tuple[str, str]]:
    """Every (page, anchor) that a target allows: page, page#anchor or #label."""
    page, _, anchor = section.partition("#")
    pages = [page] if page else list(anchors)
    sections = [(name, one) for name in pages for one in anchors.get(name, [])]
    return {(name, given) for name, one in sections if not anchor or anchor in one for given in one}


# What others asked


def test_the_table_is_long_and_a_third_of_it_was_held_out():
    assert len(TABLE) >= 120
    assert len({row.query for row in TABLE}) == len(TABLE)
    assert len(TABLE) / 4 <= sum(row.held for row in TABLE) <= len(TABLE) / 2
    assert all(row.thread for row in TABLE)


def test_every_question_has_a_section_that_exists(anchors):
    lost = [row.query for row in TABLE if not any(answers(section, anchors) for section in row.sections)]
    assert lost == []


def test_every_alias_belongs_to_a_section_that_exists(anchors):
    import sys

    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    from surgeon_book.site.search import aliases

    assert [key for key, names in aliases().items() if not answers(key, anchors) or not names] == []


@pytest.mark.parametrize(("held", "least"), [(False, 0.95), (True, 0.9)], ids=["tuned", "held out"])
def test_the_section_that_answers_is_among_the_first_three(search, anchors, held, least):
    rows = [row for row in TABLE if row.held is held]
    missed = []
    for row in rows:
        right = set().union(*(answers(section, anchors) for section in row.sections))
        first = search.ask(row.query)[:FIRST]
        if not any((hit.page, hit.anchor) in right for hit in first):
            missed.append(f"{row.query}: {', '.join(f'{hit.page}#{hit.anchor}' for hit in first)}")
    assert 1 - len(missed) / len(rows) >= least, "\n".join(missed)


def test_every_term_of_the_glossary_is_found_as_such(folder, search):
    glossary = parsed(folder / "book/reference/glossary.html")
    terms = [term.find(string=True, recursive=False).strip() for term in glossary.select("dl.glossary > dt")]
    assert len(terms) > 50
    found = {term: [hit for hit in search.ask(term) if hit.page == "reference/glossary"] for term in terms}
    assert [term for term in terms if not found[term]] == []


# On its page


@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_a_question_leads_to_results_that_lead_to_sections(visit, width):
    page = visit(LESSON, width=width)
    page.keyboard.press("Control+k")
    page.locator("dialog input[type=search]").fill("effective rank")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=effective*")
    results = page.locator("#search-results li a")
    expect(results.first).to_be_visible()
    expect(page.locator("#search-status")).to_contain_text("sections")
    expect(page.locator("#search-results")).to_contain_text("Glossary")
    expect(page.locator("#search-results mark").first).to_be_visible()
    results.first.click()
    expect(page.locator("article")).to_contain_text(re.compile("effective rank", re.IGNORECASE))


def test_what_was_asked_is_marked_on_arrival_at_its_section(visit):
    page = visit("search.html?q=saturation")
    link = page.locator("#search-results li a").first
    expect(link).to_have_attribute("href", re.compile(":~:text="))
    address, _, marked = link.get_attribute("href").partition(":~:")
    heading = link.inner_text()
    assert unquote(marked).startswith(f"text={heading},")
    link.press("Enter")
    page.wait_for_url(re.compile(re.escape(address.rpartition("/")[2])))
    expect(page.locator(f"[id='{address.rpartition('#')[2]}'] > :is(h1, h2, h3)").first).to_be_in_viewport()


def test_the_search_is_used_by_keyboard_alone(visit):
    page = visit("search")
    field = page.locator("#search-form input")
    expect(field).to_be_focused()
    page.keyboard.type("key padding mask")
    expect(page).to_have_url(re.compile(r"q=key\+padding\+mask"))  # what was typed is asked a moment later
    links = page.locator("#search-results li a")
    expect(links.first).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(links.first).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(links.nth(1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(field).to_be_focused()


def test_more_results_come_when_they_are_asked_for(visit):
    page = visit("search.html?q=softmax+of+the+scores")
    links = page.locator("#search-results li a")
    expect(links).to_have_count(10)
    page.locator("#search-more").press("Enter")
    expect(links.nth(10)).to_be_focused()
    expect(page.locator("#search-more")).to_be_hidden()


def test_the_search_says_so_where_nothing_is_found(visit):
    page = visit("search.html?q=zymurgy")
    expect(page.locator("#search-status")).to_contain_text("No section has any of these words.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_results_keep_nobody_out(visit, width, scheme):
    page = visit("search.html?q=loss+is+nan", width=width, scheme=scheme)
    expect(page.locator("#search-results mark").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.evaluate(AXE)
    violations = page.evaluate("axe.run().then((found) => found.violations.map((rule) => rule.id))")
    assert violations == []
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def test_the_search_works_from_a_folder_and_below_a_path(browser, folder, tmp_path):
    """Opened as a file, without any server; and served from a path of somebody's host."""
    context = new_context(browser)
    context.set_default_timeout(10_000)
    (tmp_path / "fork").symlink_to(Path(folder).resolve())
    with served(tmp_path) as host:
        for address in (Path(folder).resolve().as_uri(), f"{host}/fork"):
            page = context.new_page()
            page.goto(f"{address}/search.html?q=temperature")
            expect(page.locator("#search-results mark").first).to_be_visible()
            page.locator("#search-results li a").first.click()
            page.wait_for_url(re.compile("/book/.*#"))
        context.close()
