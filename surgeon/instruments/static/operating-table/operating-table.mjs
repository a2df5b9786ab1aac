// <operating-table>: attention under the reader's hands. What it computes is in attention.mjs, how it looks in the
// style sheet beside it. Its child, a figure, stands where this does not run.

import { MASKS, MOST_WORDS, PRECISIONS, WIDEST, draw, operate, permissions, vitalSigns } from "./attention.mjs";

const MORE = "so two then waited for one long hour while nobody in that cold room dared to breathe or ask what had gone wrong until all went dark again too as if on cue".split(" ");
const SHOWN = 16; // columns
const WIDTHS = [...new Set(Array.from({ length: 33 }, (_, n) => Math.round(4 * 2 ** (n / 4))))];
const MASK_NAMES = {
  causal: "causal: the past",
  reverse: "reverse: the future",
  padding: "padding at the end",
  front: "causal, padding in front",
};

// Title, matrix, what its rows and columns are, formula. i is a query, j a key, c a coordinate of both, v one of values.
const few = (n) => (n > SHOWN ? `, first ${SHOWN} of ${n} columns` : "");
const by = (on, divisor) => (on ? ` ÷ ${divisor}` : "");
const STAGES = {
  tokens: [],
  queries: ["Queries", "Q", "i", "c", (s, n) => `Q${few(n)}`],
  keys: ["Keys", "K", "j", "c", (s, n) => `K${few(n)}`],
  scores: ["Scores", "scores", "i", "j", () => "QKᵀ"],
  scale: ["Scaled", "scaled", "i", "j", (s) =>
    by(s.scale, `√${s.d_k}`) + by(s.temperature !== 1, short(s.temperature)) || "left as they are"],
  mask: ["Masked", "masked", "i", "j", () => "−∞ where blocked"],
  softmax: ["Powers", "powers", "i", "j", (s) => (s.stable ? "exp(score − maximum)" : "exp(score)")],
  weights: ["Weights", "weights", "i", "j", () => "power ÷ sum of the row"],
  values: ["Values", "V", "j", "v", (s, n) => `V${few(n)}`],
  output: ["Output", "output", "i", "v", (s, n) => `weights · V${few(n)}`],
};

// Label, what it is, how it is written, how long its bar is.
const SIGNS = {
  largest: ["Largest weight", "of the typical row", (x) => fixed(x, 3), (x) => x],
  entropy: ["Entropy", "", (x) => fixed(x, 2), (x, T, all) => all.evenness],
  gradient: ["Gradient", "the softmax's Jacobian, typical row", (x) => small(x, 3), (x) => 1.4 * x],
  future: ["On the future", "share of all weight", (x) => percent(x), (x) => x],
  empty: ["Empty rows", "with nothing to see", (x, T) => `${x} of ${T}`, (x, T) => x / T],
  broken: ["Broken rows", "no number, or no sum of one", (x, T) => `${x} of ${T}`, (x, T) => x / T],
};

// Numbers as the book prints them.
const minus = (text) => text.replace("-", "−");
const fixed = (x, digits) => {
  if (Math.abs(x) < Infinity) return minus(x.toFixed(digits).replace(/^-([0.]+)$/, "$1"));
  return x !== x ? "NaN" : x > 0 ? "∞" : "−∞";
};
const percent = (x) => (x === x ? `${Math.round(100 * x)}%` : "–");
const power = (x) => {
  const [digits, exponent] = x.toExponential(1).split("e");
  return `${minus(digits)}·10${exponent.replace(/./g, (d) => ({ "+": "", "-": "⁻" })[d] ?? "⁰¹²³⁴⁵⁶⁷⁸⁹"[d])}`;
};
const short = (x) => {
  const size = Math.abs(x);
  return size >= 1e4 && size < Infinity ? power(x) : fixed(x, size >= 100 ? 0 : size >= 10 ? 1 : 2);
};
const small = (x, digits = 2) => (x && Math.abs(x) < 10 ** -digits ? power(x) : digits > 2 && x < 100 ? fixed(x, digits) : short(x));
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// 256 colours between stops, and an ink to read on each.
function ramp(list) {
  const stops = list.match(/\w{6}/g).map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, n) => {
    const at = (n / 255) * (stops.length - 1);
    const low = Math.floor(at);
    const rgb = stops[low].map((x, k) => Math.round(x + (at - low) * ((stops[low + 1] || stops[low])[k] - x)));
    const [r, g, b] = rgb.map((x) => (x <= 10 ? x / 3294.6 : ((x / 255 + 0.055) / 1.055) ** 2.4));
    return { rgb, ink: (0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05) ** 2 > 0.0525 ? "#000" : "#fff" };
  });
}

