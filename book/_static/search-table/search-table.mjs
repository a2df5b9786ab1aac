// <search-table>: a table that can be searched, filtered and sorted.
//
// Around a table, from surgeon/book/search_table.py or from a page's Markdown. `noun` says what its rows are, `filters` which columns
// can be chosen from (their heads, between "|"). Without a script it is the table. A cell's data-order is what it is sorted by, in
// place of its text; a row is searched in its text and in its data-words. `more` names pages that have such a table too: their rows
// come to this one when it comes into sight.

/** The words of a search: what a reader pastes has numbers and marks in it that no row has. If there is no word, all of it is one. */
export function words(text) {
  const plain = text.toLowerCase().trim();
  return plain.match(/[\p{L}_]{2,}/gu) || (plain ? [plain] : []);
}

/** Which texts answer a search: those with every word; if there is none, those with most of them, if that is at least half. */
export function answers(texts, search) {
  const wanted = [...new Set(words(search))];
  const counts = texts.map((text) => wanted.filter((word) => text.includes(word)).length);
  const most = Math.max(0, ...counts);
  const enough = 2 * most >= wanted.length;
  return { found: counts.map((count) => enough && count === most), exact: most === wanted.length };
}

/** Numbers by their size, texts by the alphabet, and last, either way, what has neither. */
export function compare(a, b, down) {
  const empty = (x) => x === "" || Number.isNaN(x);
  if (empty(a) || empty(b)) return empty(a) - empty(b);
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en");
  return down ? -order : order;
}

const text = (cell) => cell.textContent.replace(/\s+/g, " ").trim();

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** When an element is first seen. */
const seen = (element) =>
  new Promise((resolve) => {
    const watch = new IntersectionObserver((places) => {
      if (!places.some((place) => place.isIntersecting)) return;
      watch.disconnect();
      resolve();
    });
    watch.observe(element);
  });

/** The rows of another page's table, their links as that page has them. */
async function rowsOf(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const rows = [...page.querySelector("search-table tbody").rows];
  for (const link of rows.flatMap((row) => [...row.querySelectorAll("a")])) link.href = new URL(link.getAttribute("href"), address);
  return rows;
}

class SearchTable extends (globalThis.HTMLElement || class {}) {
  connectedCallback() {
    const table = this.querySelector("table");
    if (!table || this.begun) return;
    this.begun = true;
    const more = (this.getAttribute("more") || "").split(" ").filter(Boolean);
    if (more.length) seen(this).then(() => this.bring(table, more));
    else this.begin(table);
  }

  /** What does not come is still where the page's links lead. */
  async bring(table, pages) {
    const brought = await Promise.allSettled(pages.map((page) => rowsOf(new URL(page, document.baseURI))));
    for (const { value } of brought) table.tBodies[0].append(...(value || []));
    this.lost = brought.some(({ status }) => status === "rejected");
    this.begin(table);
  }

  begin(table) {
    this.noun = this.getAttribute("noun") || "rows";
    this.heads = [...table.tHead.rows[0].cells];
    this.names = this.heads.map(text);
    this.body = table.tBodies[0];
    this.rows = [...this.body.rows];
    this.texts = this.rows.map((row) => `${text(row)} ${row.dataset.words || ""}`.toLowerCase());
    this.sorted = { column: -1, down: false };
    this.markUp(table);
    this.build();
    this.before(table).before(this.form);
    this.show();
    this.setAttribute("ready", "");
  }

  /** The outermost thing inside this element that holds the table: the theme puts a box round it. */
  before(table) {
    let box = table;
    while (box.parentElement !== this) box = box.parentElement;
    return box;
  }

  /** On a phone a row is set as a block, each cell with the name of its column; it must stay a row to those who listen. */
  markUp(table) {
    table.setAttribute("role", "table");
    for (const part of [table.tHead, this.body]) part.setAttribute("role", "rowgroup");
    for (const row of table.rows) row.setAttribute("role", "row");
    for (const row of this.rows) {
      [...row.cells].forEach((cell, n) => {
        cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
        cell.dataset.label = this.names[n];
      });
    }
    this.heads.forEach((head, n) => {
      head.setAttribute("role", "columnheader");
      const button = make("button", { type: "button" }, this.names[n]);
      button.addEventListener("click", () => this.sort(n));
      head.replaceChildren(button);
    });
  }

  build() {
    this.search = make("input", { type: "search", autocomplete: "off", spellcheck: "false" });
    this.search.addEventListener("input", () => this.show());
    this.selects = (this.getAttribute("filters") || "").split("|").filter(Boolean).map((name) => {
      const column = this.names.indexOf(name.trim());
      const values = [...new Set(this.rows.map((row) => text(row.cells[column])))].filter(Boolean);
      const options = ["all", ...values].map((value, n) => make("option", { value: n ? value : "" }, value));
      const select = make("select", { "aria-label": this.names[column] }, ...options);
      select.addEventListener("change", () => this.show());
      return { column, select, label: make("label", {}, this.names[column], select) };
    });
    this.clear = make("button", { type: "button" }, "Show all");
    this.clear.addEventListener("click", () => {
      this.search.value = "";
      for (const { select } of this.selects) select.value = "";
      this.show();
      this.search.focus();
    });
    this.said = make("p", { role: "status", "aria-live": "polite" });
    const labels = this.selects.map(({ label }) => label);
    this.form = make("form", { role: "search", "aria-label": `Search the ${this.noun}` });
    this.form.append(make("label", { class: "words" }, "Search", this.search), ...labels, this.clear, this.said);
    this.form.addEventListener("submit", (event) => event.preventDefault());
  }

  sort(column) {
    const again = this.sorted.column === column;
    // Up, down, and as it was.
    this.sorted = again && this.sorted.down ? { column: -1, down: false } : { column, down: again };
    this.heads.forEach((head, n) => {
      if (n === this.sorted.column) head.setAttribute("aria-sort", this.sorted.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const value = (row) => {
      const cell = row.cells[column];
      return cell.dataset.order === undefined ? text(cell) : cell.dataset.order === "" ? "" : Number(cell.dataset.order);
    };
    const rows = [...this.rows];
    if (this.sorted.column >= 0) rows.sort((a, b) => compare(value(a), value(b), this.sorted.down));
    this.body.append(...rows);
    this.show();
  }

  show() {
    const { found, exact } = answers(this.texts, this.search.value);
    let shown = 0;
    this.rows.forEach((row, n) => {
      const chosen = this.selects.every(({ column, select }) => !select.value || text(row.cells[column]) === select.value);
      row.hidden = !(found[n] && chosen);
      shown += !row.hidden;
    });
    const nearest = !exact && shown ? " None has every word; these have most." : "";
    const { column, down } = this.sorted;
    const order = column < 0 ? "" : `, by ${this.names[column]}${down ? ", downwards" : ""}`;
    const lost = this.lost ? " Others did not come: the links above lead to them." : "";
    this.said.textContent = `${shown} of ${this.rows.length} ${this.noun}${order}.${nearest}${lost}`;
    this.clear.hidden = shown === this.rows.length && !this.search.value;
  }
}

globalThis.customElements?.define("search-table", SearchTable);
