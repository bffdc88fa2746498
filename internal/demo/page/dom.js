// Small helpers: elements, lists that keep their elements, requests, and what is remembered over a reload.

/** Makes an element. Properties whose names have a dash, and role, are attributes; on… are listeners. */
export function h(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (name === "class") e.className = value;
    else if (name === "dataset") Object.assign(e.dataset, value);
    else if (name.includes("-") || name === "role" || name === "for" || name === "popovertarget") e.setAttribute(name, value === true ? "" : value);
    else e[name] = value;
  }
  e.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return e;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button with an icon and a name that is read out and shown as a hint. */
export function iconButton(name, label, props = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, ...props }, icon(name));
}

/** Brings a list's children in line with items. An element is made once for each key; update is called when its item changed. */
export function keyed(parent, items, key, make, update) {
  const old = new Map([...parent.children].map((e) => [e.dataset.key, e]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = String(key(item));
    let e = old.get(k);
    const json = JSON.stringify(item);
    if (!e) {
      e = make(item);
      e.dataset.key = k;
      parent.insertBefore(e, at);
    } else {
      old.delete(k);
      if (e === at) at = at.nextElementSibling;
      else parent.insertBefore(e, at);
    }
    if (e.drawn !== json) {
      e.drawn = json;
      update(e, item);
    }
  }
  for (const e of old.values()) e.remove();
}

/** Sets a text only where it differs, so that a screen reader does not read it again. */
export function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

const hours = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export function clock(at, exact) {
  const t = new Date(at);
  return h("time", { dateTime: at }, (exact ? seconds : hours).format(t));
}

export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Asks the demo to do something. What it refuses is shown, and false comes back. */
export async function ask(method, path, body = {}) {
  try {
    const r = await fetch(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    const said = await r.json();
    if (r.ok) return said;
    toast(said.error);
  } catch {
    toast("The demo does not answer.");
  }
  return false;
}

let toasting;
export function toast(text) {
  const e = document.getElementById("toast");
  e.textContent = text.charAt(0).toUpperCase() + text.slice(1);
  e.classList.add("on");
  clearTimeout(toasting);
  toasting = setTimeout(() => e.classList.remove("on"), 6000);
}

/** What is kept over a reload, for this tab alone. */
const kept = (() => {
  try {
    return JSON.parse(sessionStorage.getItem("demo")) || {};
  } catch {
    return {};
  }
})();
export function recall(name, otherwise) {
  return name in kept ? kept[name] : otherwise;
}
export function remember(name, value) {
  kept[name] = value;
  try {
    sessionStorage.setItem("demo", JSON.stringify(kept));
  } catch {
    // a browser that keeps nothing; the page works without
  }
}

/** A stable hue for a name, so that everybody has a colour of their own. */
export function hue(name) {
  let n = 0x811c9dc5;
  for (const c of name) n = Math.imul(n ^ c.codePointAt(0), 0x01000193) >>> 0;
  return (((n >>> 13) ^ n) >>> 0) % 6;
}

export function initial(name) {
  return [...name.trim()][0]?.toUpperCase() ?? "?";
}

export function avatar(name, extra = "") {
  return h("span", { class: `avatar hue-${hue(name)} ${extra}`, "aria-hidden": "true" }, initial(name));
}

/** Pictures a file: a picture as itself, all else as a name with a size. */
export function fileTile(f) {
  if (!f.url) return h("span", { class: "file" }, icon("file"), h("span", {}, f.name || "file"), h("small", {}, size(f.size)));
  if (f.image) {
    return h("a", { class: "picture", href: f.url, target: "_blank", rel: "noopener" },
      h("img", { src: f.url, alt: f.name, loading: "lazy" }));
  }
  return h("a", { class: "file", href: f.url, download: f.name }, icon("file"), h("span", {}, f.name), h("small", {}, size(f.size)));
}

const styles = { b: "strong", i: "em", s: "s", u: "u", c: "code", q: "q", n: "small", m: "mark" };

/** Draws styled text. Nothing of it is read as HTML. */
export function rich(spans) {
  return (spans ?? []).map((s) => {
    let node = document.createTextNode(s.t);
    if (s.u) node = h("a", { href: s.u, target: "_blank", rel: "noopener noreferrer" }, node);
    for (const letter of s.s ?? "") if (styles[letter]) node = h(styles[letter], {}, node);
    return node;
  });
}

export function plain(spans) {
  return (spans ?? []).map((s) => s.t).join("");
}

/** Has a list stay at its end while it grows, also when its pictures have loaded, until somebody scrolls up. */
export function stick(list) {
  list.sticks = true;
  list.addEventListener("scroll", () => {
    if (list.clientHeight > 0) list.sticks = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  }, { passive: true });
  list.addEventListener("load", () => toEnd(list), true);
  return list;
}

export function toEnd(list, always) {
  if (always) list.sticks = true;
  if (list.sticks) list.scrollTop = list.scrollHeight;
}

/**
 * Makes the elements of a list that match one stop of the Tab key: arrows, Home and End go through them. stop says which is the
 * stop in the beginning, "first" or "last". Returns what to call when the list has changed.
 */
export function rove(list, selector, stop) {
  const all = () => [...list.querySelectorAll(selector)].filter((e) => !e.hidden);
  let at = null;
  const settle = () => {
    const every = all();
    if (!every.includes(at) || at !== document.activeElement) at = stop === "last" ? every.at(-1) : every[0];
    for (const e of every) e.tabIndex = e === at ? 0 : -1;
  };
  list.addEventListener("focusin", (e) => {
    if (!e.target.matches(selector)) return;
    at = e.target;
    for (const other of all()) other.tabIndex = other === at ? 0 : -1;
  });
  list.addEventListener("keydown", (e) => {
    if (!e.target.matches(selector)) return;
    const every = all();
    const now = every.indexOf(e.target);
    const to = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: every.length - 1 }[e.key];
    if (to === undefined || !every[to]) return;
    e.preventDefault();
    every[to].focus();
  });
  return settle;
}
