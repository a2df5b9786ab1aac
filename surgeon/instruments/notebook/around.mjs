// Where an instrument stands in a notebook: it takes the light or the dark of what is behind it, and its keys are its own.

function dark(element) {
  for (let at = element; at; at = at.parentElement) {
    const [red, green, blue, alpha = 1] = (getComputedStyle(at).backgroundColor.match(/[\d.]+/g) || []).map(Number);
    if (alpha > 0 && red + green + blue >= 0) return red + green + blue < 384;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Prepare the element around an instrument; what is returned ends it. */
function enter(element, repaint = () => {}) {
  element.classList.add("surgeon-instrument");
  // Jupyter's shortcuts are looked for from what has the focus outwards: that has to refuse them itself.
  element.addEventListener("focusin", ({ target }) => (target.dataset.lmSuppressShortcuts = "true"));
  const look = () => {
    const scheme = dark(element.parentElement) ? "dark" : "light";
    if (scheme === element.dataset.theme) return;
    element.dataset.theme = scheme;
    repaint();
  };
  requestAnimationFrame(look); // when it stands in the page
  const seen = new MutationObserver(() => requestAnimationFrame(look));
  for (const root of [document.documentElement, document.body]) seen.observe(root, { attributes: true });
  return () => seen.disconnect();
}
