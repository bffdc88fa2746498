// The shop's page with a visitor's chat. Every tab of its browser is another visitor.
import { h, icon, iconButton, keyed, setText, clock, ask, recall, remember, fileTile, avatar, stick, toEnd, rove } from "./dom.js";
import { Composer, menuButton } from "./talk.js";
import { DirectChat } from "./door.js";

const apps = { telegram: "Telegram", discord: "Discord", slack: "Slack" };

export class Shop {
  /** chosen(visitor) is called when another visitor is looked at. */
  constructor(section, chosen) {
    this.section = section;
    this.chosen = chosen;
    this.current = recall("visitor", null);
    this.told = { visitors: [], operators: [] }; // by the demo
    this.state = this.told; // with what the pages that talk to the bridge know
    this.direct = new Map(); // those pages, by their visitors

    this.tabs = h("div", { class: "guests", role: "group", "aria-label": "Visitors" });
    this.nameField = h("input", { id: "visitor-name", type: "text", maxLength: 40, autocomplete: "off" });
    this.nameForm = h("form", {
      id: "new-visitor", class: "new-visitor", popover: "auto",
      onsubmit: async (e) => {
        e.preventDefault();
        if (!(await this.open(this.nameField.value.trim(), !this.way.checked))) return;
        this.nameForm.hidePopover();
        this.composer.text.focus();
      },
    }, h("label", { for: "visitor-name" }, "Another visitor’s name"),
    h("div", { class: "row" }, this.nameField, h("button", { type: "submit", class: "primary" }, "Open")));
    this.nameForm.addEventListener("beforetoggle", (e) => {
      if (e.newState === "open") this.nameField.value = this.state.next ?? "";
    });
    this.nameForm.addEventListener("toggle", (e) => {
      if (e.newState !== "open") return;
      this.nameField.focus();
      this.nameField.select();
    });
    this.add = iconButton("plus", "Open another visitor’s tab", { popovertarget: "new-visitor", "aria-haspopup": "dialog" });

    this.path = h("span", { class: "path" });
    this.way = h("input", { type: "checkbox", id: "switch-server", role: "switch", onchange: () => this.turn(this.way.checked) });
    this.presence = h("span", { class: "presence" });
    this.log = stick(h("ol", { class: "log", "aria-live": "polite", "aria-label": "Chat", "aria-describedby": "arrows", tabIndex: 0 }));
    this.settle = rove(this.log, ".more", "last");
    this.typing = h("p", { class: "typing", "aria-live": "polite" });
    this.rating = h("div", { class: "rating", hidden: true });
    this.composer = new Composer({
      name: "shop", label: "Message to the shop", placeholder: "Write a message…",
      send: (said) => this.send(said),
      typing: (on) => this.types(on),
    });
    this.chat = h("div", { class: "chat", role: "group", "aria-label": "Chat with Kiln & Co." },
      h("div", { class: "chat-top" }, h("span", { class: "chat-mark", "aria-hidden": "true" }, "K"),
        h("div", {}, h("h3", {}, "Chat with Kiln & Co."), this.presence)),
      this.log, this.typing, this.rating, this.composer.form);

    section.append(h("div", { class: "browser" },
      h("div", { class: "browser-top" }, h("span", { class: "dots", "aria-hidden": "true" }), this.tabs, this.add, this.nameForm),
      h("div", { class: "address", "aria-hidden": "true" }, icon("lock"), "kiln.example/river-mug"),
      h("div", { class: "way" }, this.path, h("label", { class: "switch", for: this.way.id }, this.way, h("span", {}, "by your server"))),
      h("div", { class: "store" }, product(), this.chat)));
  }

  get visitor() {
    return this.state.visitors.find((v) => v.id === this.current) ?? null;
  }

  choose(id) {
    if (id === this.current) return;
    this.composer.reset();
    this.current = id;
    remember("visitor", id);
    this.draw();
  }

