"""What a page shows: its complaints, what axe finds, whether it scrolls sideways, its equations and its figures."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import axe_playwright_python
import contents
from playwright.sync_api import BrowserContext, Page
from small_book import ROOT

sys.path.insert(0, str(ROOT / ".ci"))
import limits

PAGES = [*contents.PAGES, "search"]
VIEWS = [f"{width}, {scheme}" for width in ("desktop", "phone") for scheme in ("light", "dark")]
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()

Trouble = list[str]

# What a browser says of a request that nobody waits for any more: the reader has gone on to another page.
GIVEN_UP = "net::ERR_ABORTED"


def watched(context: BrowserContext, address: str) -> tuple[Page, Trouble]:
    """A new page, and the list into which its complaints go."""
    page = context.new_page()
    trouble, _ = listened_to(page, address)
    return page, trouble


def listened_to(page: Page, address: str) -> tuple[Trouble, Callable[[], None]]:
    """The list into which a page's complaints go from now on, and what ends that."""
    trouble = Trouble()

    def requested(request):
        if urlsplit(request.url).scheme in ("http", "https", "ws", "wss") and not request.url.startswith(f"{address}/"):
            trouble.append(f"foreign request: {request.url}")

    def failed(request):
        if request.failure != GIVEN_UP:
            trouble.append(f"failed request: {request.url} ({request.failure})")

    def said(message):
        if message.type in ("error", "warning"):
            trouble.append(f"console {message.type}: {message.text}")

    def answered(response):
        if response.status >= 400:
            trouble.append(f"status {response.status}: {response.url}")

    handlers = {"console": said, "request": requested, "requestfailed": failed, "response": answered}
    handlers["pageerror"] = lambda error: trouble.append(f"uncaught: {error}")
    for event, handler in handlers.items():
        page.on(event, handler)
    return trouble, lambda: [page.remove_listener(*each) for each in handlers.items()] and None


@dataclass
class Findings:
    trouble: Trouble
    kinds: list[str]  # of texts and of links, that were looked at
    violations: list[str]  # one for each element: rule, element, why
    sideways: list[str]  # what sticks out where the page scrolls sideways
    equations: int
    raw_equations: list[str]
    figures: int
    unloaded: list[str]
    previous: str | None
    next: str | None
    measured: limits.Seen | None = None  # on a desktop by day: what the book's limits are for


# Everything that is folded is opened first: what nobody sees is neither measured nor read by axe.
UNFOLD = r"""async () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    for (const button of document.querySelectorAll("button.toggle-button-hidden")) button.click();
    const images = [...document.images];
    for (const image of images) image.loading = "eager";
    await Promise.all(images.map((image) => image.decode().catch(() => null)));
    await document.fonts.ready;
}"""