let tables = 0;

class OperatingTable extends HTMLElement {
  connectedCallback() {
    if (!this.body) {
      this.name = `operating-table-${++tables}`;
      this.told = {};
      this.read();
      this.build();
      this.update();
      this.told = {}; // nothing is said at the start
    }
    const repaint = () => {
      this.colours = null;
      this.refresh();
    };
    this.resizing = new ResizeObserver(() => this.refresh());
    this.resizing.observe(this.body);
    this.theme = new MutationObserver(repaint);
    this.theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  disconnectedCallback() {
    this.resizing.disconnect();
    this.theme.disconnect();
    clearTimeout(this.saying);
  }

  // What the attributes ask for, where they can be read.
  read() {
    const text = (name, or) => this.getAttribute(name)?.trim() || or;
    const words = (name, or) => text(name, or).split(/\s+/);
    const one = (name, choices, or) => (choices.includes(text(name)) ? text(name) : or);
    const number = (name, or, low, high) => clamp(isNaN(text(name, or)) ? or : Number(text(name, or)), low, high);
    const whole = (...range) => Math.round(number(...range));
    this.words = this.own = words("tokens", "the surgeon cut the wire").slice(0, MOST_WORDS);
    this.settings = {
      d_k: whole("d-k", 64, 1, WIDEST),
      scale: text("scale") !== "off",
      stable: text("stable") !== "off",
      temperature: number("temperature", 1, 1e-3, 1e3),
      precision: one("precision", PRECISIONS, "float32"),
      mask: one("mask", MASKS, "none"),
      padded: whole("padded", 2, 0, MOST_WORDS),
      seed: whole("seed", 0, 0, 2 ** 32 - 1),
    };
    this.flipped = new Set(text("flipped", "").match(/\d+,\d+/g));
    this.stages = words("stages", Object.keys(STAGES).join(" ")).filter((name) => STAGES[name]);
    this.controls = words("controls", "words draw d_k scale temperature mask stable precision");
    this.signs = words("vitals", Object.keys(SIGNS).join(" ")).filter((name) => SIGNS[name]);
    const last = this.words.length - 1;
    this.pinned = { i: whole("query", last, 0, last), j: whole("key", 0, 0, last), c: 0, v: 0 };
    this.start = structuredClone({ words: this.words, settings: this.settings, flipped: this.flipped });
  }

  build() {
    for (const child of this.children) child.hidden = true;
    this.wordList = element("ol", { class: "ot-words", "aria-label": "Tokens" });
    this.cards = this.stages.filter((name) => name !== "tokens").map((name, at) => new Card(this, name, at + 1));
    this.status = element("p", { class: "ot-status", role: "status" });
    this.body = element("div", { class: "ops", role: "group", "aria-label": "Operating table" },
      this.buildControls(), this.buildSigns(), ...(this.stages.includes("tokens") ? [this.wordList] : []),
      element("div", { class: "ot-stages" }, ...this.cards.map((card) => card.node)), this.status);
    this.append(this.body);
    this.showControls();
  }

  buildControls() {
    const box = element("div", { class: "ot-controls" });
    const field = (label, input, wide = "") => ({ input,
      node: element("label", { class: `ot-field ${wide}` }, element("span", {}, ...label), input) });
    const slider = (label, max, move) => {
      const said = element("b");
      const input = element("input", { type: "range", min: 0, max, oninput: () => move(Number(input.value)) });
      const show = (value, text) => {
        input.value = value;
        said.textContent = text;
        input.setAttribute("aria-valuetext", text);
      };
      return { ...field([`${label} `, said], input), show };
    };
    const check = (label, name) => {
      const input = element("input", { type: "checkbox", role: "switch",
        onchange: () => this.change({ [name]: input.checked }) });
      return { node: element("label", { class: "ot-switch" }, input, label), input };
    };
    const choice = (label, name, options) => {
      const input = element("select", { onchange: () => this.change({ [name]: input.value }) },
        ...options.map((value) => element("option", { value }, MASK_NAMES[value] || value)));
      return field([label], input);
    };
    const button = (label, onclick) => ({ node: element("button", { type: "button", onclick }, label) });
    const text = (label) => {
      const input = element("input", { type: "text", autocomplete: "off",
        onchange: () => this.setWords(this.own = input.value.trim().split(/\s+/).slice(0, MOST_WORDS)) });
      return field([label], input, "ot-wide");
    };
    const make = {
      words: () => text("words, yours to change"),
      count: () => slider("how many words", MOST_WORDS - 1, (n) => this.count(n + 1)),
      d_k: () => slider("width dₖ", WIDTHS.length - 1, (n) => this.change({ d_k: WIDTHS[n] })),
      temperature: () => slider("temperature τ", 48, (n) => this.change({ temperature: 2 ** (n / 4 - 6) })),
      mask: () => choice("mask", "mask", MASKS),
      padded: () => slider("words that are padding", MOST_WORDS, (n) => this.change({ padded: n })),
      precision: () => choice("precision of the softmax", "precision", PRECISIONS),
      scale: () => check("divide by √dₖ", "scale"),
      stable: () => check("subtract the maximum", "stable"),
      draw: () => button("Draw new inputs", () => this.change({ seed: this.settings.seed + 1 })),
      reset: () => button("As it was", () => this.reset()),
    };
    const wanted = [...this.controls, this.controls.includes("words") && "count",
      this.controls.includes("mask") && "padded", "reset"];
    this.inputs = {};
    for (const name of Object.keys(make).filter((one) => wanted.includes(one))) {
      this.inputs[name] = make[name]();
      box.append(this.inputs[name].node);
    }
    return box;
  }

  showControls() {
    const { inputs, settings, words } = this;
    const T = words.length;
    const padded = Math.min(settings.padded, T);
    const far = (n) => Math.abs(Math.log(WIDTHS[n] / settings.d_k));
    if (inputs.words) inputs.words.input.value = words.join(" ");
    inputs.count?.show(T - 1, T);
    inputs.d_k?.show(WIDTHS.reduce((best, _, n) => (far(n) < far(best) ? n : best), 0), settings.d_k);
    inputs.temperature?.show(Math.round(4 * Math.log2(settings.temperature) + 24), short(settings.temperature));
    if (inputs.padded) {
      inputs.padded.input.max = T;
      inputs.padded.show(padded, `${padded} of ${T}`);
      inputs.padded.node.hidden = !["padding", "front"].includes(settings.mask);
    }
    for (const name of ["mask", "precision", "scale", "stable"]) {
      if (inputs[name]) inputs[name].input[name.startsWith("s") ? "checked" : "value"] = settings[name];
    }
  }

  buildSigns() {
    const n = this.signs.length;
    const list = element("dl", { class: "ot-signs", style: `--columns: ${n % 3 ? n : 3}` });
    this.tiles = this.signs.map((name) => {
      const tile = { name, value: element("b"), unit: element("small", {}, SIGNS[name][1]) };
      tile.bar = element("i", { "aria-hidden": "true" });
      tile.node = element("div", { "data-sign": name }, element("dt", {}, SIGNS[name][0]),
        element("dd", {}, tile.value, tile.unit, tile.bar));
      list.append(tile.node);
      return tile;
    });
    list.hidden = !n;
    return list;
  }

  // All that the reader does ends here.
  change(changes = {}) {
    if (changes.mask) this.flipped.clear();
    Object.assign(this.settings, changes);
    this.showControls();
    this.refresh(true);
  }

  count(n) {
    const more = MORE.filter((word) => !this.own.includes(word));
    this.setWords([...this.own, ...more].slice(0, n));
  }

  setWords(words) {
    this.words = words;
    const last = words.length - 1;
    this.flipped = new Set([...this.flipped].filter((cell) => Math.max(...cell.split(",")) <= last));
    this.pinned = { ...this.pinned, i: Math.min(this.pinned.i, last), j: Math.min(this.pinned.j, last) };
    this.change();
  }

  flip({ i, j }) {
    if (!this.flipped.delete(`${i},${j}`)) this.flipped.add(`${i},${j}`);
    this.change();
  }

  reset() {
    Object.assign(this, structuredClone(this.start));
    this.setWords(this.own = this.words);
  }

  // At most once a frame.
  refresh(changed = false) {
    this.changed ||= changed;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.update(this.changed);
      this.changed = false;
    });
  }

  update(compute = true) {
    const { settings, words } = this;
    const T = words.length;
    if (compute) {
      const key = [settings.seed, settings.d_k, ...words].join(" ");
      if (this.drawn?.key !== key) this.drawn = { key, ...draw(words, settings.d_k, settings.seed) };
      this.open = permissions(settings.mask, T, Math.min(settings.padded, T));
      for (const cell of this.flipped) {
        const [i, j] = cell.split(",").map(Number);
        this.open[i * T + j] ^= 1;
      }
      this.result = { ...this.drawn, ...operate(this.drawn, this.open, settings) };
      this.vitals = vitalSigns(this.result.weights, this.open, T);
      if (this.wordList.textContent !== words.join("")) {
        this.wordList.replaceChildren(...words.map((word) => element("li", {}, word)));
      }
      this.showSigns(T);
    }
    this.colours ||= this.readColours();
    this.body.toggleAttribute("data-small", this.cards.length > 2 && this.cards.length !== 4 && T <= 16);
    const rooms = this.cards.map((card) => card.grid.clientWidth); // all at once: one layout
    this.cards.forEach((card, n) => {
      card.measure(rooms[n]);
      card.paint();
    });
    this.point(this.pinned);
  }

  readColours() {
    const style = getComputedStyle(this.body);
    const names = ["weights", "scores", "blocked", "broken"];
    const ramps = names.map((name) => [name, ramp(style.getPropertyValue(`--ot-${name}`))]);
    return { ...Object.fromEntries(ramps), hatch: style.getPropertyValue("--ot-hatch"), text: style.color, font: style.fontFamily };
  }

  // At once; in words, for who hears them, when they have come to rest.
  showSigns(T) {
    for (const { name, node, value, unit, bar } of this.tiles) {
      const [label, , format, share] = SIGNS[name];
      const x = this.vitals[name];
      const text = format(x, T).replace("NaN", "–");
      const more = name === "entropy" ? `nats, ${percent(this.vitals.evenness)} of its maximum` : "";
      if (more) unit.textContent = more;
      if (value.textContent !== text) this.told[name] = `${label} ${text} ${more}`.trim();
      value.textContent = text;
      bar.style.setProperty("--share", clamp(share(x, T, this.vitals) || 0, 0, 1));
      node.toggleAttribute("data-alarm", (name === "empty" || name === "broken") && x > 0);
    }
    clearTimeout(this.saying);
    this.saying = setTimeout(() => {
      const said = Object.values(this.told).join(". ");
      if (said) this.status.textContent = `${said}.`;
      this.told = {};
    }, 700);
  }

  // One query and one key, marked in every stage.
  point(place) {
    for (const card of this.cards) card.point(place);
    [...this.wordList.children].forEach((word, n) => {
      word.toggleAttribute("data-query", n === place.i);
      word.toggleAttribute("data-key", n === place.j);
    });
  }

  pin(place) {
    this.pinned = place;
    this.point(place);
  }
}

