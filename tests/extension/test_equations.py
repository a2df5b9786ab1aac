"""Equations are typeset when the book is built: what a page holds, what it needs, what is said of one that fails."""

import re
import sys

import pytest
from bs4 import BeautifulSoup
from small_book import ROOT, STRICT, SmallBook

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from surgeon_book.page import equations

PAGE = r"""# Equations

Inline $q \cdot k / \sqrt{d_k}$ and, by its number, {eq}`softmax`.

$$a_i = \frac{e^{s_i}}{\sum_j e^{s_j}}$$ (softmax)

$$M = \begin{bmatrix} 0 & -\infty \\ 0 & 0 \end{bmatrix}$$

\begin{align}
x &= 1 \\
y &= 2
\end{align}

```{math}
f(x) = \begin{cases} 1 & x > 0 \\ 0 & \text{otherwise} \end{cases}
```
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    root = tmp_path_factory.mktemp("equations") / "book"
    book = SmallBook(root, {"equations": PAGE, "plain": "# Plain\n\nNothing but words, which cost 5 dollars.\n"}, {})
    built = book.build(*STRICT)
    assert built.code == 0, built.output[-3000:]
    return book


@pytest.fixture
def page(book):
    return BeautifulSoup(book.html("equations"), "html.parser")


def test_every_equation_is_there_for_the_eye_and_for_the_ear(page):
    boxes = page.article.select(".math")
    assert [box.name for box in boxes] == ["span", "div", "div", "div", "div"]
    for box in boxes:
        assert len(box.select(".katex-html[aria-hidden=true]")) == 1
        assert len(box.select("math annotation")) == 1
    assert page.article.find("math").find("msqrt").get_text() == "dk"
    assert [box.name for box in page.article.select("math mtable")] == ["mtable"] * 3


def test_a_labelled_equation_has_its_number_and_is_referred_to_by_it(page):
    numbered = page.article.select("div.math:has(.eqno)")
    assert [box.select_one(".eqno").find(string=True) for box in numbered] == ["(1)"]
    (reference,) = page.article.select("p a.reference.internal[href^='#equation']")
    assert reference.get_text() == "(1)"
    assert reference["href"] == f"#{numbered[0]['id']}"
    assert not page.select(".katex .eqn-num")


def test_no_script_typesets_and_only_pages_with_equations_load_the_style(book, page):
    plain = BeautifulSoup(book.html("plain"), "html.parser")
    assert [bool(p.select("link[href*='katex.min.css']")) for p in (page, plain)] == [True, False]
    assert not plain.select("link[href*=katex]")
    assert not re.search(r"<script[^>]*mathjax|MathJax", book.html("equations") + book.html("plain"))
    assert not list((book.root / "_build/html").rglob("katex*.js"))


def test_the_style_asks_for_fonts_that_are_there(book):
    folder = book.root / "_build/html/_static/katex"
    fonts = set(re.findall(r"url\(([^)]+)\)", (folder / "katex.min.css").read_text()))
    assert len(fonts) == 20 + len(equations.often())
    assert all(font.endswith(".woff2") and (folder / font).is_file() for font in fonts)
    assert {font for font in fonts if "often" in font} == {
        f"fonts/often/KaTeX_{font}.woff2" for font in equations.often()
    }


def test_a_small_font_stands_behind_the_whole_one_and_is_for_its_characters_alone():
    """Of two faces of one name the later is asked first, where it is for the character."""
    faces = re.findall(r"@font-face\{[^}]*\}", equations.style())
    for font, characters in equations.often().items():
        whole, small = (face for face in faces if f"KaTeX_{font}." in face)
        assert "unicode-range" not in whole
        assert small.endswith(f";unicode-range:{characters}}}")
        assert small.count("fonts/often/") == 1


def test_an_equation_that_cannot_be_read_is_reported_with_its_line_each_time(book):
    text = (
        "# Broken\n\nCode is none: `\\frac{1}`.\n\n"
        "A paragraph of two lines\nwith $\\frac{1}$ in its second.\n\n$$\n\\nosuchthing{x}\n$$\n"
    )
    book.page("plain", text)
    for _ in range(2):
        built = book.build(*STRICT)
        assert built.code != 0
        inline, displayed = sorted(line for line in built.warnings if "KaTeX" in line)
        assert inline.startswith("plain.md:6: WARNING: KaTeX cannot read this equation: ")
        assert re.match(r"plain\.md:[89]: WARNING: .*Undefined control sequence: \\nosuchthing", displayed)
    book.page("plain", "# Plain\n\nNow with $x^2$.\n")
    assert book.build(*STRICT).code == 0
    assert "katex.min.css" in book.html("plain")


@pytest.mark.parametrize(
    ("tex", "whole", "expected"),
    [
        ("a = b", False, "a = b"),
        (r"a \\ b", False, r"\begin{split}a \\ b\end{split}"),
        (r"\begin{pmatrix}a \\ b\end{pmatrix}", False, r"\begin{pmatrix}a \\ b\end{pmatrix}"),
        ("a\n\nb", False, r"\begin{aligned}a\\b\end{aligned}"),
        (r"\begin{align}a\end{align}", True, r"\begin{align*}a\end{align*}"),
        (r"\begin{gather*}a\end{gather*}", True, r"\begin{gather*}a\end{gather*}"),
    ],
)
def test_displayed_equations_follow_sphinxs_rules_for_lines(tex, whole, expected):
    assert equations.displayed(tex, whole) == expected
    equations.typeset(expected, True)


def test_the_same_text_is_typeset_once():
    before = equations.typeset.cache_info().misses
    first, second = (equations.typeset("x_{4099}", False) for _ in range(2))
    assert first is second
    assert equations.typeset.cache_info().misses == before + 1
    assert equations.typeset("x_{4099}", True) != first


def test_what_katex_says_is_handed_on():
    with pytest.raises(equations.EquationError, match=r"Expected '\}', got 'EOF'"):
        equations.typeset("{x", False)
