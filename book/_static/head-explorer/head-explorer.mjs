// <head-explorer>: every head of a model on a few texts. Choose a head, point at a token, see where it looks.
//
// Made by surgeon/book/head_explorer.py. Attributes say how many layers, heads and tokens (of the first text) there are, which head
// comes first, whether a mask hides what is later (causal), and the file of the weights (src), which is fetched when the element
// nears the view. The children are figures
// that show the same standing still: where no script runs, or the file cannot be had.

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const STEPS = 4095; // a weight is two digits of 64
const FAINTEST = 0.02; // a line of less weight cannot be seen
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

/** Matrices [T, T] from their rows up to the diagonal. */
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

/** A weight from 0 to 1 as red, green and blue from 0 to 255. */
export function colour(weight) {
  const place = Math.min(Math.max(weight, 0), 1) * (RAMP.length - 1);
  const low = Math.min(Math.floor(place), RAMP.length - 2);
  return [1, 3, 5].map((at) => {
    const [a, b] = [RAMP[low], RAMP[low + 1]].map((hex) => parseInt(hex.slice(at, at + 2), 16));
    return Math.round(a + (b - a) * (place - low));
  });
}

/** What gets most of a head's weight, on average: a place beside the query, or a token wherever it stands. */
export function habit(weights, tokens) {
  const T = tokens.length;
  const shares = new Map();
  const add = (name, share) => shares.set(name, (shares.get(name) || 0) + share);
  weights.forEach((weight, at) => {
    const step = (at % T) - Math.floor(at / T);
    const beside = ["the token before", "the token itself", "the token after"][step + 1];
    if (beside) add(beside, weight / (T - Math.abs(step))); // over the queries that have one
    add(`“${tokens[at % T]}”`, weight / T);
  });
  return [...shares].reduce((best, one) => (one[1] > best[1] ? one : best));
}

/** The tokens, strongest first, with their weights; equals in the order of the text. */
export function strongest(weights, tokens, count) {
  const order = tokens.map((_, n) => n).sort((a, b) => weights[b] - weights[a] || a - b);
  return order.slice(0, count).map((n) => `“${tokens[n]}” ${weights[n].toFixed(2)}`).join(", ");
}

/** What the tokens were cut from, nearly: without marks such as [CLS], and with the pieces of words joined. */
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

class HeadExplorer extends (globalThis.HTMLElement || class {}) {
  connectedCallback() {
    if (this.panel) return;
    const number = (name) => Number(this.getAttribute(name));
    Object.assign(this, { layers: number("layers"), heads: number("heads"), layer: number("layer"), head: number("head") });
    Object.assign(this, { text: 0, mode: "all", token: 0, causal: this.hasAttribute("causal") });
    this.figures = [...this.children];
    const T = number("tokens"); // room for the first text, so that nothing moves when it comes
    this.texts = [{ tokens: Array(T).fill(""), weights: new Float64Array(this.layers * this.heads * T * T) }];
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
    try {
      const response = await fetch(this.getAttribute("src"));
      if (!response.ok) throw new Error(response.status);
      this.texts = (await response.json()).map(({ tokens, weights, name }) => {
        const read = decode(weights);
        return { tokens, name, weights: this.causal ? unfold(read, tokens.length) : read };
      });
    } catch {
      const figures = this.figures.length > 1 ? "figures stand" : "figure stands";
      this.panel.replaceWith(make("p", { role: "status" }, `The weights could not be loaded, so the ${figures} still.`));
      return this.still(false);
    }
    const old = this.panel;
    this.build();
    old.replaceWith(this.panel);
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
      const radio = make("input", { type: "radio", name: `mode of ${this.getAttribute("src")}`, value: mode });
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
    const { tokens } = this.texts[this.text];
    this.thumbnails.forEach((button, n) => {
      const [layer, head] = [Math.floor(n / this.heads), n % this.heads];
      button.setAttribute("aria-label", this.name(layer, head));
      const canvas = button.firstChild;
      canvas.width = canvas.height = tokens.length;
      const image = new ImageData(tokens.length, tokens.length);
      this.matrix(layer, head).forEach((weight, at) => image.data.set([...this.paint(weight, at), 255], 4 * at));
      canvas.getContext("2d").putImageData(image, 0, 0);
    });
  }