  /** Opens another visitor's tab, whose page talks to the bridge itself, or to the app server. */
  async open(name, direct) {
    const made = await ask("POST", "/demo/visitors", { name, direct });
    if (!made) return false;
    this.wanted = made.id;
    this.draw();
    return true;
  }

  /** Goes to the visitor who was there last by the app server, or without it; or to a new one. */
  async turn(server) {
    const last = this.state.visitors.findLast((v) => !v.direct === server);
    if (last) this.choose(last.id);
    else if (!(await this.open("", !server))) this.way.checked = !server;
  }

  /** What a visitor's page knows that talks to the bridge itself. It is opened when somebody looks at it. */
  known(v) {
    if (!v.direct) return v;
    let chat = this.direct.get(v.id);
    if (!chat && v.id === this.current && this.endpoint) {
      chat = new DirectChat(v, this.endpoint, () => this.draw());
      this.direct.set(v.id, chat);
    }
    return chat ? { ...v, ...chat.view() } : v;
  }

  draw(told = this.told, page) {
    this.told = told;
    if (page) this.endpoint = page.door;
    const there = (id) => told.visitors.some((v) => v.id === id);
    if (this.wanted && there(this.wanted)) {
      this.current = this.wanted;
      this.wanted = null;
      remember("visitor", this.current);
    }
    if (!there(this.current) && told.visitors.length > 0) {
      this.current = told.visitors.at(-1).id;
      remember("visitor", this.current);
    }
    for (const [id, chat] of this.direct) {
      if (there(id)) continue;
      chat.end();
      this.direct.delete(id);
    }
    const state = this.state = { ...told, visitors: told.visitors.map((v) => this.known(v)) };
    const heads = state.visitors.map((v) => ({
      id: v.id, name: v.name, current: v.id === this.current,
      unread: v.id !== this.current && v.messages.some((m) => m.from === "operator" && !m.read),
    }));
    keyed(this.tabs, heads, (v) => v.id, (v) => this.tab(v), (e, v) => {
      e.classList.toggle("current", v.current);
      e.querySelector("button").setAttribute("aria-pressed", String(v.current));
      e.classList.toggle("unread", v.unread);
    });
    if (this.shown !== this.current) {
      const tab = this.tabs.querySelector(".current");
      if (tab) this.tabs.scrollLeft = tab.offsetLeft - this.tabs.offsetLeft - 12;
      this.shown = this.current;
    }
    const v = this.visitor;
    this.chosen(v);
    this.composer.text.disabled = !v;
    this.way.checked = v ? !v.direct : this.way.checked;
    setText(this.path, this.way.checked ? "your page → your server → bridge" : "your page → bridge");
    // The app server hears by name who is there; a page hears whether anybody is.
    const team = v?.direct ? [] : state.operators.filter((o) => o.status === "online").map((o) => o.name).sort();
    const online = v?.direct ? v.online : state.online;
    this.presence.classList.toggle("on", !!online);
    setText(this.presence, online ? `${team.length > 0 ? names(team) : "The team"} ${team.length > 1 ? "are" : "is"} online` : "We answer as soon as we can");
    if (!v) {
      this.log.replaceChildren(h("li", { class: "empty" }, "Nobody is in the shop. Open a tab above."));
      return;
    }
    const fresh = this.drawnFor !== v.id;
    if (fresh) this.log.replaceChildren();
    this.drawnFor = v.id;
    const byID = new Map(v.messages.flatMap((m) => [[m.id, m], [m.key ?? m.id, m]]));
    const last = v.messages.findLast((m) => m.from === "visitor" && !m.deleted)?.id;
    const items = v.messages.map((m) => ({ ...m, quote: quoteOf(byID.get(m.replyTo), v.name), last: m.id === last }));
    this.log.querySelector(".empty")?.remove();
    keyed(this.log, items, (m) => m.key ?? m.id, (m) => this.message(m), (e, m) => this.drawMessage(e, m, v));
    if (items.length === 0) this.log.replaceChildren(h("li", { class: "empty" }, `${v.name} has just opened the page. Ask something.`));
    toEnd(this.log, fresh);
    this.settle();
    setText(this.typing, v.typing ? `Somebody is typing${apps[v.typing] ? ` in ${apps[v.typing]}` : ""}…` : "");
    this.drawRating(v);
    this.see();
  }

