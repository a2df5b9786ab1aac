// <theatre-tour>: what the page's "Things to try" say, done on the operating table before it, a step at a time. Each step
// says how everything stands, so that going back is going to another step.

const MORE = Array.from({ length: 32 }, (_, n) => `word${n}`);
const CHOSEN = ["largest", "entropy", "gradient"];
const ALARM = ["empty", "broken"];
// Of which item, what is said, how the knobs stand, which signs are read; then words, and cells that are turned round.
const STEPS = [
  [0, "Seven things to try, with the table set as each of them asks.", {}, CHOSEN],
  [1, "The scale is off.", { scale: false }, CHOSEN],
  [1, "The vectors are 1024 wide: without the scale, rows have chosen, and the gradient is gone.", { scale: false, d_k: 1024 }, CHOSEN],
  [1, "The scale is on again, at the same width.", { d_k: 1024 }, CHOSEN],
  [2, "Four different words, and no mask.", { mask: "none" }, CHOSEN, () => MORE.slice(0, 4)],
  [2, "Thirty-two different words: the scores are as spread out, and each weight is smaller.", { mask: "none" }, CHOSEN, () => MORE],
  [3, "In float16, without the scale and without subtracting the maximum: powers are infinite, and rows break.", { precision: "float16", scale: false, stable: false }, ALARM],
  [3, "The maximum is subtracted, and no row is broken.", { precision: "float16", scale: false }, ALARM],
  [3, "In float32, at the lowest temperature, without the maximum: the cliff has moved, and is still there.", { scale: false, stable: false, temperature: 2 ** -6 }, ALARM],
  [4, "No scale, and a temperature of 8, the root of 64: the weights are those of the beginning.", { scale: false, temperature: 8 }, CHOSEN],
  [4, "The coldest: rows choose.", { scale: false, temperature: 2 ** -6 }, CHOSEN],
  [4, "The hottest: rows average.", { scale: false, temperature: 2 ** 6 }, CHOSEN],
  [5, "No mask: words look ahead, and no row is broken.", { mask: "none" }, ["future", "broken"]],
  [5, "The mask the wrong way round.", { mask: "reverse" }, ["future", "broken"]],
  [6, "The second row may look at nothing: its weights are zeros.", {}, ALARM, null, ["1,0", "1,1"]],
  [6, "The same without subtracting the maximum: 0 by 0.", { stable: false }, ALARM, null, ["1,0", "1,1"]],
  [6, "A causal mask and padding in front make such rows by themselves.", { mask: "front" }, ALARM],
  [7, "No mask. The first word stands here twice: equal rows, equal columns.", { mask: "none" }, CHOSEN],
  [7, "And a third time, at the end: together the copies have more, each of them less.", { mask: "none" }, CHOSEN, (words) => [...words, words[0]]],
  [0, "The end of the tour. The table is as it was.", {}, CHOSEN],
];
const LAST = STEPS.length - 1;

const button = (label, onclick) => Object.assign(document.createElement("button"), { type: "button", textContent: label, onclick });

class TheatreTour extends HTMLElement {
  connectedCallback() {
    if (this.table || !(this.table = document.querySelector("operating-table"))) return;
    customElements.whenDefined("operating-table").then(() => this.build());
  }

  build() {
    this.said = document.createElement("p");
    this.said.setAttribute("aria-live", "polite");
    this.open = button("Take the tour", () => this.go(0));
    this.back = button("Back", () => this.go(this.at - 1));
    this.next = button("Next", () => (this.at < LAST ? this.go(this.at + 1) : this.end()));
    this.ways = [this.back, this.next, button("End the tour", () => this.end())];
    this.setAttribute("role", "group");
    this.setAttribute("aria-label", "Tour of the table");
    this.addEventListener("keydown", (event) => event.key === "Escape" && this.on && this.end());
    this.append(this.said, this.open, ...this.ways);
    this.show(false);
    document.querySelectorAll(`#${this.dataset.of} > ol > li`).forEach((item, n) => {
      const first = STEPS.findIndex(([of]) => of === n + 1);
      const way = button("Show it on the table", () => this.go(first, way));
      way.className = "tour-way";
      way.setAttribute("aria-label", `Show it on the table: ${item.querySelector("strong")?.textContent ?? n + 1}`);
      (item.querySelector("p") ?? item).append(" ", way);
    });
  }

  show(on) {
    this.on = on;
    this.toggleAttribute("data-on", on);
    this.open.hidden = on;
    for (const way of this.ways) way.hidden = !on;
  }

  // To a step; from the page's text, and at the beginning, the table comes into view.
  go(at, from) {
    const begins = !this.on || from;
    if (begins) this.from = from || this.open;
    this.at = at;
    this.show(true);
    const [of, text, settings, signs, words, flipped] = STEPS[at];
    const { table } = this;
    table.reset();
    if (words) table.setWords(words([...table.words]));
    for (const cell of flipped ?? []) {
      const [i, j] = cell.split(",").map(Number);
      table.flip({ i, j });
    }
    table.change(settings);
    const touched = [...Object.keys(settings), words && "words"];
    for (const [name, { node }] of Object.entries(table.inputs)) node.toggleAttribute("data-tour", touched.includes(name));
    this.back.disabled = at === 0;
    this.next.textContent = at === LAST ? "Finish" : "Next";
    cancelAnimationFrame(this.frame);
    // Once the table has drawn itself: its frame was asked for before.
    this.frame = requestAnimationFrame(() => {
      const told = signs.map((name) => {
        const tile = table.querySelector(`[data-sign="${name}"]`);
        return tile && `${tile.querySelector("dt").textContent} ${tile.querySelector("dd b").textContent}`;
      });
      this.said.textContent = `Step ${at + 1} of ${STEPS.length}${of ? `, item ${of}` : ""}. ${text} ${told.filter(Boolean).join(", ")}.`;
    });
    if (!begins) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    table.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
    this.next.focus({ preventScroll: true });
  }

  end() {
    this.table.reset();
    for (const { node } of Object.values(this.table.inputs)) node.removeAttribute("data-tour");
    cancelAnimationFrame(this.frame);
    this.said.textContent = "";
    this.show(false);
    this.from.focus();
  }
}

customElements.define("theatre-tour", TheatreTour);
