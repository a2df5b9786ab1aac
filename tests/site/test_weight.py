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
import pytest
from contents import parsed
from PIL import Image
from small_book import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.page import figures
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