// One stage: a canvas, a cell upon it that has the focus, and a line that says how its number came about.
class Card {
  constructor(table, name, number) {
    Object.assign(this, { table, name, active: 0 });
    [this.title, this.matrix, this.rows, this.columns, this.formula] = STAGES[name];
    this.square = this.columns === "j";
    this.after = ["mask", "softmax", "weights"].includes(name);
    this.ramp = name === "softmax" || name === "weights" ? "weights" : "scores";
    const id = `${table.name}-${name}`;
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.pixels = element("canvas");
    this.band = element("div", { class: "ot-band", "aria-hidden": "true" });
    this.pair = [0, 1].map((n) => {
      const cell = element("div", { role: "gridcell", class: "ot-cell", tabindex: -n });
      const row = element("div", { role: "row" }, cell);
      row.hidden = n > 0;
      return { cell, row };
    });
    this.grid = element("div", { class: "ot-grid", role: "grid", "aria-labelledby": id },
      this.canvas, this.band, ...this.pair.map(({ row }) => row));
    this.subtitle = element("small");
    this.readout = element("p", { class: "ot-readout", "aria-hidden": "true" });
    [this.low, this.high] = [element("span"), element("span")];
    this.node = element("section", { class: "ot-card", "data-stage": name, "aria-labelledby": id },
      element("p", { id }, element("span", { class: "ot-number", "aria-hidden": "true" }, number), element("b", {}, this.title), this.subtitle),
      this.grid,
      element("p", { class: "ot-legend", "aria-hidden": "true" }, this.low, element("i", { style: `background: linear-gradient(to right, var(--ot-${this.ramp}))` }), this.high),
      this.readout);
    if (name === "mask") {
      this.grid.setAttribute("aria-describedby", `${id}-help`);
      this.node.append(element("small", { id: `${id}-help` }, "Click a cell or press Enter: blocked, or open again."));
    }
    this.grid.addEventListener("pointermove", (event) => {
      const place = event.pointerType === "mouse" && this.at(event);
      if (place) table.point(place);
    });
    this.grid.addEventListener("pointerleave", () => table.point(table.pinned));
    this.grid.addEventListener("click", (event) => {
      const place = this.at(event);
      if (!place) return;
      table.pin(place);
      this.pair[this.active].cell.focus({ preventScroll: true });
      if (name === "mask") table.flip(place);
    });
    this.grid.addEventListener("keydown", (event) => this.key(event));
  }

