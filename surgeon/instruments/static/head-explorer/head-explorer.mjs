// <head-explorer>: every head of a model on a few texts. Choose a head, point at a token, see where it looks.
//
// Attributes: layers, heads, tokens (of the first text), the first head, causal if a mask hides what is later, and src,
// the file of the weights, fetched when the element nears the view. Its children are figures.

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const STEPS = 4095; // a weight is two digits of 64
const FAINTEST = 0.02; // fainter: no line
const RAMP = ["#f4f9fb", "#b0cee3", "#6ea3ce", "#1d78b8", "#004e8a", "#002756"]; // surgeon.imaging.style.WEIGHTS
const MODES = { all: "every line", from: "where a token looks", to: "who looks at it" };
const CELL = 14;
const BLOCKED = [195, 199, 205]; // surgeon.imaging.head_grids

export function decode(text) {
  const weights = new Float64Array(text.length / 2);
  for (let n = 0; n < weights.length; n++) {
    weights[n] = (64 * DIGITS.indexOf(text[2 * n]) + DIGITS.indexOf(text[2 * n + 1])) / STEPS;
  }
  return weights;
}

/** [T, T] from rows up to the diagonal. */
export function unfold(weights, T) {
  const size = (T * (T + 1)) / 2;
  const whole = new Float64Array((weights.length / size) * T * T);
  weights.forEach((weight, n) => {
    const [matrix, at] = [Math.floor(n / size), n % size];
    const row = Math.floor((Math.sqrt(8 * at + 1) - 1) / 2);
    whole[(matrix * T + row) * T + at - (row * (row + 1)) / 2] = weight;
  });
  return whole;
}

export function colour(weight) {
  const place = Math.min(Math.max(weight, 0), 1) * (RAMP.length - 1);
  const low = Math.min(Math.floor(place), RAMP.length - 2);
  return [1, 3, 5].map((at) => {
    const [a, b] = [RAMP[low], RAMP[low + 1]].map((hex) => parseInt(hex.slice(at, at + 2), 16));
    return Math.round(a + (b - a) * (place - low));
  });
}

/** What gets most of a head's weight: a place beside the query, or a token wherever it stands. */
export function habit(weights, tokens, queries = tokens) {
  const [T, S] = [queries.length, tokens.length];
  const shares = new Map();
  const add = (name, share) => shares.set(name, (shares.get(name) || 0) + share);
  weights.forEach((weight, at) => {
    const step = queries === tokens ? (at % S) - Math.floor(at / S) : 2;
    const beside = ["the token before", "the token itself", "the token after"][step + 1];
    if (beside) add(beside, weight / (T - Math.abs(step))); // over the queries that have one
    add(`“${tokens[at % S]}”`, weight / T);
  });
  return [...shares].reduce((best, one) => (one[1] > best[1] ? one : best));
}

/** Tokens with their weights, the strongest first. */
export function strongest(weights, tokens, count) {
  const order = tokens.map((_, n) => n).sort((a, b) => weights[b] - weights[a] || a - b);
  return order.slice(0, count).map((n) => `“${tokens[n]}” ${weights[n].toFixed(2)}`).join(", ");
}

