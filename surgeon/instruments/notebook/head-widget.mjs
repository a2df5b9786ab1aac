// What anywidget asks for, after head-explorer.mjs: the model in the kernel and the element have one choice.

export default {
  render({ model, el }) {
    const chosen = () => Object.fromEntries(CHOICE.map((name) => [name, model.get(name)]));
    const same = (one, other) => CHOICE.every((name) => one[name] === other[name]);
    const leave = enter(el);
    const explorer = place(el, JSON.parse(model.get("_heads")), chosen());
    const tell = () => {
      if (same(explorer.choice, chosen())) return;
      for (const [name, value] of Object.entries(explorer.choice)) model.set(name, value);
      model.save_changes();
    };
    const follow = () => same(explorer.choice, chosen()) || (explorer.choice = chosen());
    explorer.addEventListener("chosen", tell);
    for (const name of CHOICE) model.on(`change:${name}`, follow);
    return () => {
      leave();
      for (const name of CHOICE) model.off(`change:${name}`, follow);
    };
  },
};