  buildDetail() {
    const { tokens } = this.texts[this.text];
    const T = tokens.length;
    this.token = Math.min(this.token, T - 1);
    this.lines = make("svg", { class: "lines", "aria-hidden": "true", viewBox: `0 0 100 ${T}`, preserveAspectRatio: "none" });
    this.columns = {};
    for (const [side, title] of [["from", "query"], ["to", "key"]]) {
      this.columns[side] = tokens.map((token, n) => {
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
    tokensBox.style.setProperty("--tokens", T);
    this.buildMatrix(tokens);
    this.detail.replaceChildren(tokensBox, this.reading, this.picture);
  }

  buildMatrix(tokens) {
    const T = tokens.length;
    const edge = 12 + 6.2 * Math.max(4, ...tokens.map((token) => token.length));
    const size = edge + CELL * T + 2;
    this.cells = Array.from({ length: T * T }, (_, at) => {
      const [x, y] = [edge + CELL * (at % T), edge + CELL * Math.floor(at / T)];
      return make("rect", { x, y, width: CELL, height: CELL });
    });
    const names = tokens.flatMap((token, n) => {
      const middle = edge + CELL * (n + 0.75);
      const turned = { transform: `translate(${middle} ${edge - 5}) rotate(-90)` };
      return [make("text", { x: edge - 5, y: middle, "text-anchor": "end" }, token), make("text", turned, token)];
    });
    this.band = make("rect", { class: "band" });
    this.picture = make("svg", { class: "matrix", role: "img", viewBox: `0 0 ${size} ${size}` });
    this.picture.append(make("g", { class: "cells" }, ...this.cells), ...names, this.band);
    this.picture.style.maxWidth = `${1.25 * size}px`;
    const at = (event) => {
      const n = this.cells.indexOf(event.target);
      return n < 0 ? null : ["from", Math.floor(n / T), n % T];
    };
    this.picture.addEventListener("pointermove", (event) => event.pointerType === "mouse" && this.hint("pointed", at(event)));
    this.picture.addEventListener("pointerleave", () => this.hint("pointed"));
    this.picture.addEventListener("click", (event) => {
      const place = at(event);
      if (!place) return;
      this.pin("from", place[1]);
      this.tell(place);
    });
    this.geometry = { edge, T };
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

  pin(mode, token) {
    Object.assign(this, { mode, token, pointed: null });
    this.show();
    this.said.textContent = this.reading.textContent;
  }

  /** Shown while it is pointed at or focused, before what is pinned. */
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
      const [down, right] = step || [end ? this.geometry.T : -this.geometry.T, 0];
      const other = right ? (right < 0 ? "from" : "to") : side;
      this.columns[other][clip(n + down, this.geometry.T)].focus();
    }
    event.preventDefault();
  }

  // ---- What is seen ----

  matrix(layer, head) {
    const { tokens, weights } = this.texts[this.text];
    const size = tokens.length ** 2;
    return weights.subarray((layer * this.heads + head) * size, (layer * this.heads + head + 1) * size);
  }

  /** The colour of a cell; of one that no query may look at, grey. */
  paint(weight, at) {
    const { length } = this.texts[this.text].tokens;
    return this.causal && at % length > Math.floor(at / length) ? BLOCKED : colour(weight);
  }

  name(layer, head) {
    const [what, share] = habit(this.matrix(layer, head), this.texts[this.text].tokens);
    return `Layer ${layer}, head ${head}: ${share.toFixed(2)} of its weight goes to ${what}.`;
  }

  /** The weights of one token's row, or of its column. */
  of(side, n) {
    const T = this.geometry.T;
    return Array.from({ length: T }, (_, m) => this.shown[side === "from" ? n * T + m : m * T + n]);
  }

  show() {
    const { tokens } = this.texts[this.text];
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
    this.picture.setAttribute("aria-label", `Matrix of ${tokens.length} queries by ${tokens.length} keys. ${this.note.textContent}`);
    const stop = this.mode === "to" ? "to" : "from"; // the one token that the tab key reaches
    for (const [side, verb] of [["from", "looks at"], ["to", "is looked at by"]]) {
      this.columns[side].forEach((button, n) => {
        button.setAttribute("aria-label", `${tokens[n]} ${verb} ${strongest(this.of(side, n), tokens, 3)}`);
        button.setAttribute("aria-pressed", this.mode === side && this.token === n);
        button.tabIndex = side === stop && n === this.token ? 0 : -1;
      });
    }
    this.draw();
  }

  draw() {
    const T = this.geometry.T;
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
      const [i, j] = [Math.floor(at / T), at % T];
      if (weight < FAINTEST || (!all && n !== (side === "from" ? i : j))) return;
      lines.push(make("line", { x1: 0, y1: i + 0.5, x2: 100, y2: j + 0.5, "stroke-opacity": weight.toFixed(3) }));
    });
    this.lines.replaceChildren(...lines);
    const { edge } = this.geometry;
    const [along, across] = [CELL * T, edge + CELL * n];
    const band = side === "from" ? [edge, across, along, CELL] : [across, edge, CELL, along];
    ["x", "y", "width", "height"].forEach((name, axis) => this.band.setAttribute(name, all ? 0 : band[axis]));
    this.tell([side, n, key]);
  }

  tell([side, n, key]) {
    const { tokens } = this.texts[this.text];
    this.reading.textContent = "Beside each key: its share of all weight. Point at a token, tap it, or go to it with the arrow keys.";
    if (side === "all") return;
    const weights = this.of(side, n);
    const total = weights.reduce((a, b) => a + b) / tokens.length;
    const [token, most] = [`“${tokens[n]}”`, strongest(weights, tokens, 3)];
    if (key !== undefined) {
      this.reading.textContent = `${token} gives “${tokens[key]}” ${weights[key].toFixed(2)}. It looks most at ${most}.`;
    } else {
      const seen = side === "from" ? "looks at" : `gets ${total.toFixed(2)} of all weight, most from`;
      this.reading.textContent = `${token} ${seen} ${most}.`;
    }
  }
}

globalThis.customElements?.define("head-explorer", HeadExplorer);