# Of axe's rules, only those on colours can tell light from dark. They take longer than all others together, since axe
# lays a grid over whatever there is. So they are shown one text of each kind, of each colour, size and weight on each
# background, and one link of each kind in a text of each; none of a kind that is known to be well; and for as long as
# they look, all that holds none of these is taken away.
# For as long as they and the other rules look, what an equation shows to the eye alone, a hundred elements that readers
# are not told of, is an empty box; by night and on a phone all of the equation is a letter in a box. The other rules do
# not see how code is coloured, word by word.
LOOK = r"""async (scheme, known = []) => {
    const all = (selector) => [...document.querySelectorAll(selector)];
    const texts = function* (root) {
        const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) if (walker.currentNode.data.trim()) yield walker.currentNode;
    };
    await new Promise(requestAnimationFrame);
    for (const animation of document.getAnimations()) animation.finish();

    const behind = new Map([[null, ""]]);
    const ground = (e) => {
        if (!behind.has(e)) {
            const { backgroundColor, opacity, position } = getComputedStyle(e);
            const own = /^(rgba\(0, 0, 0, 0\)|transparent)$/.test(backgroundColor) ? "" : backgroundColor;
            const under = ground(e.parentElement);
            const same = !own && opacity === "1" && position !== "fixed";
            behind.set(e, same ? under : `${under}/${own} ${opacity} ${position}`);
        }
        return behind.get(e);
    };
    const kind = (e) => {
        const { color, fontSize, fontWeight } = getComputedStyle(e);
        return [color, fontSize, fontWeight, ground(e)].join(" | ");
    };
    const well = new Set(known);
    const kinds = new Map();
    for (const { parentElement: e } of texts(document.body)) {
        if (e.closest("[aria-hidden=true], .katex-mathml, script, style, noscript") || !e.checkVisibility()) continue;
        const its = kind(e);
        if (!well.has(its) && !(kinds.get(its)?.childElementCount <= e.childElementCount)) kinds.set(its, e);
    }
    const block = (e) => {
        while (e.parentElement && getComputedStyle(e).display === "inline") e = e.parentElement;
        return e;
    };
    const length = (e) => e.textContent.trim().length;
    const linked = new Map();
    for (const e of all("a[href]")) {
        const text = block(e);
        const alone = [...text.querySelectorAll("a[href]")].reduce((sum, a) => sum + length(a), 0) >= length(text);
        if (alone || text === e || !e.checkVisibility()) continue;
        const { textDecorationLine, borderBottom, fontStyle } = getComputedStyle(e);
        const its = `link: ${kind(e)} | ${textDecorationLine} ${borderBottom} ${fontStyle} in ${kind(text)}`;
        if (!well.has(its) && !linked.has(its)) linked.set(its, text);
    }

    const equations = all(".math");
    const typeset = (equation) => equation.querySelector(".katex math") && !equation.querySelector(".katex-error");
    const raw = equations.filter((equation) => !typeset(equation)).map((equation) => equation.textContent.trim());
    for (const { data, parentElement: e } of texts(document.querySelector("main") ?? document.body))
        if (!e.closest("pre, code, script, style, annotation") && /\\[([]|\$\$/.test(data)) raw.push(data.trim());

    const { scrollWidth, clientWidth } = document.scrollingElement;
    const ends = (e) => Math.round(e.getBoundingClientRect().right);
    const clipped = (e) => {
        for (e = e.parentElement; e && e !== document.body; e = e.parentElement)
            if (getComputedStyle(e).overflowX !== "visible") return true;
        return false;
    };
    const name = (e) => e.localName + (e.id ? "#" + e.id : [...e.classList].map((c) => "." + c).join(""));
    const sticks = all("body *").filter((e) => scrollWidth > clientWidth && ends(e) > clientWidth && !clipped(e));

    const found = { equations: equations.length, raw_equations: raw, figures: all("img").length };
    const whole = scheme === "light" && innerWidth > 1000;
    const equation = whole ? ".katex-html[aria-hidden=true]" : ".katex";
    const anew = kinds.size + linked.size > 0;
    const hidden = anew || scheme === "light" ? all(equation) : [];
    const boxes = hidden.map((e) => [e, e.getBoundingClientRect(), [...e.childNodes]]);
    for (const [e, { width, height }] of boxes) {
        e.replaceChildren(...(whole ? [] : ["x"]));
        e.style = `display: inline-block; height: ${height}px; width: ${width}px`;
    }
    const quick = { preload: false, resultTypes: ["violations"] };
    const on_colours = ["color-contrast", "link-in-text-block"];
    const others = { ...quick, rules: Object.fromEntries(on_colours.map((rule) => [rule, { enabled: false }])) };
    const violations = [];
    if (scheme === "light") {
        const coloured = all("pre").filter((e) => !e.querySelector(":not(span), [id], [tabindex], [role]"));
        const words = coloured.map((e) => [e, [...e.childNodes]]);
        for (const e of coloured) e.replaceChildren(e.textContent);
        violations.push(...(await axe.run(document, others)).violations);
        for (const [e, children] of words) e.replaceChildren(...children);
    }

    const samples = new Set(kinds.values());
    const wholes = new Set(linked.values());
    const kept = new Set();
    const live = all("body *").filter((e) => e.localName.includes("-")); // would begin anew
    for (let e of [...samples, ...live, ...wholes]) for (; e && !kept.has(e); e = e.parentElement) kept.add(e);
    const away = [];
    const thin_out = (parent) => {
        for (const e of [...parent.children]) {
            if (samples.has(e) || wholes.has(e) || live.includes(e)) continue;
            if (kept.has(e)) thin_out(e);
            else if (!e.matches("style, link, script")) {
                const place = document.createComment("");
                e.replaceWith(place);
                away.push([place, e]);
            }
        }
    };
    if (anew) {
        thin_out(document.body);
        for (const e of samples) e.dataset.sample = "";
        axe.configure({ rules: [{ id: "color-contrast", selector: "[data-sample]" }] });
        violations.push(...(await axe.run(document, { ...quick, runOnly: on_colours })).violations);
        for (const e of samples) delete e.dataset.sample;
        for (const [place, e] of away) place.replaceWith(e);
    }
    for (const [e, , children] of boxes) {
        e.replaceChildren(...children);
        e.removeAttribute("style");
    }
    const why = (node) => [...node.any, ...node.all, ...node.none].map((check) => check.message).join("; ");
    return {
        ...found,
        kinds: [...kinds.keys(), ...linked.keys()],
        violations: violations.flatMap((rule) =>
            rule.nodes.map((node) => `${rule.id}: ${node.target.flat().join(" ")}: ${why(node)}`)),
        sideways: scrollWidth <= clientWidth ? [] : [
            `${scrollWidth} pixels in ${clientWidth}`,
            ...sticks.map((e) => `${name(e.parentElement)} > ${name(e)} ends at ${ends(e)}`)],
        unloaded: all("img").filter((i) => !(i.complete && i.naturalWidth > 0)).map((image) => image.src),
        previous: document.querySelector("a.left-prev")?.href ?? null,
        next: document.querySelector("a.right-next")?.href ?? null,
    };
}"""


