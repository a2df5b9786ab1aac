"""What a page of the built site weighs, and that it brings nothing twice and nothing for no reader."""

import gzip
import io
import re
import sys
from base64 import b64decode, b64encode
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from contents import parsed
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image
from small_book import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.page import drawings, figures, frames
from surgeon_book.site.pages import look_up
from surgeon_book.theme import icons, rules

FIRST_VISIT, NEXT_PAGE = 450_000, 120_000


@cache
def weight(file: Path) -> int:
    """As it crosses the line: fonts and pictures are compressed already."""
    content = file.read_bytes()
    return len(content) if file.suffix in (".woff2", ".png", ".jpg", ".webp") else len(gzip.compress(content, 9))


def asked(file: Path, attributes: dict[str, str]) -> list[Path]:
    page = parsed(file)
    found = [tag[name] for selector, name in attributes.items() for tag in page.select(selector)]
    return [(file.parent / unquote(urlsplit(address).path)).resolve() for address in found]


NEEDED = {"script[src]": "src", "link[rel=stylesheet]": "href", "link[rel=preload]": "href"}


def pages(folder: Path) -> list[Path]:
    return [*sorted((folder / "book").rglob("*.html")), folder / "search.html"]


def test_a_page_is_light_the_first_time_and_lighter_as_the_next(site):
    """Its figures come as they are scrolled to; the first two are counted."""
    folder, _ = site
    fonts = sum(weight(font) for font in (folder / "_static/katex/fonts").glob("KaTeX_Size*.woff2"))
    shared = set(asked(folder / "book/index.html", NEEDED))
    for file in pages(folder):
        if file.name != "search.html":
            needed = {*asked(file, NEEDED), *asked(file, {"article img[src]": "src"})[:2]}
            assert weight(file) + fonts + sum(map(weight, needed)) <= FIRST_VISIT, file.name
            assert weight(file) + sum(map(weight, needed - shared)) <= NEXT_PAGE, file.name


def test_every_script_and_style_stands_once_and_waits_for_the_page(site):
    folder, _ = site
    for file in pages(folder):
        page = parsed(file)
        sources = [tag["src"].split("?")[0] for tag in page.select("script[src]")]
        sources += [tag["href"].split("?")[0] for tag in page.select("link[rel=stylesheet]")]
        assert len(sources) == len(set(sources)), file.name
        if file.name != "search.html":
            waiting = [
                tag.has_attr("defer") or tag.get("type", "").startswith("module") for tag in page.select("script[src]")
            ]
            assert all(waiting), file.name


def test_nothing_of_the_theme_is_left_that_no_page_asks_for(site):
    folder, _ = site
    files = [file for file in (folder / "_static").rglob("*") if file.is_file()]
    assert not [file.name for file in files if re.search(r"fontawesome|fa-solid|bootstrap|\.map$|\.mo$", str(file))]
    scripts = {file.resolve() for file in files if file.suffix == ".js"}
    assert scripts <= {address for file in pages(folder) for address in asked(file, NEEDED)}


def test_each_icon_on_a_page_is_drawn(site):
    folder, _ = site
    style = (folder / "_static/site.css").read_text(encoding="utf8")
    named = [look_up(file.name, file.read_text(encoding="utf8")).classes for file in pages(folder)]
    shown = {name for classes in named for name in classes if icons.NAME.fullmatch(name)}
    assert len(shown) >= 10
    assert all(f".{name}{{--icon:url(" in style for name in shown)


def test_every_picture_has_its_size_before_it_comes(site):
    folder, _ = site
    for file in pages(folder):
        page = parsed(file)
        assert not [image["src"] for image in page.select("article img") if not image.get("width")]


def test_an_unknown_icon_ends_the_build():
    with pytest.raises(Exception, match=r"icons that icons\.py does not know: fa-trowel"):
        icons.style({"fa-solid", "fa-bars", "fa-trowel"})


@pytest.mark.parametrize(
    ("css", "kept"),
    [
        (".a{x:1}.b{x:2}", ".a{x:1;}"),
        (".a .b,.a:hover{x:1}", ".a:hover{x:1;}"),
        (".a:not(.b){x:1}", ".a:not(.b){x:1;}"),
        (":is(.b, p:not(.c), li) .a, .b:is(li, p) {x:1}", ":is(.b, p:not(.c), li) .a{x:1;}"),
        (":not(:is(:where(.b, .c))){x:1}", ":not(:is(:where(.b, .c))){x:1;}"),
        ('[title=".b, {"] .a{x:1}', '[title=".b, {"] .a{x:1;}'),
        ("@media print{.b{x:1}}", ""),
        ("@media print{.a{x:1}}", "@media print{.a{x:1;}}"),
        ("@media print{.a:hover{x:1}}", "@media print{.a:hover{x:1;}}"),
        ('.a::before{content:"} .b {";x:1} /* .a{} */', '.a::before{content:"} .b {";x:1;}'),
        (r".w\/2{x:1}.a{x:2}", ".a{x:2;}"),
        (r".a\:b{x:1}.a{x:2}", ".a{x:2;}"),
        ("p{background:url(data:image/png;base64,AA)}", "p{background:url(data:image/png;base64,AA);}"),
        (".a{x:1 ! important;y:calc(1px + 2px) /* so */}", ".a{x:1!important;y:calc(1px + 2px);}"),
        (".a{--x: ;--y:{b}}", ".a{--x: ;--y:{b};}"),
        (r'.a{content:"\f107";x:1}', ".a{x:1;}"),
        ("@font-face{font-family:'Font Awesome 6'}p{x:1}", "p{x:1;}"),
        ("@keyframes fa-spin{to{x:1}}@keyframes b{to{x:1}}", "@keyframes b{to{x:1;}}"),
        (".a{x:1;.b{y:1}&:hover{y:2}}", ".a{x:1;&:hover{y:2;}}"),
    ],
)
def test_rules_that_no_page_has_a_use_for_go(css, kept):
    assert rules.write(rules.prune(rules.parse(css), {"a"})) == kept