/** What tokens were cut from: without marks such as [CLS], pieces of words joined. */
export function sentence(tokens) {
  return tokens.filter((token) => !/^\[[A-Z]+\]$/.test(token)).join(" ").replace(/ ##| (?=[,.;:])/g, "");
}

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "line", "rect", "text"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

let explorers = 0;

class HeadExplorer extends (globalThis.HTMLElement || class {}) {
  connectedCallback() {
    if (this.panel) return;
    const number = (name) => Number(this.getAttribute(name));
    Object.assign(this, { layers: number("layers"), heads: number("heads"), layer: number("layer"), head: number("head") });
    Object.assign(this, { text: 0, mode: "all", token: 0, causal: this.hasAttribute("causal"), number: ++explorers });
    this.figures = [...this.children];
    this.wait(number("tokens"));
  }

  /** Room for the first text: nothing moves when it comes. */
  wait(T) {
    const tokens = Array(T).fill("");
    this.texts = [{ tokens, queries: tokens, weights: new Float64Array(this.layers * this.heads * T * T) }];
    this.build();
    this.panel.inert = true;
    this.panel.setAttribute("aria-busy", "true");
    this.show();
    this.note.textContent = `Layer ${this.layer}, head ${this.head}`;
    this.reading.textContent = "The weights are on their way.";
    this.still(true);
    this.append(this.panel);
    const near = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && this.load(), {
      rootMargin: "200px",
    });
    near.observe(this);
    this.addEventListener("pointerenter", () => this.load());
  }

  async load() {
    if (this.wanted) return;
    this.wanted = true;
    let texts;
    try {
      texts = await (await fetch(this.getAttribute("src"))).json();
    } catch {
      const figures = this.figures.length > 1 ? "figures stand" : "figure stands";
      this.panel.replaceWith(make("p", { role: "status" }, `The weights could not be loaded, so the ${figures} still.`));
      return this.still(false);
    }
    this.take(texts);
  }

  take(texts) {
    this.texts = texts.map(({ tokens, queries = tokens, weights, name }) => {
      const read = decode(weights);
      return { tokens, queries, name, weights: this.causal ? unfold(read, tokens.length) : read };
    });
    this.panel?.remove();
    this.build();
    this.append(this.panel);
    this.show();
  }

  still(hidden) {
    for (const figure of this.figures) figure.hidden = hidden;
  }

  // ---- What there is ----

  build() {
    const options = (names) => names.map((name, n) => make("option", { value: n }, name));
    const numbers = (count) => options([...Array(count).keys()].map(String));
    const pick = (name, children, chosen) => {
      const select = make("select", { "aria-label": name }, ...children);
      select.addEventListener("change", () => chosen(Number(select.value)));
      return [make("label", { class: `pick-${name.toLowerCase()}` }, name, select), select];
    };
    const words = this.texts.map(({ tokens, name }) => name || sentence(tokens));
    const [texts] = pick("Sentence", options(words), (n) => this.read(n));
    const [layers, layer] = pick("Layer", numbers(this.layers), (n) => this.choose(n, this.head));
    const [heads, head] = pick("Head", numbers(this.heads), (n) => this.choose(this.layer, n));
    Object.assign(this, { layerSelect: layer, headSelect: head });
    this.radios = Object.keys(MODES).map((mode) => {
      const radio = make("input", { type: "radio", name: `mode ${this.number}`, value: mode });
      radio.addEventListener("change", () => this.pin(mode, this.token));
      return radio;
    });
    const modes = this.radios.map((radio) => make("label", {}, radio, MODES[radio.value]));
    const scale = make("span", { class: "scale" }, "weight 0", make("i"), "1");
    scale.style.setProperty("--ramp", RAMP.join(", "));
    this.grid = make("div", { class: "heads", role: "radiogroup", "aria-label": "All heads, a row for each layer" });
    this.blocks = this.layers > 2 * this.heads ? 2 : 1;
    const columns = `${this.blocks > 1 ? 1.3 : 0.8}rem repeat(${this.heads}, 1fr) `;
    this.grid.style.gridTemplateColumns = columns.repeat(this.blocks);
    this.note = make("p", { class: "note" });
    this.detail = make("div", { class: "detail" });
    this.reading = make("p", { class: "reading" });
    this.said = make("p", { class: "said", role: "status" });
    this.panel = make(
      "div",
      { class: "panel", role: "group", "aria-label": "Head explorer" },
      make("div", { class: "choice" }, texts, layers, heads, scale),
      this.grid,
      this.note,
      make("fieldset", {}, make("legend", {}, "Show"), ...modes),
      this.detail,
      this.said,
    );
    this.buildHeads();
    this.buildDetail();
    this.panel.addEventListener("keydown", (event) => this.key(event));
  }

  buildHeads() {
    const cells = [];
    const label = (text) => cells.push(make("span", { "aria-hidden": "true" }, String(text)));
    this.thumbnails = [];
    const rows = Math.ceil(this.layers / this.blocks);
    for (let block = 0; block < this.blocks; block++) {
      label("");
      for (let head = 0; head < this.heads; head++) label(head);
    }
    for (let n = 0; n < rows * this.blocks; n++) {
      const layer = rows * (n % this.blocks) + Math.floor(n / this.blocks);
      if (layer >= this.layers) continue;
      label(layer);
      for (let head = 0; head < this.heads; head++) {
        const button = make("button", { type: "button", role: "radio" }, make("canvas"));
        button.addEventListener("click", () => this.choose(layer, head));
        button.addEventListener("pointerenter", () => (this.note.textContent = this.name(layer, head)));
        button.addEventListener("pointerleave", () => (this.note.textContent = this.name(this.layer, this.head)));
        this.thumbnails[layer * this.heads + head] = button;
        cells.push(button);
      }
    }
    this.grid.replaceChildren(...cells);
    this.paintHeads();
  }

  paintHeads() {
    const { tokens, queries } = this.now;
    this.thumbnails.forEach((button, n) => {
      const [layer, head] = [Math.floor(n / this.heads), n % this.heads];
      button.setAttribute("aria-label", this.name(layer, head));
      const canvas = button.firstChild;
      [canvas.width, canvas.height] = [tokens.length, queries.length];
      const image = new ImageData(tokens.length, queries.length);
      this.matrix(layer, head).forEach((weight, at) => image.data.set([...this.paint(weight, at), 255], 4 * at));
      canvas.getContext("2d").putImageData(image, 0, 0);
    });
  }

  buildDetail() {
    this.keep(this.mode, this.token);
    this.buildMatrix(this.now);
    const rows = Math.max(this.geometry.T, this.geometry.S);
    this.lines = make("svg", { class: "lines", "aria-hidden": "true", viewBox: `0 0 100 ${rows}`, preserveAspectRatio: "none" });
    this.columns = {};
    for (const [side, title] of [["from", "query"], ["to", "key"]]) {
      this.columns[side] = this.named(side).map((token, n) => {
        const name = make("span", { class: "token" }, token);
        const button = make("button", { type: "button" }, name, make("span", { class: "weight", "aria-hidden": "true" }));
        button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && this.hint("pointed", [side, n]));
        button.addEventListener("pointerleave", () => this.hint("pointed"));
        button.addEventListener("focus", () => button.matches(":focus-visible") && this.hint("focused", [side, n]));
        button.addEventListener("blur", () => this.hint("focused"));
        button.addEventListener("click", () =>
          this.mode === side && this.token === n ? this.pin("all", n) : this.pin(side, n),
        );
        return button;
      });
      const label = `Tokens as ${title === "query" ? "queries" : "keys"}`;
      this.columns[side].box = make("div", { class: side, role: "group", "aria-label": label });
      this.columns[side].box.append(make("span", { "aria-hidden": "true" }, title), ...this.columns[side]);
    }
    const tokensBox = make("div", { class: "tokens" }, this.columns.from.box, this.lines, this.columns.to.box);
    tokensBox.style.setProperty("--tokens", rows);
    this.detail.replaceChildren(tokensBox, this.reading, this.picture);
  }

  buildMatrix({ tokens, queries }) {
    const [T, S] = [queries.length, tokens.length];
    const [left, top] = [queries, tokens].map((names) => 12 + 6.2 * Math.max(4, ...names.map((name) => name.length)));
    const [width, height] = [left + CELL * S + 2, top + CELL * T + 2];
    this.cells = Array.from({ length: T * S }, (_, at) => {
      const [x, y] = [left + CELL * (at % S), top + CELL * Math.floor(at / S)];
      return make("rect", { x, y, width: CELL, height: CELL });
    });
    const middle = (n) => CELL * (n + 0.75);
    const names = queries.map((token, n) => make("text", { x: left - 5, y: top + middle(n), "text-anchor": "end" }, token));
    tokens.forEach((token, n) => {
      names.push(make("text", { transform: `translate(${left + middle(n)} ${top - 5}) rotate(-90)` }, token));
    });
    this.band = make("rect", { class: "band" });
    this.picture = make("svg", { class: "matrix", role: "img", viewBox: `0 0 ${width} ${height}` });
    this.picture.append(make("g", { class: "cells" }, ...this.cells), ...names, this.band);
    this.picture.style.maxWidth = `${1.25 * width}px`;
    const at = (event) => {
      const n = this.cells.indexOf(event.target);
      return n < 0 ? null : ["from", Math.floor(n / S), n % S];
    };
    this.picture.addEventListener("pointermove", (event) => event.pointerType === "mouse" && this.hint("pointed", at(event)));
    this.picture.addEventListener("pointerleave", () => this.hint("pointed"));
    this.picture.addEventListener("click", (event) => {
      const place = at(event);
      if (!place) return;
      this.pin("from", place[1]);
      this.tell(place);
    });
    this.geometry = { left, top, T, S };
  }

  // ---- What is chosen ----

  read(n) {
    this.text = n;
    this.buildDetail();
    this.paintHeads();
    this.show();
    this.said.textContent = `Sentence ${n + 1}. ${this.name(this.layer, this.head)}`;
  }

  choose(layer, head) {
    Object.assign(this, { layer, head });
    this.show();
    this.said.textContent = this.name(layer, head);
  }

  keep(mode, token) {
    Object.assign(this, { mode, token: Math.min(token, this.named(mode).length - 1), pointed: null });
  }

  pin(mode, token) {
    this.keep(mode, token);
    this.show();
    this.said.textContent = this.reading.textContent;
  }

  hint(kind, place) {
    this[kind] = place;
    this.draw();
  }

  key(event) {
    if (event.key === "Escape" && this.mode !== "all") this.pin("all", this.token);
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const end = { Home: 0, End: 1 }[event.key];
    const button = event.target.closest("button");
    if (!button || (!step && end === undefined)) return;
    const clip = (n, count) => Math.min(Math.max(n, 0), count - 1);
    if (this.grid.contains(button)) {
      const [down, right] = step || [0, end ? this.heads : -this.heads];
      this.choose(clip(this.layer + down, this.layers), clip(this.head + right, this.heads));
      this.thumbnails[this.layer * this.heads + this.head].focus();
    } else {
      const side = this.columns.from.includes(button) ? "from" : "to";
      const n = this.columns[side].indexOf(button);
      const [down, right] = step || [end ? 1e9 : -1e9, 0];
      const other = right ? (right < 0 ? "from" : "to") : side;
      this.columns[other][clip(n + down, this.columns[other].length)].focus();
    }
    event.preventDefault();
  }

  // ---- What is seen ----

  get now() {
    return this.texts[this.text];
  }

  named(side) {
    return side === "to" ? this.now.tokens : this.now.queries;
  }

  matrix(layer, head) {
    const { tokens, queries, weights } = this.now;
    const size = tokens.length * queries.length;
    const at = size * (layer * this.heads + head);
    return weights.subarray(at, at + size);
  }

  paint(weight, at) {
    const { length } = this.now.tokens;
    return this.causal && at % length > Math.floor(at / length) ? BLOCKED : colour(weight);
  }

  name(layer, head) {
    const [what, share] = habit(this.matrix(layer, head), this.now.tokens, this.now.queries);
    return `Layer ${layer}, head ${head}: ${share.toFixed(2)} of its weight goes to ${what}.`;
  }

  /** The weights of one token's row, or of its column. */
  of(side, n) {
    const { T, S } = this.geometry;
    return side === "from" ? this.shown.subarray(n * S, (n + 1) * S) : this.shown.filter((_, at) => at % S === n);
  }

  show() {
    this.shown = this.matrix(this.layer, this.head);
    this.layerSelect.value = this.layer;
    this.headSelect.value = this.head;
    this.note.textContent = this.name(this.layer, this.head);
    for (const radio of this.radios) radio.checked = radio.value === this.mode;
    this.thumbnails.forEach((button, n) => {
      const chosen = n === this.layer * this.heads + this.head;
      button.setAttribute("aria-checked", chosen);
      button.tabIndex = chosen ? 0 : -1;
    });
    this.cells.forEach((cell, n) => cell.setAttribute("fill", `rgb(${this.paint(this.shown[n], n)})`));
    this.picture.setAttribute("aria-label", `Matrix of ${this.geometry.T} queries by ${this.geometry.S} keys. ${this.note.textContent}`);
    const stop = this.mode === "to" ? "to" : "from"; // what the tab key reaches
    for (const [side, other, verb] of [["from", "to", "looks at"], ["to", "from", "is looked at by"]]) {
      this.columns[side].forEach((button, n) => {
        const most = strongest(this.of(side, n), this.named(other), 3);
        button.setAttribute("aria-label", `${this.named(side)[n]} ${verb} ${most}`);
        button.setAttribute("aria-pressed", this.mode === side && this.token === n);
        button.tabIndex = side === stop && n === this.token ? 0 : -1;
      });
    }
    this.draw();
  }

  draw() {
    const { left, top, T, S } = this.geometry;
    const [side, n, key] = this.pointed || this.focused || [this.mode, this.token];
    const all = side === "all";
    const beside = all ? this.of("from", 0).map((_, m) => this.of("to", m).reduce((a, b) => a + b) / T) : this.of(side, n);
    for (const column of ["from", "to"]) {
      const measured = column === (side === "to" ? "from" : "to");
      this.columns[column].forEach((button, m) => {
        button.classList.toggle("active", column === side && m === n);
        button.style.setProperty("--weight", measured ? beside[m] : 0);
        button.lastChild.textContent = measured ? beside[m].toFixed(2) : "";
      });
    }
    const lines = [];
    this.shown.forEach((weight, at) => {
      const [i, j] = [Math.floor(at / S), at % S];
      if (weight < FAINTEST || (!all && n !== (side === "from" ? i : j))) return;
      lines.push(make("line", { x1: 0, y1: i + 0.5, x2: 100, y2: j + 0.5, "stroke-opacity": weight.toFixed(3) }));
    });
    this.lines.replaceChildren(...lines);
    const band = side === "from" ? [left, top + CELL * n, CELL * S, CELL] : [left + CELL * n, top, CELL, CELL * T];
    ["x", "y", "width", "height"].forEach((name, axis) => this.band.setAttribute(name, all ? 0 : band[axis]));
    this.tell([side, n, key]);
  }

  tell([side, n, key]) {
    this.reading.textContent = "Beside each key: its share of all weight. Point at a token, tap it, or go to it with the arrow keys.";
    if (side === "all") return;
    const weights = this.of(side, n);
    const total = weights.reduce((a, b) => a + b) / this.geometry.T;
    const others = this.named(side === "to" ? "from" : "to");
    const [token, most] = [`“${this.named(side)[n]}”`, strongest(weights, others, 3)];
    if (key !== undefined) {
      this.reading.textContent = `${token} gives “${others[key]}” ${weights[key].toFixed(2)}. It looks most at ${most}.`;
    } else {
      const seen = side === "from" ? "looks at" : `gets ${total.toFixed(2)} of all weight, most from`;
      this.reading.textContent = `${token} ${seen} ${most}.`;
    }
  }
}

globalThis.customElements?.define("head-explorer", HeadExplorer);
