// Puts the page together and keeps it up to date.
import { recall, remember } from "./dom.js";
import { setUpMenu } from "./talk.js";
import { Shop } from "./shop.js";
import { App } from "./apps.js";
import { Events, Control } from "./control.js";

const at = (id) => document.getElementById(id);
const state = {};
const apps = Object.fromEntries(["telegram", "discord", "slack"].map((name) => [name, new App(at(name), name)]));
const shop = new Shop(at("shop"), (visitor) => Object.values(apps).forEach((a) => a.follow(visitor)));
const events = new Events(at("events"));
const control = new Control(at("control"), (count) => shop.burst(count));
setUpMenu();

// On a narrow screen one part shows at a time.
const wide = matchMedia("(min-width: 1120px)");
const middle = matchMedia("(min-width: 760px)");
const tabs = [...document.querySelectorAll(".tabs button")];
function go(to) {
  if (to === "shop" && middle.matches && !wide.matches) to = document.body.dataset.tab === "shop" ? "telegram" : document.body.dataset.tab;
  document.body.dataset.tab = to;
  remember("tab", to);
  for (const b of tabs) {
    if (b.dataset.to === to) b.setAttribute("aria-current", "true");
    else b.removeAttribute("aria-current");
  }
  draw(Object.keys(state));
}
for (const b of tabs) b.addEventListener("click", () => go(b.dataset.to));
middle.addEventListener("change", () => go(document.body.dataset.tab));
for (const a of document.querySelectorAll(".skips a")) {
  a.addEventListener("click", (e) => {
    e.preventDefault();
    const id = a.getAttribute("href").slice(1);
    go(id.replace("-text", ""));
    at(id).focus();
  });
}

// The three things to try.
const steps = { "step-1": "wrote", "step-2": "answered", "step-3": "survived" };
at("step-1").addEventListener("click", () => {
  go("shop");
  at("shop-text").focus();
});
at("step-2").addEventListener("click", () => {
  go(wide.matches || document.body.dataset.tab === "shop" ? "telegram" : document.body.dataset.tab);
  at(`${document.body.dataset.tab in apps ? document.body.dataset.tab : "telegram"}-text`).focus();
});
at("step-3").addEventListener("click", () => {
  go("control");
  at("power").focus();
});

function draw(parts) {
  const has = (name) => parts.includes(name);
  for (const name of Object.keys(apps)) if (has(name)) apps[name].draw(state[name]);
  if (has("shop") || has("page")) shop.draw(state.shop, state.page);
  if (has("received")) events.draw(state.received);
  if (state.bridge) {
    control.draw({
      bridge: state.bridge, switches: state.switches, faults: state.faults, page: state.page,
      apps: Object.fromEntries(Object.keys(apps).map((name) => [name, state[name]])),
    });
  }
  if (has("steps")) {
    for (const [id, name] of Object.entries(steps)) {
      at(id).classList.toggle("done", state.steps[name]);
      at(id).querySelector(".num").textContent = state.steps[name] ? "✓" : id.slice(-1);
    }
  }
  for (const b of tabs) {
    const name = b.dataset.to;
    const news = name in apps ? apps[name].unread : name === "shop" && state.shop?.visitors.some((v) => v.messages.some((m) => m.from === "operator" && !m.read));
    b.classList.toggle("news", !!news && document.body.dataset.tab !== name);
    if (name === "control") b.classList.toggle("dead", state.bridge?.running === false);
  }
}

go(recall("tab", "shop"));
document.addEventListener("visibilitychange", () => shop.see());

function listen() {
  const stream = new EventSource("/demo/stream");
  stream.onopen = () => {
    at("gone").hidden = true;
  };
  stream.onmessage = (e) => {
    const patch = JSON.parse(e.data);
    Object.assign(state, patch);
    draw(Object.keys(patch));
    document.body.dataset.live = "true";
  };
  stream.onerror = () => {
    at("gone").textContent = "The demo has ended, or cannot be reached. Start it again with “make demo”; this page looks for it by itself.";
    at("gone").hidden = false;
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 1000);
  };
}
listen();
