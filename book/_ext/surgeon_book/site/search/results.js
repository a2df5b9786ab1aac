// The page of the search: asks the index, and shows the sections that answer. It works from a folder too: nothing is
// fetched, what is needed later comes as a script. (The block keeps its names apart from those of page.js.)
"use strict";

{
  const FIRST = 10;
  const field = document.querySelector("#search-form input");
  const list = document.querySelector("#search-results");
  const said = document.querySelector("#search-status");
  const more = document.querySelector("#search-more");
  const search = MiniSearch.loadJS(INDEX, OPTIONS);
  const marks = "fragmentDirective" in document; // whether a link can say which text is to be marked
  const version = document.querySelector("[data-search-version]").dataset.searchVersion;

  // Texts come page by page, once each.
  const texts = [];
  const waiting = [];

  globalThis.heard = (page, found) => waiting[page](found);

  function textsOf(page) {
    texts[page] ??= new Promise((resolve) => {
      waiting[page] = resolve;
      const script = document.createElement("script");
      script.src = `search/texts/${page}.js?v=${version}`;
      script.onerror = () => resolve({});
      document.head.append(script);
    });
    return texts[page];
  }

  // Where the words that were found stand in a text: [start, end, word].
  function places(text, hit) {
    const found = new Set(hit.terms);
    const here = [];
    for (const [word, start, length] of pieces(text)) {
      const parts = tokenize(word).map(processTerm);
      const one = parts.find((part) => found.has(part));
      if (one) here.push([start, start + length, one]);
    }
    return here;
  }

  // The stretch of a text with most of the different words.
  const AROUND = 230;

  function stretch(text, here) {
    let best = [0, 0];
    here.forEach(([start], number) => {
      const within = here.slice(number).filter(([, end]) => end - start < AROUND - 60);
      const worth = new Set(within.map(([, , word]) => word)).size + within.length / 100;
      if (worth > best[0]) best = [worth, start];
    });
    let from = text.lastIndexOf("\n", best[1]) + 1;
    if (best[1] - from > 60) from = text.indexOf(" ", best[1] - 60) + 1;
    let to = Math.min(text.length, from + AROUND);
    if (to < text.length) to = text.lastIndexOf(" ", to);
    return [from, to];
  }

  function excerpt(text, here) {
    const [from, to] = stretch(text, here);
    const line = document.createElement("p");
    line.className = "context";
    const plain = (a, b) => text.slice(a, b).replaceAll(SET, "").replace(/\s+/g, " ");
    line.append(from && text[from - 1] !== "\n" ? "… " : "");
    let at = from;
    for (const [start, end] of here.filter(([start, end]) => start >= from && end <= to)) {
      const mark = document.createElement("mark");
      mark.textContent = plain(start, end);
      line.append(plain(at, start), mark);
      at = end;
    }
    line.append(plain(at, to), to < text.length ? " …" : "");
    return line;
  }

  // What is marked on arrival: the heading, to which the browser scrolls, and the words. Each is known by neighbours,
  // since a page says most words more than once, and titles stand in the contents beside it.
  const SET = "\u2063";
  const MOST = 8;
  const coded = (text) => encodeURIComponent(text).replaceAll("-", "%2D");
  const opening = (text) => text.match(/^[\p{L}\p{N}']+(?: [\p{L}\p{N}']+)?(?=[\s.,;:?])/u)?.[0];

  function directives(hit, text, here) {
    const found = [];
    if (hit.kind === "section" && opening(text)) found.push(`text=${coded(hit.title)},-${coded(opening(text))}`);
    const [from, to] = stretch(text, here);
    for (const [start, end] of here.filter(([start, end]) => start >= from && end <= to).slice(0, MOST)) {
      const before = text.slice(0, start).match(/(?:^|[\s(])([\p{L}\p{N}']+) $/u)?.[1];
      const after = text.slice(end).match(/^ ([\p{L}\p{N}']+)(?=[\s.,;:)]|$)/u)?.[1];
      if (before || after) {
        const parts = [before && `${coded(before)}-`, coded(text.slice(start, end)), after && `-${coded(after)}`];
        found.push(`text=${parts.filter(Boolean).join(",")}`);
      }
    }
    return found;
  }

  function shown(hit) {
    const [address, page] = PAGES[hit.page];
    const item = document.createElement("li");
    const link = document.createElement("a");
    const place = document.createElement("span");
    link.href = `${address}#${hit.anchor}`;
    link.textContent = hit.title;
    place.className = "place";
    place.textContent = hit.trail.length ? [page, ...hit.trail.slice(1)].join(" › ") : "";
    item.append(link, place);
    textsOf(hit.page).then((found) => {
      const text = found[hit.place] ?? "";
      const here = places(text, hit);
      if (text) item.append(excerpt(text, here));
      const marked = marks ? directives(hit, text, here) : [];
      if (marked.length) link.href += `:~:${marked.join("&")}`;
    });
    return item;
  }

  function show(hits, count) {
    list.replaceChildren(...hits.slice(0, count).map(shown));
    more.hidden = hits.length <= count;
    more.onclick = () => {
      show(hits, hits.length);
      list.children[count].querySelector("a").focus();
    };
  }

  function ask() {
    const query = field.value.trim();
    const address = new URL(location.href);
    if (query) address.searchParams.set("q", query);
    else address.searchParams.delete("q");
    history.replaceState(null, "", address);
    const hits = query ? answers(search, query) : [];
    const number = hits.length === 1 ? "One section" : `${hits.length} sections`;
    said.textContent = !query ? "" : hits.length ? `${number}, the best first.` : "No section has any of these words.";
    show(hits, FIRST);
  }

  // By keyboard: the arrows go from the field to the results and back.
  document.querySelector("#search-form").parentElement.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const stops = [field, ...list.querySelectorAll("a")];
    const next = stops.indexOf(document.activeElement) + step;
    if (stops.includes(document.activeElement) && stops[next]) {
      event.preventDefault();
      stops[next].focus();
    }
  });

  let pause;
  field.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(ask, 150);
  });
  document.querySelector("#search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(pause);
    ask();
  });
  field.value = new URLSearchParams(location.search).get("q") ?? "";
  field.focus();
  ask();
}
