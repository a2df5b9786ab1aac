// Joined to static/head-explorer/head-explorer.mjs, whose class this extends: weights that are at hand, where the site
// fetches them, and a choice that can be read and set from outside.

const CHOICE = ["text", "layer", "head", "mode", "token"];

class HeldExplorer extends HeadExplorer {
  connectedCallback() {
    const first = !this.panel;
    super.connectedCallback();
    if (first) this.choice = this.start;
  }

  wait() {
    this.take(this.held);
  }

  show() {
    super.show();
    this.dispatchEvent(new Event("chosen"));
  }

  get choice() {
    return this.start || Object.fromEntries(CHOICE.map((name) => [name, this[name]]));
  }

  set choice(choice) {
    this.start = this.panel ? null : choice; // until it stands in the page
    if (this.start) return;
    const { text, layer, head, mode, token } = choice;
    Object.assign(this, { layer, head, mode, token });
    if (text !== this.text) {
      this.querySelector(".pick-sentence select").value = text;
      this.read(text);
    }
    this.pin(mode, token);
  }
}

// A page that was here before this kernel may know the name.
customElements.get("head-explorer") || customElements.define("head-explorer", HeldExplorer);

/** The explorer of `heads` (texts, layers, heads, causal), in a parent, with the choice it starts with. */
function place(parent, heads, choice) {
  const element = make("head-explorer", { layers: heads.layers, heads: heads.heads, layer: choice.layer, head: choice.head });
  element.toggleAttribute("causal", heads.causal);
  element.held = heads.texts;
  element.start = choice;
  parent.append(element);
  return element;
}
