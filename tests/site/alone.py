"""A host of widgets that is no notebook: what anywidget promises, less `send`, in a page that may ask nothing.

A module's `render` gets `model` and `el`, and what it returns ends the view. What the kernel's side says to the page,
and the page to it, are the messages of Jupyter's widgets, from ipywidgets itself.
"""

import ast
import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stdout
from io import StringIO
from typing import Any

import comm
import pytest
from comm.base_comm import BaseComm
from handled import CELLS
from notebooks import Runs
from playwright.async_api import Browser, Locator, Page, Route
from tabs import telling

ADDRESS = "http://alone.invalid/"
# As strange as the frames that others show outputs in: no origin, no storage, no script but what it was given.
POLICY = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'"
PAGE = """<!doctype html><html lang="en"><title>Alone</title><main></main><script>
const cells = document.querySelector("main").children;
const models = new Map(), views = new Map();

class Model {
  constructor(id, state) {
    Object.assign(this, { id, state, unsaved: {}, heard: new Map() });
    const names = ["get", "set", "save_changes", "on", "off"];
    const promised = Object.fromEntries(names.map((name) => [name, this[name].bind(this)]));
    const missing = (_, name) => { throw new Error(`No model promises ${String(name)}.`); };
    const get = (has, name) => (name in has ? has[name] : missing(has, name));
    this.promised = new Proxy(promised, { get, set: missing });
  }
  get(name) { return this.state[name]; }
  set(name, value) {
    if (JSON.stringify(value) === JSON.stringify(this.state[name])) return;
    this.unsaved[name] = value;
    this.take({ [name]: value });
  }
  save_changes() {
    const state = this.unsaved;
    this.unsaved = {};
    said(JSON.stringify({ id: this.id, state }));
  }
  on(event, then) { this.heard.set(event, [...(this.heard.get(event) || []), then]); }
  off(event, then) { this.heard.set(event, this.heard.get(event).filter((one) => one !== then)); }
  take(state) {
    Object.assign(this.state, state);
    for (const name of Object.keys(state)) for (const then of this.heard.get(`change:${name}`) || []) then();
  }
  get listeners() { return [...this.heard.values()].flat().length; }
}

function hear({ id, state, binary, first }) {
  for (const [name, text] of Object.entries(binary))
    state[name] = new DataView(Uint8Array.from(atob(text), (one) => one.charCodeAt()).buffer);
  first ? models.set(id, new Model(id, state)) : models.get(id).take(state);
}

function end(n) {
  views.get(n)?.leave();
  views.delete(n);
}

function cell(n) {
  while (cells.length <= n) document.querySelector("main").append(document.createElement("section"));
  end(n);
  cells[n].replaceChildren();
  return cells[n];
}

async function show({ n, id, text }) {
  const place = cell(n), model = models.get(id);
  if (!model) return place.append(text);
  const address = URL.createObjectURL(new Blob([model.get("_esm")], { type: "text/javascript" }));
  const { default: widget } = await import(address);
  const style = document.createElement("style"), el = document.createElement("div");
  style.append(model.get("_css"));
  place.append(style, el);
  const leave = await widget.render({ model: model.promised, el });
  views.set(n, { leave });
}

function listenersLeft() {
  for (const n of [...views.keys()]) end(n);
  return [...models.values()].reduce((sum, model) => sum + model.listeners, 0);
}
</script></html>"""


class Wire(BaseComm):
    """What a widget says, kept until the page is told."""

    told: list[dict[str, Any]]

    def publish_msg(
        self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
    ) -> None:
        if msg_type == "comm_open" or (data or {}).get("method") == "update":
            binary = {path[0]: one for path, one in zip(data["buffer_paths"], buffers or [], strict=True)}
            encoded = {name: base64.b64encode(one).decode() for name, one in binary.items()}
            first = msg_type == "comm_open"
            self.told.append({"id": self.comm_id, "state": data["state"], "binary": encoded, "first": first})


class Alone(Runs):
    def __init__(self, tab: Page) -> None:
        self.tab, self.names, self.wires, self.told = tab, {}, {}, []
        self.turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def opened(cls, browser: Browser) -> AsyncIterator["Alone"]:
        """The page, in which widgets can be shown; it complains of nothing and asks for nothing."""
        tab = await browser.new_page(viewport={"width": 1280, "height": 900})
        tab.set_default_timeout(60_000)
        page, complaints = cls(tab), []

        async def answer(route: Route) -> None:
            if route.request.url != ADDRESS:
                complaints.append(route.request.url)
            await route.fulfill(body=PAGE, content_type="text/html", headers={"Content-Security-Policy": POLICY})

        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        await tab.route("**/*", answer)
        await tab.expose_function("said", page.hear)
        await tab.goto(ADDRESS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(comm, "create_comm", page.wire)
            patch.setattr("surgeon.instruments.explorer.can_show_widgets", lambda: True)
            async with telling(tab):
                yield page
        assert await tab.evaluate("listenersLeft()") == 0
        assert complaints == []
        await tab.close()

    def wire(self, **options: Any) -> Wire:
        kind = type("Wire", (Wire,), {"told": self.told})
        made = kind(**options)
        self.wires[made.comm_id] = made
        return made

    async def tell(self) -> None:
        """Pass on what the widgets have said, in its order."""
        async with self.turn:
            while self.told:
                await self.tab.evaluate("hear", self.told.pop(0))

    async def hear(self, text: str) -> None:
        said = json.loads(text)
        data = {"method": "update", "state": said["state"], "buffer_paths": []}
        self.wires[said["id"]].handle_msg({"content": {"data": data}, "buffers": []})
        await self.tell()

    async def run(self, n: int) -> Locator:
        """Run a cell, whose last expression is shown."""
        tree, value, printed = ast.parse(CELLS[n]), None, StringIO()
        last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
        with redirect_stdout(printed):
            exec(compile(tree, f"cell {n}", "exec"), self.names)
            if last:
                value = eval(compile(last, f"cell {n}", "eval"), self.names)
        await self.tell()
        shown = {"n": n, "id": getattr(value, "model_id", None), "text": printed.getvalue()}
        await self.tab.evaluate("show", shown)
        return self.tab.locator("main > section").nth(n)
