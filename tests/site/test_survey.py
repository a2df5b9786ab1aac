"""The survey sees what it is there to see: a page with everything wrong, and one with nothing wrong."""

import threading

import pytest
from readers import Quiet, new_context, served
from survey import AXE, LOOK, survey, watched

HEAD = '<!doctype html><html lang="en"><head><meta name="viewport" content="width=device-width"><title>A page</title>'
GOOD = f"""{HEAD}<style>
@media (prefers-color-scheme: dark) {{ html {{ background: #111; color: #eee }} }}
</style></head><body><main><h1>A page</h1><p>Text.</p><details><summary>More</summary><p>Unfolded.</p></details>
<span class="math"><span class="katex"><math><mi>x</mi></math></span></span></main></body></html>"""
BAD = f"""{HEAD}<style>.b {{ color: #aaa; background: #fff }} .l {{ color: #66f }}
@media (prefers-color-scheme: dark) {{ .d {{ background: #222 }} .l {{ color: #eee; text-decoration: none }} }}
.w {{ width: 900px }}</style></head><body><main><h1>A page</h1><p class="d" style="color: #333">Gone by night.</p>
<div style="background: #000; color: #fff"><p>A <a class="l" href="#x">link</a> in a text.</p></div>
<details><summary>More</summary><p class="b">Pale.</p></details><img src="nowhere.png"><p class="w">Wide.</p>
<span class="math">\\(x^2\\)</span><span class="math"><span class="katex katex-error"><math></math></span></span>
<script>console.error("a complaint"); fetch("http://127.0.0.2:9/").catch(() => 0); throw new Error("a mistake")</script>
</main></body></html>"""


@pytest.fixture(scope="module")
def surveyed(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    (folder / "good.html").write_text(GOOD)
    (folder / "bad.html").write_text(BAD)
    (folder / "favicon.ico").touch()
    contexts = {width: new_context(browser, width=width) for width in ("desktop", "phone")}
    with served(folder) as address:
        yield {name: survey(contexts, address, name) for name in ("good", "bad")}
    for context in contexts.values():
        context.close()


def test_a_page_is_as_it_was_when_axe_has_looked(browser, tmp_path):
    (tmp_path / "favicon.ico").touch()
    (tmp_path / "good.html").write_text(GOOD)
    context = new_context(browser, width="desktop")
    with served(tmp_path) as address:
        page, trouble = watched(context, address)
        page.goto(f"{address}/good.html")
        page.evaluate(AXE)
        before = page.evaluate("document.body.outerHTML")
        for scheme in ("light", "dark"):
            page.evaluate(f"({LOOK})('{scheme}')")
        after = page.evaluate("document.body.outerHTML")
        context.close()
    bare = lambda html: html.replace(' style=""', "").replace(' data-sample=""', "")
    assert bare(after) == bare(before)
    assert trouble == []


@pytest.mark.parametrize("view", ["desktop, light", "desktop, dark", "phone, light", "phone, dark"])
def test_nothing_is_wrong_with_a_good_page(surveyed, view):
    found = surveyed["good"][view]
    assert [found.trouble, found.violations, found.sideways, found.raw_equations, found.unloaded] == [[]] * 5
    assert found.equations == 1


def test_every_complaint_is_heard(surveyed):
    trouble = "\n".join(surveyed["bad"]["desktop, light"].trouble)
    for complaint in ("a complaint", "uncaught: a mistake", "status 404: http", "foreign request: http://127.0.0.2:9/"):
        assert complaint in trouble


def test_what_a_reader_leaves_behind_is_no_complaint_and_what_nobody_answers_is_one(browser, tmp_path):
    """A picture that is still on its way when its page is left is given up by the browser."""
    (tmp_path / "favicon.ico").touch()
    (tmp_path / "slow.html").write_text(GOOD.replace("<main>", '<main><img src="never.png" alt="">'))
    (tmp_path / "good.html").write_text(GOOD.replace("<main>", '<main><img src="http://127.0.0.1:9/" alt="">'))

    class Slow(Quiet):
        def do_GET(self):
            if self.path != "/never.png":
                super().do_GET()
            else:
                left.wait(20)

    left = threading.Event()
    context = new_context(browser, width="desktop")
    given_up = []
    with served(tmp_path, Slow) as address:
        page, trouble = watched(context, address)
        page.on("requestfailed", lambda request: given_up.append(request.url))
        page.goto(f"{address}/slow.html", wait_until="domcontentloaded")
        page.goto(f"{address}/good.html", wait_until="load")
        left.set()
        context.close()
    assert f"{address}/never.png" in given_up
    assert not any("never.png" in complaint for complaint in trouble)
    assert any(complaint.startswith("failed request: http://127.0.0.1:9/") for complaint in trouble)


def test_axe_reads_what_was_folded_and_looks_again_at_night(surveyed):
    bad = surveyed["bad"]
    rules = {view: {found.partition(": ")[0] for found in bad[view].violations} for view in bad}
    assert rules["desktop, light"] >= {"image-alt", "color-contrast"}
    (pale,) = (found for found in bad["desktop, light"].violations if found.startswith("color-contrast"))
    assert pale.startswith("color-contrast: .b: Element has insufficient color contrast")
    assert any(found.startswith("color-contrast: .d") for found in bad["phone, dark"].violations)
    assert "image-alt" not in rules["phone, dark"]
    assert "link-in-text-block" in rules["phone, dark"]
    assert "link-in-text-block" not in rules["phone, light"]


def test_what_is_known_to_be_well_is_not_looked_at_again_and_what_is_not_is(browser, tmp_path):
    (tmp_path / "favicon.ico").touch()
    for name, text in {"good": GOOD, "again": GOOD, "bad": BAD, "worse": BAD}.items():
        (tmp_path / f"{name}.html").write_text(text)
    contexts, well = {"desktop": new_context(browser, width="desktop")}, {}
    with served(tmp_path) as address:
        found = {name: survey(contexts, address, name, well) for name in ("good", "again", "bad", "worse")}
        contexts["desktop"].close()
    assert found["good"]["desktop, light"].kinds
    assert found["again"]["desktop, light"].kinds == []
    bad, worse = (found[name]["desktop, dark"] for name in ("bad", "worse"))
    assert any(kind.startswith("link: ") for kind in bad.kinds)
    assert len(bad.violations) > 1
    assert worse.violations == bad.violations


def test_what_is_wide_or_raw_or_missing_is_named(surveyed):
    bad = surveyed["bad"]
    assert bad["desktop, light"].sideways == []
    assert bad["phone, light"].sideways[0].endswith("pixels in 360")
    assert any("p.w ends at 9" in line for line in bad["phone, light"].sideways)
    for found in bad.values():
        assert "\\(x^2\\)" in found.raw_equations
        assert len(found.raw_equations) == 3  # twice: as an equation that is not typeset, and as text
        assert [address.rpartition("/")[2] for address in found.unloaded] == ["nowhere.png"]