  /** Tells that the operators' messages have been seen, if they have. */
  see() {
    const v = this.visitor;
    if (!v || document.hidden || this.section.offsetParent === null) return;
    if (!v.messages.some((m) => m.from === "operator" && !m.read && !m.deleted)) return;
    if (v.direct) this.direct.get(v.id)?.read();
    else ask("POST", `/demo/visitors/${v.id}/read`);
  }

  tab(v) {
    return h("span", { class: "guest" },
      h("button", { type: "button", onclick: () => this.choose(v.id) }, avatar(v.name, "small"), h("span", {}, v.name)),
      iconButton("close", `Close ${v.name}’s tab`, { class: "icon-button tiny", onclick: () => {
        this.direct.get(v.id)?.leave();
        ask("DELETE", `/demo/visitors/${v.id}`);
      } }));
  }

  message(m) {
    const li = h("li", {}, h("div", { class: "body" }));
    if (m.from !== "note") li.append(menuButton(`More for the message “${m.text.slice(0, 30)}”`, () => this.menu(li.item)));
    return li;
  }

  drawMessage(li, m, v) {
    li.item = m;
    li.className = `message ${m.from}${m.deleted ? " deleted" : ""}`;
    const body = li.firstChild;
    if (m.from === "note") {
      body.replaceChildren(m.text);
      return;
    }
    const more = li.querySelector(".more");
    if (more) more.hidden = m.deleted;
    const head = m.from === "operator" && m.author && h("div", { class: "by" }, h("b", {}, m.author), h("span", { class: `via ${m.app}` }, apps[m.app] ?? m.app));
    const foot = h("div", { class: "meta" }, clock(m.at), m.edited && !m.deleted && " · edited");
    body.replaceChildren(...[
      head,
      m.quote && h("blockquote", {}, h("b", {}, m.quote.who), " ", m.quote.text),
      m.deleted ? h("p", {}, "Message deleted") : m.text && h("p", {}, m.text),
      ...(m.files ?? []).map(fileTile),
      foot,
    ].filter(Boolean));
    if (m.from !== "visitor") return;
    const [mark, text] = status(m);
    foot.append(" ", h("span", { class: `tick ${mark}` }, icon(mark === "read" ? "checks" : { sending: "clock", accepted: "check", failed: "close" }[mark] ?? "checks"),
      h("span", { class: m.last || mark === "failed" || mark === "sending" ? "" : "hidden" }, text)));
  }

  menu(m) {
    const v = this.visitor;
    const items = [{ label: "Reply", icon: "reply", do: () => this.composer.reply(m.id, m.from === "visitor" ? v.name : m.author ?? "the team", m.text || "a file") }];
    if (m.from === "visitor") {
      if (m.text) items.push({ label: "Edit", icon: "edit", do: () => this.composer.edit(m.id, m.text) });
      items.push({ label: "Delete", icon: "trash", danger: true, do: () => v.direct
        ? this.direct.get(v.id).remove(m.id)
        : ask("DELETE", `/demo/visitors/${v.id}/messages/${m.id}`) });
    }
    return { items };
  }

  send({ text, replyTo, editing, file }) {
    const at = `/demo/visitors/${this.current}/messages`;
    const direct = this.direct.get(this.current);
    this.types(false);
    if (direct) return editing ? direct.edit(editing, text) : direct.send(text, replyTo, file);
    if (editing) return ask("PUT", `${at}/${editing}`, { text });
    return ask("POST", at, { text, replyTo, ...(file && { file }) });
  }

