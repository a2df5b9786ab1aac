"""What pages say of themselves to those who do not open them, and how a reader gets in, on books of a few pages."""

import sys
import xml.etree.ElementTree as ElementTree

import pytest
import yaml
from bs4 import BeautifulSoup
from docutils import nodes
from matplotlib.image import imread
from small_book import ROOT, STRICT, SmallBook, cell

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.page import openings
from surgeon_book.site import address, cards

HERE = "https://theirs.github.io/fork/"
FIRST = """# Cuts & repairs

**What is cut, at $1/\\sqrt{d_k}$?**

A first sentence, *short*. A second with $\\frac{1}{2}$ in it. A third.
"""
PAGES = {
    "a/first": FIRST,
    "a/plain": "# Plain\n\nNo question here.\n",
    "picture": "# Picture\n\n**Where is it?**\n\n"
    + cell("x = 3")
    + "\n```{code-cell} ipython3\n:tags: [up-front]\n\nprint('shown', x)\n```\n\nWords after.\n",
}


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    book = SmallBook(tmp_path_factory.mktemp("head"), PAGES, {"__init__.py": ""})
    built = book.build(*STRICT, GITHUB_REPOSITORY="Theirs/fork")
    assert built.code == 0, built.output
    return book


@pytest.fixture(scope="module")
def page(book):
    return lambda name: BeautifulSoup(book.html(name), "html.parser")


def meta(page: BeautifulSoup) -> dict[str, str]:
    """What stands in a page's head, each name once."""
    tags = [tag for tag in page.find_all("meta") if tag.get("name", tag.get("property")) not in (None, "viewport")]
    found = {tag.get("name") or tag["property"]: tag["content"] for tag in tags}
    assert len(found) == len(tags)
    return found


@pytest.mark.parametrize(
    ("repository", "pages"),
    [
        ("https://github.com/Owner/book", "https://owner.github.io/book/"),
        ("https://github.com/owner/book.git", "https://owner.github.io/book/"),
        ("https://github.com/owner/Owner.github.io/", "https://owner.github.io/"),
        ("https://example.org/owner/book", ""),
        ("", ""),
    ],
)
def test_github_publishes_a_repository_at_an_address_that_follows_from_its_name(repository, pages):
    assert address.of_repository(repository) == pages


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Which?"),
        ("One. Two!", "Which? One. Two!"),
        (f"One. {openings.UNSAID} is computed. Three.", "Which? One."),
        (f"One. {'long ' * 40}. Three.", "Which? One. " + ("long " * 30)[:-3] + "…"),
        (f"{'o' * 90}. {'Long ' * 40}.", f"Which? {'o' * 90}."),
    ],
    ids=["no text", "whole sentences", "up to what has no words", "cut at a word", "long enough without"],
)
def test_a_description_is_the_question_and_what_fits(text, said):
    found = openings.describe(openings.Opening("Which?", text), "Title", "Book")
    assert len(found) <= openings.LENGTH
    if said.endswith("…"):
        assert found.startswith("Which? One. long long")
        assert found.endswith("long…")
    else:
        assert found == said


def test_an_equation_is_said_in_plain_letters_where_there_are_any():
    said = [
        openings.plain(nodes.math("", text)) for text in (r"1/\sqrt{d_k}", r"QK^\top", r"-\infty", r"\frac12", "x_i")
    ]
    assert said == ["1/√dₖ", "QKᵀ", "-∞", openings.UNSAID, openings.UNSAID]


def test_a_page_describes_itself(page):
    first = meta(page("a/first"))
    assert first["description"] == first["og:description"] == "What is cut, at 1/√dₖ? A first sentence, short."
    assert first["og:title"] == "Cuts & repairs"
    assert (first["og:type"], first["twitter:card"]) == ("article", "summary_large_image")
    assert first["og:url"] == page("a/first").find("link", rel="canonical")["href"] == f"{HERE}book/a/first.html"
    assert first["og:image:alt"] == "Cuts & repairs. What is cut, at 1/√dₖ?"
    assert meta(page("a/plain"))["description"] == "No question here."


def test_the_first_pages_title_is_the_books_said_once(page):
    assert page("index").title.get_text() == "Small"
    assert meta(page("index"))["og:type"] == "website"
    assert page("index").select_one(".logo__title").get_text() == "The Attention Surgeon"
    assert page("picture").title.get_text() == "Picture — The Attention Surgeon"