  // Rows and columns that are shown, and how long a row of the matrix is.
  get size() {
    const { T, d_k, V } = this.table.result;
    const long = { j: T, c: d_k, v: V.length / T }[this.columns];
    return [T, Math.min(long, this.square ? T : SHOWN), long];
  }

  // The place under a pointer.
  at(event) {
    const box = this.grid.getBoundingClientRect();
    const [rows, columns] = this.size;
    const row = Math.floor((event.clientY - box.top - this.top) / this.height);
    const column = Math.floor((event.clientX - box.left - this.left) / this.width);
    return row >= 0 && column >= 0 && row < rows && column < columns && { ...this.table.pinned, [this.rows]: row, [this.columns]: column };
  }

  key(event) {
    const { pinned } = this.table;
    const [rows, columns] = this.size.map((n) => n - 1);
    const far = event.ctrlKey ? Infinity : 0;
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Enter: [0, 0], " ": [0, 0],
      PageUp: [-Infinity, 0], PageDown: [Infinity, 0], Home: [-far, -Infinity], End: [far, Infinity] }[event.key];
    if (!move) return;
    event.preventDefault();
    const row = clamp(pinned[this.rows] + move[0], 0, rows);
    const column = clamp(pinned[this.columns] + move[1], 0, columns);
    if (this.name === "mask" && move[0] === 0 && move[1] === 0) this.table.flip(pinned);
    if (row === pinned[this.rows] && column === pinned[this.columns]) return;
    // The other cell of the pair takes over: a screen reader speaks of what newly has the focus.
    const [old, next] = [this.pair[this.active], this.pair[1 - this.active]];
    this.active = 1 - this.active;
    next.row.hidden = false;
    this.table.pin({ ...pinned, [this.rows]: row, [this.columns]: column });
    [old.cell.tabIndex, next.cell.tabIndex] = [-1, 0];
    next.cell.focus();
    old.row.hidden = true;
  }

  // Where cells go: those of all square matrices have one size, others fit in. Names are written where something moved.
  measure(room) {
    const { words, colours } = this.table;
    const [rows, columns] = this.size;
    const ratio = devicePixelRatio;
    const state = [room, ratio, columns, ...words].join(" ");
    if (state === this.state && colours === this.written) return;
    [this.state, this.written] = [state, colours];
    const font = room < 200 ? 10 : 11;
    const context = (this.context ||= this.canvas.getContext("2d"));
    context.font = `${font}px ${colours.font}`;
    const longest = Math.max(...words.map((word) => context.measureText(word).width));
    const left = Math.ceil(Math.min(longest, 0.26 * room)) + 6;
    const snap = (x) => Math.floor(x * ratio) / ratio;
    const height = snap(clamp((room - left - 1) / Math.max(rows, 4), 1, 46));
    const width = this.square ? height : snap(Math.min((room - left - 1) / columns, Math.max(height, 30)));
    const turned = this.square && longest + 4 > width;
    const top = turned ? Math.ceil(Math.min(longest, 0.22 * room)) + 6 : 18;
    const whole = top + rows * height + 1;
    Object.assign(this, { left, top, width, height, font, turned });
    this.canvas.width = Math.round(room * ratio);
    this.canvas.height = Math.round(whole * ratio);
    this.canvas.style.height = `${whole}px`;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.imageSmoothingEnabled = false;
    this.grid.setAttribute("aria-rowcount", rows);
    this.grid.setAttribute("aria-colcount", columns);
    this.names(words, rows, columns);
  }

  names(words, rows, columns) {
    const { context, left, top, width, height, font, turned } = this;
    const cut = (word, room) => {
      let text = word;
      for (let n = word.length - 1; n && context.measureText(text).width > room; n--) text = `${word.slice(0, n)}…`;
      return text;
    };
    context.font = `${font}px ${this.table.colours.font}`;
    context.fillStyle = this.table.colours.text;
    context.textBaseline = "middle";
    context.textAlign = "right";
    const step = (size) => Math.max(1, Math.ceil((font + 1) / size));
    for (let r = 0; r < rows; r += step(height)) context.fillText(cut(words[r], left - 5), left - 4, top + (r + 0.5) * height);
    context.textAlign = turned ? "left" : "center";
    for (let k = 0; k < columns; k += turned || this.square ? step(width) : 2 * step(width) - 1) {
      context.save();
      context.translate(left + (k + 0.5) * width, turned ? top - 4 : top - 8);
      if (turned) context.rotate(-Math.PI / 2);
      context.fillText(this.square ? cut(words[k], turned ? top - 6 : width) : k + 1, 0, 0);
      context.restore();
    }
  }

  paint() {
    const { table, context, left, top, width, height, font } = this;
    const { colours, result, open, settings } = table;
    const [rows, columns, stride] = this.size;
    const numbers = result[this.matrix];
    const formula = this.formula(settings, stride);
    if (this.subtitle.textContent !== formula) this.subtitle.textContent = formula;
    let limit = 0;
    for (const x of numbers) if (Math.abs(x) < Infinity) limit = Math.max(limit, Math.abs(x));
    if (this.name === "weights" || !limit) limit = 1;
    const from = this.ramp === "scores" ? -limit : 0;
    [this.low.textContent, this.high.textContent] = [short(from), short(limit)];
    const blocked = (at) => this.after && !open[at] && numbers[at] === numbers[at];
    const shade = (at) => {
      const x = numbers[at];
      if (blocked(at)) return colours.blocked[0];
      return Math.abs(x) < Infinity ? colours[this.ramp][Math.round((255 * (x - from)) / (limit - from))] : colours.broken[0];
    };
    // One pixel a cell, then enlarged.
    const image = new ImageData(columns, rows);
    const lines = new Path2D();
    const every = height < 12 ? height : height / 2;
    for (let r = 0, n = 0; r < rows; r++) {
      for (let k = 0; k < columns; k++, n += 4) {
        const at = r * stride + k;
        [image.data[n], image.data[n + 1], image.data[n + 2]] = shade(at).rgb;
        image.data[n + 3] = 255;
        if (!blocked(at)) continue;
        const [x, y] = [left + k * width, top + r * height];
        for (let on = every; on < 2 * height; on += every) {
          const [low, high] = [Math.max(0, on - height), Math.min(on, height)];
          lines.moveTo(x + low, y + on - low);
          lines.lineTo(x + high, y + on - high);
        }
      }
    }
    [this.pixels.width, this.pixels.height] = [columns, rows];
    this.pixels.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(this.pixels, left, top, columns * width, rows * height);
    context.strokeStyle = colours.hatch;
    context.lineWidth = 0.8;
    context.stroke(lines);
    if (height >= 7) {
      for (let r = 1; r < rows; r++) context.clearRect(left, top + r * height - 1, columns * width, 1);
      for (let k = 1; k < columns; k++) context.clearRect(left + k * width - 1, top, 1, rows * height);
    }
    if (height < 24 || width < 26) return;
    context.textAlign = "center";
    for (let n = 0; n < rows * columns; n++) {
      const [r, k] = [Math.floor(n / columns), n % columns];
      const at = r * stride + k;
      if (blocked(at)) continue;
      const x = numbers[at];
      const size = Math.abs(x);
      const text = size >= 1e4 && size < Infinity ? x.toExponential(0).replace("+", "") : fixed(x, this.ramp === "weights" ? 2 : size < 10 ? 1 : 0);
      context.font = `${Math.min(font + 1, (1.62 * (width - 4)) / text.length)}px ${colours.font}`;
      context.fillStyle = shade(at).ink;
      context.fillText(text, left + (k + 0.5) * width - 0.5, top + (r + 0.5) * height);
    }
  }

  point(place) {
    const [rows, columns, stride] = this.size;
    const [r, k] = [Math.min(place[this.rows], rows - 1), Math.min(place[this.columns], columns - 1)];
    const { left, top, width, height } = this;
    const { cell, row } = this.pair[this.active];
    const box = (x, wide) => `width:${wide}px;height:${height}px;transform:translate(${left + x}px,${top + r * height}px)`;
    cell.style.cssText = box(k * width, width);
    this.band.style.cssText = box(0, columns * width);
    row.setAttribute("aria-rowindex", r + 1);
    cell.setAttribute("aria-colindex", k + 1);
    const { words } = this.table;
    const [from, to] = [words[r], this.square ? words[k] : k + 1];
    const told = this.explain(r, r * stride + k);
    cell.setAttribute("aria-label", `${this.rows === "i" ? "query" : "key"} ${from}, ${this.square ? "key" : "coordinate"} ${to}: ${told}`);
    this.readout.textContent = `${from}${this.square ? " → " : ", "}${to}: ${told}`;
  }

  // The arithmetic of one cell, with its numbers.
  explain(row, at) {
    const { result, settings, open } = this.table;
    const x = result[this.matrix][at];
    const score = short(result.scores[at]);
    const top = settings.stable ? ` − ${short(result.tops[row]).replace(/^−.*/, "($&)")}` : "";
    switch (this.name) {
      case "scores": return `q · k = ${score}`;
      case "scale": {
        const divided = by(settings.scale, short(Math.sqrt(settings.d_k))) + by(settings.temperature !== 1, short(settings.temperature));
        return divided ? `${score}${divided} = ${short(x)}` : `stays ${score}`;
      }
      case "mask": return open[at] ? `open, ${short(x)}` : "blocked, −∞";
      case "softmax": return `exp(${short(result.masked[at])}${top}) = ${small(x)}`;
      case "weights": return `${small(result.powers[at])} ÷ ${small(result.totals[row])} = ${small(x, 3)}`;
      default: return short(x);
    }
  }
}

customElements.define("operating-table", OperatingTable);