def survey(
    contexts: dict[str, BrowserContext],
    address: str,
    name: str,
    well: dict[str, set[str]] | None = None,
    site: Path | None = None,
) -> dict[str, Findings]:
    """One page in every view. The widths are looked at side by side, a process each; night falls on the loaded page.

    A context's tab is used for one page after the other, so that what they share is compiled once. `well` has, by view,
    the kinds of texts and links that pages before had and axe found nothing wrong with; it grows. With `site`, the
    folder that is served, what the book's limits are for is measured on a desktop.
    """
    well = {} if well is None else well
    pages = {width: context.pages[0] if context.pages else context.new_page() for width, context in contexts.items()}
    heard = {width: listened_to(page, address) for width, page in pages.items()}
    for page in pages.values():
        page.emulate_media(color_scheme="light")
    visit = limits.Visit(pages["desktop"], address, site) if site else None
    for width, page in pages.items():
        if visit and width == "desktop":
            visit.begin(f"{name}.html")
        else:
            page.goto(f"{address}/{name}.html", wait_until="commit")
    found = {}

    def begin(width: str, scheme: str) -> None:
        known = sorted(well.setdefault(f"{width}, {scheme}", set()))
        pages[width].emulate_media(color_scheme=scheme)
        pages[width].evaluate(
            f"(asked) => {{ window.look = ({UNFOLD})().then(() => ({LOOK})(...asked)); }}", [scheme, known]
        )

    def end(width: str, scheme: str) -> None:
        view = f"{width}, {scheme}"
        found[view] = Findings(trouble=heard[width][0], **pages[width].evaluate("look"))
        well[view].update(() if found[view].violations else found[view].kinds)

    # The phone is looked at while the desktop rests, to be measured.
    in_turn = sorted(pages, key=lambda width: bool(visit) and width == "desktop")
    for width in in_turn:
        pages[width].wait_for_load_state("load")
        measured = visit.look() if visit and width == "desktop" else None
        pages[width].evaluate(AXE)
        begin(width, "light")
    for width in in_turn:
        end(width, "light")
        begin(width, "dark")
    for width in in_turn:
        end(width, "dark")
    if visit:
        visit.end()
        found["desktop, light"].measured = measured
    for _, leave in heard.values():
        leave()
    return found
