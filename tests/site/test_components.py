"""The strip and the folded claims in a real browser, on a page small enough to be built for it."""

import re

import pytest
from playwright.sync_api import expect
from readers import SIZES, new_context, served
from small_book import ROOT, SPEAKING, STRICT, SmallBook, cell
from survey import VIEWS, survey

PARTS = ("scores", "softmax", "scaling", "masking", "attention", "heads")
SETUP = "from surgeon.book.page import claim, source\nfrom surgeon.book.strip import where"
STRIPS = "# Strips\n\n**Where?**\n\nHere.\n\n" + cell(SETUP)
STRIPS += "".join("\n" + cell(f'where("{part}")') for part in PARTS)
CLAIMS = "# Claims\n\n**Which?**\n\nTwo.\n\n" + cell(SETUP) + "\n" + "Between.\n\n" * 60
CLAIMS += "## What this page checked\n\n" + cell("claim('One.', True)\nclaim('Two.', True);")
LEDGER = "# Ledger\n\n**What is claimed?**\n\n```{claims-ledger}\n```\n"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The address of a small book's pages."""
    strip = {"book/strip.py": (ROOT / "surgeon/book/strip.py").read_text()}
    pages = {"strips": STRIPS, "claims": CLAIMS, "ledger": LEDGER}
    book = SmallBook(tmp_path_factory.mktemp("components"), pages, {"__init__.py": "", **SPEAKING, **strip})
    build = book.build(*STRICT)
    assert build.code == 0, build.output
    with served(book.root / "_build/html") as address:
        yield address


@pytest.fixture(scope="module")
def looked(browser, small):
    """What each page showed in each view."""
    contexts = {width: new_context(browser, width=width) for width in SIZES}
    yield {name: survey(contexts, small, f"book/{name}") for name in ("strips", "claims")}
    for context in contexts.values():
        context.close()


@pytest.fixture
def opened(browser, small):
    """Opens a page of the small book in a context of its own."""
    contexts = []

    def opened(name, **reader):
        contexts.append(new_context(browser, **reader))
        page = contexts[-1].new_page()
        page.goto(f"{small}/book/{name}")
        return page

    yield opened
    for context in contexts:
        context.close()


def luminance(colour: str) -> float:
    """Of an opaque colour, as the guidelines on contrast define it."""
    red, green, blue = (int(part) / 255 for part in re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", colour).groups())
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ["strips", "claims"])
def test_nothing_keeps_anybody_out(looked, name, view):
    found = looked[name][view]
    assert found.violations == []
    assert found.sideways == []
    assert found.trouble == []


@pytest.mark.parametrize("width", SIZES)
def test_a_strip_fits_and_can_be_read_and_its_mark_is_in_it(opened, width):
    page = opened("strips.html", width=width)
    strips = page.get_by_role("img", name=re.compile("^Where we are"))
    expect(strips).to_have_count(len(PARTS))
    rooms = page.evaluate("""() => [...document.querySelectorAll(".where")].map((strip) => {
        const box = (e) => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; };
        const pieces = [...strip.querySelectorAll("span")];
        const sizes = pieces.filter((e) => e.textContent).map((e) => parseFloat(getComputedStyle(e).fontSize));
        return { strip: box(strip), mark: box(strip.querySelector(".where-mark")), pieces: pieces.map(box),
                 smallest: Math.min(...sizes), inside: strip.parentElement.clientWidth };
    })""")
    for room in rooms:
        left, top, right, bottom = room["strip"]
        assert right - left <= room["inside"] + 1
        for piece in [room["mark"], *room["pieces"]]:
            assert left <= piece[0] < piece[2] <= right
            assert top <= piece[1] < piece[3] <= bottom
        assert room["smallest"] >= 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_mark_stands_out_from_its_ground(opened, scheme):
    """By a line of three to one, as what is no text has to."""
    page = opened("strips.html", scheme=scheme)
    mark = page.locator(".where-mark").first
    line = mark.evaluate("e => getComputedStyle(e).borderTopColor")
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert mark.evaluate("e => getComputedStyle(e).borderTopWidth") == "2px"
    bright, dim = sorted(map(luminance, (line, ground)), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 3


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_claims_are_one_line_until_somebody_follows_a_link_to_one(opened, scripts):
    page = opened("claims.html", scripts=scripts)
    claims = page.locator("p.claim")
    expect(claims).to_have_count(2)
    expect(claims.last).to_be_hidden()
    line = page.get_by_text("2 claims checked")
    line.press("Enter")
    expect(claims.last).to_be_visible()

    page = opened("ledger.html", scripts=scripts)
    page.get_by_role("link", name="Two.").click()
    expect(page).to_have_url(re.compile(r"claims\.html#claim-"))
    expect(page.locator("p.claim").last).to_be_in_viewport()
    expect(page.locator("details.claims-checked")).to_have_attribute("open", "")


def test_claims_are_open_on_paper(opened):
    page = opened("claims.html", scripts=False)
    page.emulate_media(media="print")
    expect(page.locator("details.claims-checked")).not_to_have_attribute("open", "")
    expect(page.locator("p.claim").last).to_be_visible()