def test_every_page_has_a_card_of_its_own_and_a_phone_its_icon(book, page):
    folder = book.root / "_build/html"
    names = [meta(page(name))["og:image"].removeprefix(HERE) for name in ("index", *PAGES)]
    assert len(set(names)) == 4
    assert {str(file.relative_to(folder)) for file in (folder / "cards").iterdir()} == set(names)
    for name in names:
        picture = imread(folder / name)[..., :3]
        assert picture.shape == (cards.HEIGHT, cards.WIDTH, 3)
        assert len({tuple(pixel) for pixel in picture[::7, ::7].reshape(-1, 3).round(2).tolist()}) > 3
        assert (folder / name).stat().st_size < 40_000
    icon = page("a/first").find("link", rel="apple-touch-icon")["href"]
    assert imread((folder / "book/a" / icon).resolve()).shape[:2] == (180, 180)


def test_the_entrance_leads_to_the_first_page_with_and_without_scripts(book):
    entrance = BeautifulSoup((book.root / "_build/html/index.html").read_text(), "html.parser")
    assert entrance.find("meta", attrs={"http-equiv": "refresh"})["content"] == "0; url=book/index.html"
    assert entrance.a["href"] == "book/index.html"
    assert entrance.find("link", rel="canonical")["href"] == f"{HERE}book/index.html"
    assert not entrance.find("script")


def test_a_lost_reader_finds_back_from_any_depth(book):
    """The page has all that it needs in itself, and its links begin at the host's root."""
    lost = BeautifulSoup((book.root / "_build/html/404.html").read_text(), "html.parser")
    assert lost.a["href"] == "/fork/book/index.html"
    assert lost.form["action"] == "/fork/search.html"
    assert lost.find("meta", attrs={"name": "robots"})["content"] == "noindex"
    assert not lost.find_all(["link", "img"])
    assert not lost.find_all(src=True)


def test_the_map_names_every_page_and_nothing_else(book):
    folder = book.root / "_build/html"
    names = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9"}
    found = [loc.text for loc in ElementTree.parse(folder / "sitemap.xml").getroot().findall("s:url/s:loc", names)]
    assert found == [f"{HERE}book/{name}.html" for name in ("index", *PAGES)]
    assert f"Sitemap: {HERE}sitemap.xml" in (folder / "robots.txt").read_text()
    search = BeautifulSoup((folder / "search.html").read_text(), "html.parser")
    assert meta(search)["robots"] == "noindex"


def test_what_is_tagged_up_front_is_shown_before_the_cells_and_what_made_it_stays(page):
    article = page("picture").article
    shown = article.find("div", class_="cell_output")
    assert shown.get_text().strip() == "shown 3"
    assert shown.find_previous_sibling("p").get_text() == "Where is it?"
    codes = [code.get_text().strip() for code in article.select(".cell_input")]
    assert codes[:2] == ["x = 3", "print('shown', x)"]
    assert shown.find_next("div", class_="cell_input").get_text().strip() == "x = 3"
    assert len(article.select(".cell_output")) == 1


def test_without_an_address_nothing_absolute_is_said_and_with_another_everything_follows(book):
    folder, config = book.root / "_build/html", book.root / "_config.yml"
    text = config.read_text()
    settings = yaml.safe_load(text)
    settings["repository"]["url"] = ""  # left out, it is Jupyter Book's own
    settings["launch_buttons"] = {}  # there is nothing to launch
    settings["html"] |= {f"use_{kind}_button": False for kind in ("repository", "issues", "edit_page")}
    config.write_text(yaml.safe_dump(settings))
    built = book.build()
    assert built.code == 0, built.output
    page = BeautifulSoup(book.html("a/first"), "html.parser")
    assert not page.find("link", rel="canonical")
    assert not [name for name in meta(page) if name in ("og:url", "og:image")]
    assert meta(page)["twitter:card"] == "summary"
    assert not (folder / "sitemap.xml").exists()
    assert "Sitemap" not in (folder / "robots.txt").read_text()
    assert list((folder / "cards").glob("*")) == []
    lost = BeautifulSoup((folder / "404.html").read_text(), "html.parser")
    assert lost.a["href"] == "/book/index.html"

    config.write_text(text.replace('baseurl: ""', "baseurl: https://example.org/deep/er"))
    built = book.build(*STRICT, GITHUB_REPOSITORY="Theirs/fork")
    assert built.code == 0, built.output
    page = BeautifulSoup(book.html("a/first"), "html.parser")
    assert page.find("link", rel="canonical")["href"] == "https://example.org/deep/er/book/a/first.html"
    assert meta(page)["og:image"].startswith("https://example.org/deep/er/cards/")
    assert len(list((folder / "cards").glob("*"))) == 4
