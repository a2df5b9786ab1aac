// What the theme had Bootstrap for: the menus of the header. And three things that it does not do.
"use strict";

const menus = [...document.querySelectorAll('[data-bs-toggle="dropdown"]')];

function show(button, open) {
  button.setAttribute("aria-expanded", open);
  button.nextElementSibling.classList.toggle("show", open);
}

const isOpen = (button) => button.getAttribute("aria-expanded") === "true";
const entries = (button) => [...button.nextElementSibling.querySelectorAll("a[href], button")];

for (const button of menus) {
  button.addEventListener("click", () => show(button, !isOpen(button)));
  button.parentElement.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !button.parentElement.contains(event.relatedTarget)) show(button, false);
  });
  button.parentElement.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isOpen(button)) {
      show(button, false);
      button.focus();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      show(button, true);
      const all = entries(button);
      const here = all.indexOf(document.activeElement);
      const next = event.key === "ArrowDown" ? here + 1 : here < 0 ? all.length - 1 : here - 1;
      all[(next + all.length) % all.length].focus();
    }
  });
}

document.addEventListener("click", (event) => {
  for (const button of menus) if (!button.parentElement.contains(event.target)) show(button, false);
});

// An instrument's script is asked for when a reader comes near the instrument, whose figure stands there until then.
for (const script of document.querySelectorAll('script[type="module/when-near"]')) {
  const [, name] = script.src.match(/([\w-]+)\.mjs/);
  const watch = new IntersectionObserver(
    (seen) => {
      if (!seen.some((place) => place.isIntersecting)) return;
      watch.disconnect();
      import(script.src);
    },
    { rootMargin: "600px" },
  );
  for (const instrument of document.querySelectorAll(name)) watch.observe(instrument);
}

// An equation that is wider than its column scrolls; then the keyboard must reach it. All are measured before any is
// changed, so that the browser lays out the page once.
function reach(within) {
  const boxes = [...within.querySelectorAll("div.math")];
  const wide = boxes.map((box) => box.scrollWidth > box.clientWidth + 1);
  boxes.forEach((box, number) => {
    const said = { tabindex: "0", role: "group", "aria-label": "Equation, scrolls sideways" };
    for (const [name, value] of Object.entries(said)) {
      if (wide[number]) box.setAttribute(name, value);
      else box.removeAttribute(name);
    }
  });
}

addEventListener("load", () => document.fonts.ready.then(() => reach(document)));
addEventListener("resize", () => reach(document));
document.addEventListener("toggle", (event) => reach(event.target), { capture: true });

// What is folded on the screen is open on paper.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});
