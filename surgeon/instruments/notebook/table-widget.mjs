// What anywidget asks for, after operating-table.mjs: the table in the page and the one in the kernel have one state.

const SETTINGS = ["d_k", "scale", "stable", "temperature", "precision", "mask", "padded", "seed"];
const SHARED = [...SETTINGS, "tokens", "flipped", "query", "key", "given"];

class LiveTable extends OperatingTable {
  connectedCallback() {
    const first = !this.body;
    super.connectedCallback();
    if (first) this.dispatchEvent(new Event("ready"));
  }

  update(compute = true) {
    super.update(compute);
    if (compute) this.dispatchEvent(new Event("changed"));
  }

  pin(place) {
    super.pin(place);
    this.dispatchEvent(new Event("changed"));
  }

  get state() {
    const flipped = [...this.flipped].map((cell) => cell.split(",").map(Number));
    const { i, j } = this.pinned;
    return { ...this.settings, tokens: this.words, flipped, query: i, key: j, given: this.drawn === this.held };
  }

  /** Queries, keys and values from outside stay until words, width or seed are others. */
  hold(vectors, T, d_k) {
    const numbers = new Float64Array(vectors.buffer.slice(vectors.byteOffset, vectors.byteOffset + vectors.byteLength));
    const [q, k] = [T * d_k, 2 * T * d_k];
    const key = [this.settings.seed, d_k, ...this.words].join(" ");
    this.held = { key, T, d_k, Q: numbers.slice(0, q), K: numbers.slice(q, k), V: numbers.slice(k) };
    this.drawn = this.held;
  }

  set state({ tokens, flipped, query, key, given, vectors, ...settings }) {
    this.words = this.own = tokens;
    Object.assign(this.settings, settings);
    this.flipped = new Set(flipped.map((cell) => cell.join()));
    this.pinned = { ...this.pinned, i: query, j: key };
    if (given) this.hold(vectors, tokens.length, settings.d_k);
    else if (this.drawn === this.held) this.drawn = null;
    this.change();
  }
}

// A page that was here before this kernel may know the name.
customElements.get("operating-table") || customElements.define("operating-table", LiveTable);

const text = (state) => JSON.stringify(SHARED.map((name) => (name === "flipped" ? state.flipped.map(String).sort() : state[name])));

export default {
  render({ model, el }) {
    const asked = () => Object.fromEntries([...SHARED, "vectors"].map((name) => [name, model.get(name === "vectors" ? "_vectors" : name)]));
    const table = element("operating-table", JSON.parse(model.get("_start")));
    const leave = enter(el, () => {
      table.colours = null;
      if (table.body) table.refresh();
    });
    let vectors;
    const follow = () => {
      const wanted = asked();
      if (!table.body || (text(wanted) === text(table.state) && (!wanted.given || wanted.vectors === vectors))) return;
      vectors = wanted.vectors;
      table.state = wanted;
    };
    const tell = () => {
      const now = table.state;
      if (table.frame || text(now) === text(asked())) return; // a frame that waits will tell
      for (const name of SHARED) model.set(name, now[name]);
      model.save_changes();
    };
    // First it takes what the kernel has, vectors too; only then is it asked what it has.
    table.addEventListener("ready", () => {
      follow();
      table.addEventListener("changed", tell);
    });
    el.append(table);
    for (const name of [...SHARED, "_vectors"]) model.on(`change:${name}`, follow);
    return () => {
      leave();
      for (const name of [...SHARED, "_vectors"]) model.off(`change:${name}`, follow);
    };
  },
};
