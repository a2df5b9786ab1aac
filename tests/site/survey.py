"""What a page shows: its complaints, what axe finds, whether it scrolls sideways, its equations and its figures."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import axe_playwright_python
import contents
from playwright.sync_api import BrowserContext, Page

PAGES = [*contents.PAGES, "search"]
VIEWS = [f"{width}, {scheme}" for width in ("desktop", "phone") for scheme in ("light", "dark")]
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()

Trouble = list[str]

# What a browser says of a request that nobody waits for any more: the reader has gone on to another page.
GIVEN_UP = "net::ERR_ABORTED"


def watched(context: BrowserContext, address: str) -> tuple[Page, Trouble]:
    """A new page, and the list into which its complaints go."""
    page, trouble = context.new_page(), Trouble()

    def requested(request):
        if urlsplit(request.url).scheme in ("http", "https", "ws", "wss") and not request.url.startswith(f"{address}/"):
            trouble.append(f"foreign request: {request.url}")

    def failed(request):
        if request.failure != GIVEN_UP:
            trouble.append(f"failed request: {request.url} ({request.failure})")

    page.on(
        "console", lambda m: trouble.append(f"console {m.type}: {m.text}") if m.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: trouble.append(f"uncaught: {error}"))
    page.on("request", requested)
    page.on("requestfailed", failed)
    page.on("response", lambda r: trouble.append(f"status {r.status}: {r.url}") if r.status >= 400 else None)
    return page, trouble


@dataclass
class Findings:
    trouble: Trouble
    violations: list[str]  # one for each element: rule, element, why
    sideways: list[str]  # what sticks out where the page scrolls sideways
    equations: int
    raw_equations: list[str]
    figures: int
    unloaded: list[str]
    previous: str | None
    next: str | None


# Everything that is folded is opened first: what nobody sees is neither measured nor read by axe.
UNFOLD = r"""async () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    for (const button of document.querySelectorAll("button.toggle-button-hidden")) button.click();
    const images = [...document.images];
    for (const image of images) image.loading = "eager";
    await Promise.all(images.map((image) => image.decode().catch(() => null)));
    await document.fonts.ready;
}"""

# Of axe's rules, only those on colours can tell light from dark. The one on contrast takes longer than all others
# together, so it is shown one text of each kind: of each colour, size and weight on each background; and for as long as
# it looks, all that neither holds such a text nor a link is taken away, since axe lays a grid over whatever there is.
# For as long as the other rules look, what an equation shows to the eye alone, a hundred elements that readers are not
# told of, is an empty box; by night all of the equation is.
LOOK = r"""async (scheme) => {
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
    const kinds = new Map();
    for (const { parentElement: e } of texts(document.body)) {
        if (e.closest("[aria-hidden=true], .katex-mathml, script, style, noscript") || !e.checkVisibility()) continue;
        const { color, fontSize, fontWeight } = getComputedStyle(e);
        const kind = [color, fontSize, fontWeight, ground(e)].join(" | ");
        if (!(kinds.get(kind)?.childElementCount <= e.childElementCount)) kinds.set(kind, e);
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
    const equation = scheme === "light" ? ".katex-html[aria-hidden=true]" : ".katex";
    const boxes = all(equation).map((e) => [e, e.getBoundingClientRect(), [...e.childNodes]]);
    for (const [e, { width, height }] of boxes) {
        e.replaceChildren();
        e.style = `display: inline-block; height: ${height}px; width: ${width}px`;
    }
    const quick = { preload: false, resultTypes: ["violations"] };
    const but_contrast = { ...quick, rules: { "color-contrast": { enabled: false } } };
    const violations = scheme === "light" ? (await axe.run(document, but_contrast)).violations : [];

    const samples = new Set(kinds.values());
    const kept = new Set();
    const live = all("body *").filter((e) => e.localName.includes("-")); // would begin anew
    for (let e of [...samples, ...live, ...all("a[href]")]) for (; e && !kept.has(e); e = e.parentElement) kept.add(e);
    const away = [];
    const thin_out = (parent) => {
        for (const e of [...parent.children]) {
            if (samples.has(e) || live.includes(e)) continue;
            if (kept.has(e)) thin_out(e);
            else if (!e.matches("style, link, script")) {
                const place = document.createComment("");
                e.replaceWith(place);
                away.push([place, e]);
            }
        }
    };
    thin_out(document.body);
    for (const e of samples) e.dataset.sample = "";
    axe.configure({ rules: [{ id: "color-contrast", selector: "[data-sample]" }] });
    const links = scheme === "light" ? [] : ["link-in-text-block"];
    const colours = { ...quick, runOnly: ["color-contrast", ...links] };
    violations.push(...(await axe.run(document, colours)).violations);
    for (const e of samples) delete e.dataset.sample;
    for (const [place, e] of away) place.replaceWith(e);
    for (const [e, , children] of boxes) {
        e.replaceChildren(...children);
        e.removeAttribute("style");
    }
    const why = (node) => [...node.any, ...node.all, ...node.none].map((check) => check.message).join("; ");
    return {
        ...found,
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


def survey(contexts: dict[str, BrowserContext], address: str, name: str) -> dict[str, Findings]:
    """One page in every view. The widths are looked at side by side, a process each; night falls on the loaded page."""
    opened = {width: watched(context, address) for width, context in contexts.items()}
    for page, _ in opened.values():
        page.emulate_media(color_scheme="light")
        page.goto(f"{address}/{name}.html", wait_until="commit")
    for page, _ in opened.values():
        page.wait_for_load_state("load")
        page.evaluate(AXE)
    found = {}
    for scheme in ("light", "dark"):
        for page, _ in opened.values():
            page.emulate_media(color_scheme=scheme)
            page.evaluate(f"(scheme) => {{ window.look = ({UNFOLD})().then(() => ({LOOK})(scheme)); }}", scheme)
        for width, (page, trouble) in opened.items():
            found[f"{width}, {scheme}"] = Findings(trouble=trouble, **page.evaluate("look"))
    for page, _ in opened.values():
        page.close()
    return found