  /** Has the visitor write many messages at once. */
  burst(count) {
    const direct = this.direct.get(this.current);
    if (!direct) return this.current && ask("POST", `/demo/visitors/${this.current}/burst`, { count });
    for (let i = 1; i <= count; i++) direct.send(`Message ${i} of ${count}`, "", null);
  }

  /** Tells that the visitor types, at most every three seconds, and when it is over. */
  types(on) {
    const now = Date.now();
    clearTimeout(this.stops);
    if (on) this.stops = setTimeout(() => this.types(false), 4000);
    if (on ? now - (this.typed ?? 0) < 3000 : !this.typed) return;
    this.typed = on ? now : 0;
    const direct = this.direct.get(this.current);
    if (direct) {
      if (on) direct.types();
      return;
    }
    if (this.current) fetch(`/demo/visitors/${this.current}/typing`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ typing: on }),
    }).catch(() => {});
  }

  drawRating(v) {
    this.rating.hidden = !v.rating;
    const want = `${v.id} ${v.rating} ${v.score}`;
    if (this.rated === want) return;
    this.rated = want;
    if (v.rating === "given") {
      this.rating.replaceChildren(h("p", {}, `Thank you for ${v.score} of 5.`));
    } else {
      this.rating.replaceChildren(h("p", {}, "How was this conversation?"), h("div", { class: "row" }, ...[1, 2, 3, 4, 5].map((score) =>
        h("button", { type: "button", "aria-label": `${score} of 5`, onclick: () => v.direct
          ? this.direct.get(v.id).rate(score)
          : ask("POST", `/demo/visitors/${v.id}/rating`, { score }) }, String(score)))));
    }
  }
}

function names(list) {
  return list.length < 2 ? list.join("") : `${list.slice(0, -1).join(", ")} and ${list.at(-1)}`;
}

function quoteOf(m, visitor) {
  if (!m) return null;
  return { who: m.from === "visitor" ? visitor : m.author ?? "", text: m.deleted ? "Message deleted" : m.text || m.files?.[0]?.name || "" };
}

/** How far a visitor's message is. */
function status(m) {
  if (m.failed?.length > 0) return ["failed", `Not delivered: ${m.failed.join(", ")}`];
  if (m.read) return ["read", `Read${m.readIn ? ` in ${apps[m.readIn] ?? m.readIn}` : ""}`];
  if (m.apps?.length > 0) return ["delivered", `In ${names(Object.keys(apps).filter((a) => m.apps.includes(a)).map((a) => apps[a]))}`];
  if (m.delivered) return ["delivered", "Delivered"];
  if (m.accepted) return ["accepted", "Accepted, on disk"];
  return ["sending", "Waiting for the bridge"];
}

function product() {
  const svg = new DOMParser().parseFromString(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 150">
    <ellipse cx="96" cy="132" rx="62" ry="7" class="shade"/>
    <path d="M134 58c26-8 34 44-8 46" class="handle"/>
    <path d="M44 40h96c2 40-4 70-18 86H62C48 110 42 80 44 40z" class="clay"/>
    <path d="M43 74c24-10 44 12 62 4 14-6 24-8 34-4-2 22-8 40-17 52H62C51 114 45 96 43 74z" class="glaze"/>
    <ellipse cx="92" cy="40" rx="48" ry="9" class="rim"/><ellipse cx="92" cy="41" rx="42" ry="6.500" class="inside"/>
    <path d="M70 22c-6-8 6-10 0-18M92 20c-6-8 6-10 0-18M114 22c-6-8 6-10 0-18" class="steam"/></svg>`, "image/svg+xml").documentElement;
  svg.setAttribute("aria-hidden", "true");
  return h("div", { class: "product" }, document.importNode(svg, true),
    h("div", {}, h("p", { class: "shop-name" }, "Kiln & Co."), h("p", { class: "title" }, "River mug"), h("p", { class: "price" }, "€24 · hand-thrown stoneware")));
}