def test_variables_that_nothing_reads_go_and_those_that_only_they_read():
    css = ':root{--a:1;--b:var(--a);--c:"{;}";--d:3}p{x:var(--c)}q{--b:2}'
    found = rules.without_idle_variables(rules.parse(css), {"--d"})
    assert rules.write(found) == ':root{--c:"{;}";--d:3;}p{x:var(--c);}'
    assert rules.variables_read("a: var(--x)", "b: var( --y , 1) --z") == {"--x", "--y"}


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def points(path: str) -> list[tuple[str, float, float]]:
    """Where each step of a path ends, and what it passes, whether its numbers are from the corner or from the last."""
    x = y = left = top = 0.0
    found = []
    for letter, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        given = [float(number) for number in re.findall(r"-?[\d.]+", numbers)]
        if letter.islower():
            given = [number + (x, y)[n % 2] for n, number in enumerate(given)]
        found += [(letter.upper(), *pair) for pair in zip(given[::2], given[1::2], strict=True)] or [("Z", left, top)]
        _, x, y = found[-1]
        left, top = (x, y) if letter in "mM" else (left, top)
    return found


def drawn_by_matplotlib() -> str:
    fig = Figure(figsize=(3, 2))
    ax = fig.subplots()
    ax.plot(np.random.default_rng(0).standard_normal(500).cumsum(), marker="o", markevery=50)
    ax.add_patch(Circle((100, 0), 3, hatch="//"))
    ax.set_title("$W_Q$ of “it”")
    file = io.StringIO()
    fig.savefig(file, format="svg")
    return file.getvalue()


def test_a_drawing_in_fewer_bytes_has_every_point_where_it_was_to_a_hundredth():
    before = drawn_by_matplotlib()
    after = drawings.shorter(before.encode()).decode()
    paths = [re.findall(r' d="([^"]+)"', svg) for svg in (before, after)]
    assert len(paths[0]) == len(paths[1]) > 20
    for one, other in zip(*paths, strict=True):
        (kinds, *was), (same, *now) = zip(*points(one), strict=True), zip(*points(other), strict=True)
        assert kinds == same
        assert np.abs(np.subtract(was, now)).max() <= 0.005 + 1e-9
    moved = [re.findall(r"translate\(([-\d.]+)[ ,]*([-\d.]*)\)", svg) for svg in (before, after)]
    numbers = [[float(number or 0) for pair in pairs for number in pair] for pairs in moved]
    assert np.abs(np.subtract(*numbers)).max() <= 0.005 + 1e-9
    assert "scale(0.015625)" in after  # of letters
    assert set(re.findall(r"#([\w-]+)", after)) - set(re.findall(r'id="([\w-]+)"', after)) <= set(
        re.findall(r"#([0-9a-f]{6})\b", after)
    )
    before_and_after = [re.findall(r"<(path|use|g|clipPath|pattern)\b", svg) for svg in (before, after)]
    assert before_and_after[0] == before_and_after[1]
    assert len(gzip.compress(after.encode(), 9)) < 0.8 * len(gzip.compress(before.encode(), 9))


def test_a_path_with_steps_that_matplotlib_does_not_write_stays_as_it_is():
    for path in (b"M 1 2 A 3 4 0 0 1 5 6", b"m 1 2", b"M 1.23456 2 3 4"):
        assert drawings.from_point_to_point(path) == path


def test_a_table_without_rules_has_no_names_for_them_and_one_with_rules_keeps_its_own():
    frame = pd.DataFrame({"a b": [1, 2], "<c>": [3, 4]}, ["x", "y"]).rename_axis("name")
    html = frame.style.format("{:.1f}").to_html()
    plain = frames.UNSTYLED.sub(frames.plain, html)
    assert not re.search(r"style|id=|class=|\n", plain.strip())
    assert [
        [cell.get_text() for cell in row.find_all(["th", "td"])] for row in BeautifulSoup(plain, "html.parser")("tr")
    ] == [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in BeautifulSoup(html, "html.parser")("tr")]
    styled = frame.style.set_properties(**{"text-align": "left"}).to_html()
    assert frames.UNSTYLED.sub(frames.plain, styled) == styled


@pytest.mark.parametrize("opaque", [True, False])
def test_a_picture_inside_a_figure_keeps_its_pixels_and_loses_an_alpha_that_says_nothing(opaque):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[3, 2, 3] = 255 if opaque else 254
    svg = b'<image xlink:href="data:image/png;base64,\n' + b64encode(png(pixels)) + b'" width="5"/>'
    lighter = figures.lighter(svg)
    (data,) = re.findall(rb"base64,\s*([^\"]+)", lighter)
    with Image.open(io.BytesIO(b64decode(data))) as picture:
        assert picture.mode == ("RGB" if opaque else "RGBA")
        assert (np.asarray(picture.convert("RGBA")) == pixels).all()
    assert lighter.endswith(b'" width="5"/>')
    assert len(lighter) < len(svg) if opaque else lighter == svg
