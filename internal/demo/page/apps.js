// The three chat apps, as operators see them: a list of threads, and one of them open.
import { h, icon, iconButton, keyed, setText, clock, ask, toast, recall, remember, fileTile, avatar, rich, plain, stick, toEnd, rove } from "./dom.js";
import { Composer, menuButton } from "./talk.js";

export class App {
  constructor(section, name) {
    this.section = section;
    this.name = name;
    this.state = null;
    const kept = recall(`app-${name}`, {});
    this.open = kept.open ?? "";
    this.chosenFor = kept.chosenFor ?? null; // the visitor for whom somebody chose what is open
    this.seen = kept.seen ?? {};
    this.heard = kept.heard ?? ""; // when what rang last was noticed
    this.visitor = null;

    this.back = iconButton("back", "Back to the list", { class: "icon-button back", onclick: () => this.show("", true) });
    this.mark = h("span", { class: "place-mark", "aria-hidden": "true" }, icon(name));
    this.title = h("h2", { id: `${name}-title` });
    this.sub = h("span", { class: "sub" });
    this.who = h("span", { class: "who-am-i" });
    this.bell = h("span", { class: "bell", role: "img", hidden: true }, icon("bell"), h("b", {}));
    this.badge = h("span", { class: "down-badge", hidden: true }, icon("plug"), "unreachable");
    this.list = h("ul", { class: "threads", "aria-label": "Conversations" });
    this.log = stick(h("ol", { class: "log", tabIndex: 0, "aria-describedby": "arrows" }));
    this.settle = rove(this.log, ".more", "last");
    this.typing = h("p", { class: "typing", "aria-live": "polite" });
    this.composer = new Composer({
      name, label: "Message", placeholder: "Message", send: (said) => this.send(said), typing: (on) => on && this.types(),
    });
    section.append(
      h("div", { class: "app-top" }, this.back, this.mark, h("div", { class: "titles" }, this.title, this.sub), this.bell, this.badge, this.who),
      h("div", { class: "app-body" }, this.list, this.log), this.typing, this.composer.form);
    for (const sign of ["pointerdown", "keydown"]) section.addEventListener(sign, () => this.hear());
  }

  /** Notes that the operator has looked, so that the bell is silent until it rings again. */
  hear() {
    const last = this.rings.at(-1);
    if (!last || this.heard >= last) return;
    this.heard = last;
    if (this.state) this.draw(this.state);
  }

  /** When it rang, the oldest first. */
  get rings() {
    if (!this.state) return [];
    const rang = [this.state.main, ...this.state.threads].flatMap((t) => t.messages.filter((m) => m.rings));
    return [...new Map(rang.map((m) => [m.id, m.at])).values()].sort(); // Slack shows some in a thread and in the channel
  }

  /** Opens a thread; by says that somebody chose it, so that it stays until another visitor is looked at. */
  show(thread, by) {
    this.open = thread;
    if (by) this.chosenFor = this.visitor?.id ?? null;
    this.composer.reset();
    this.draw(this.state);
    if (by) (thread === "" ? this.list.querySelector("button") ?? this.composer.text : this.composer.text).focus({ preventScroll: true });
  }

  /** Follows the visitor who is looked at: their thread opens as soon as it is there. */
  follow(visitor) {
    const changed = visitor?.id !== this.visitor?.id;
    this.visitor = visitor;
    if (this.state && (changed || this.open === "" || !this.thread)) this.draw(this.state);
  }

  get thread() {
    if (!this.state) return null;
    return this.open === "" ? this.state.main : this.state.threads.find((t) => t.id === this.open) ?? null;
  }

  draw(state) {
    this.state = state;
    if (!state) return;
    const free = this.visitor && this.chosenFor !== this.visitor.id && !this.composer.busy;
    const theirs = this.visitor && state.threads.findLast((t) => t.name === this.visitor.name);
    if (free && theirs) this.open = theirs.id;
    else if (free && this.followed !== this.visitor.id) this.open = "";
    if (theirs) this.followed = this.visitor.id;
    if (!this.thread) this.open = "";
    const t = this.thread;
    const main = this.open === "";
    if (this.section.offsetParent !== null) this.seen[this.open] = t.messages.length;
    remember(`app-${this.name}`, { open: this.open, chosenFor: this.chosenFor, seen: this.seen, heard: this.heard });
    const rang = this.rings.filter((at) => at > this.heard).length;
    this.bell.hidden = rang === 0;
    this.bell.setAttribute("aria-label", `${state.operator}’s phone has rung ${rang === 1 ? "once" : `${rang} times`}`);
    setText(this.bell.lastChild, String(rang));

    this.section.classList.toggle("in-thread", !main);
    this.section.classList.toggle("is-down", state.down);
    this.back.hidden = main;
    this.mark.hidden = !main;
    this.badge.hidden = !state.down;
    const hash = this.name === "telegram" ? "" : "# ";
    setText(this.title, main ? `${state.label}` : t.name);
    setText(this.sub, main ? `${hash}${state.place}` : `${t.closed ? "closed " : ""}${state.thread} · ${state.label}`);
    if (!this.who.firstChild) this.who.append(h("span", { class: "hidden" }, "You are "), state.operator);

    this.list.hidden = !main || state.threads.length === 0;
    const rows = [...state.threads].reverse().map((one) => ({
      id: one.id, name: one.name, closed: one.closed, count: one.messages.length,
      last: lastWords(one), at: one.messages.at(-1)?.at, unread: Math.max(0, one.messages.length - (this.seen[one.id] ?? 0)),
    }));
    keyed(this.list, rows, (r) => r.id, (r) => this.row(r), (e, r) => this.drawRow(e, r));

    const key = `${this.open}`;
    if (this.drawnFor !== key) {
      this.log.replaceChildren();
      this.drawnFor = key;
      this.fresh = true;
    }
    this.log.setAttribute("aria-label", main ? `${state.label}, outside ${state.thread}s` : `${state.label}, ${state.thread} ${t.name}`);
    const byID = new Map(t.messages.map((m) => [m.id, m]));
    let before = null;
    const items = t.messages.map((m) => {
      const to = m.replyTo && byID.get(m.replyTo);
      const follows = before && !before.service && !m.service && before.author === m.author && before.bot === m.bot && !m.replyTo && !m.private === !before.private &&
        new Date(m.at) - new Date(before.at) < 300000;
      before = m;
      return { ...m, follows, quote: m.replyTo ? (to ? { who: to.author, text: words(to) } : { who: "", text: "a deleted message" }) : null };
    });
    this.log.querySelector(".empty")?.remove();
    keyed(this.log, items, (m) => m.id, (m) => this.message(m), (e, m) => this.drawMessage(e, m));
    if (items.length === 0) {
      this.log.replaceChildren(h("li", { class: "empty" }, main && rows.length > 0
        ? `Commands such as ${this.name === "slack" ? "/bridge online" : "/online"} go here, outside the ${state.thread}s.`
        : "Nothing yet. A visitor’s first message opens a thread here."));
    }
    toEnd(this.log, this.fresh);
    this.fresh = false;
    this.settle();
    setText(this.typing, t.typing ? `${t.name} is typing…` : "");
    this.composer.placeholder(main ? (this.name === "slack" ? "Try /bridge online" : "Try /online") : `Answer ${t.name}`);
    this.composer.text.setAttribute("aria-label", main ? `${state.label}: message outside the threads` : `${state.label}: answer ${t.name}`);
  }

  get unread() {
    return (this.state?.threads ?? []).some((t) => t.messages.length > (this.seen[t.id] ?? 0));
  }

  row(r) {
    return h("li", {}, h("button", { type: "button", onclick: () => this.show(r.id, true) },
      avatar(r.name), h("span", { class: "row-text" }, h("b", {}), h("span", { class: "last" })), h("span", { class: "row-side" })));
  }

  drawRow(li, r) {
    const [, text, side] = li.firstChild.children;
    setText(text.firstChild, r.name);
    setText(text.lastChild, r.last);
    side.replaceChildren(...[
      r.at && clock(r.at),
      r.closed ? icon("lock") : r.unread > 0 && h("span", { class: "unread" }, String(r.unread), h("span", { class: "hidden" }, " new")),
    ].filter(Boolean));
  }

  message(m) {
    const li = h("li", {}, h("div", { class: "body" }));
    if (!m.service) li.append(menuButton(`More for the message “${words(m).slice(0, 30)}”`, () => this.menu(li.item)));
    return li;
  }

  drawMessage(li, m) {
    li.item = m;
    const body = li.firstChild;
    if (m.service) {
      li.className = "message service";
      body.replaceChildren(m.service);
      return;
    }
    li.className = ["message", m.mine && "mine", m.bot && "bot", m.follows && "follows", m.silent && "silent", m.private && "private"].filter(Boolean).join(" ");
    const quote = m.quote && h("blockquote", {}, h("b", {}, m.quote.who), " ", m.quote.text);
    const head = h("div", { class: "by" }, h("b", {}, m.author), m.bot && h("span", { class: "app-badge" }, "APP"), clock(m.at));
    const card = m.card && h("div", { class: "card" }, h("b", {}, m.card.title), h("p", {}, ...rich(m.card.text)),
      m.card.footer && h("small", {}, m.card.footer));
    body.replaceChildren(...[
      !m.follows && avatar(m.author, m.bot ? "app-avatar" : ""),
      quote, head, m.text?.length > 0 && h("p", { class: "text" }, ...rich(m.text), m.edited && h("span", { class: "edited" }, " (edited)")),
      card, ...(m.files ?? []).map(fileTile),
      m.reactions?.length > 0 && h("div", { class: "reactions" }, ...m.reactions.map((r) =>
        h("button", {
          type: "button", "aria-pressed": String(!!r.mine), "aria-label": `${r.emoji} ${r.count}`,
          onclick: () => this.react(m, r.emoji),
        }, r.emoji, h("span", {}, String(r.count))))),
      m.buttons?.length > 0 && h("div", { class: "keys" }, ...m.buttons.map((row) => h("div", {}, ...row.map((b) =>
        h("button", { type: "button", onclick: () => this.press(m, b.key) }, b.label))))),
      m.rings && h("span", { class: "rang", role: "img", "aria-label": "it rings", title: "It rings" }, icon("bell")),
      m.private && h("small", { class: "only-you" }, "Only you can see this"),
      h("div", { class: "meta" }, m.edited && "edited ", clock(m.at)),
    ].filter(Boolean));
  }

  menu(m) {
    const items = [];
    const at = `/demo/apps/${this.name}/messages`;
    if (this.name !== "slack") items.push({ label: "Reply", icon: "reply", do: () => this.composer.reply(m.id, m.author, words(m)) });
    if (m.mine) {
      if (m.raw) items.push({ label: "Edit", icon: "edit", do: () => this.composer.edit(m.id, m.raw) });
      if (this.name === "telegram") {
        // Telegram tells bots of no deletion, so the bridge has a command for it.
        items.push({
          label: "Delete at the visitor (/delete)", icon: "trash", danger: true,
          do: () => ask("POST", at, { thread: this.open, text: "/delete", replyTo: m.id }),
        });
        items.push({ label: "Delete here only", icon: "trash", danger: true, do: () => ask("DELETE", `${at}/${m.id}`) });
      } else {
        items.push({ label: "Delete", icon: "trash", danger: true, do: () => ask("DELETE", `${at}/${m.id}`) });
      }
    }
    return { items, reactions: m.private ? [] : this.state.emoji, react: (emoji) => this.react(m, emoji) };
  }

  react(m, emoji) {
    return ask("POST", `/demo/apps/${this.name}/messages/${m.id}/reactions`, { emoji });
  }

  async press(m, key) {
    const said = await ask("POST", `/demo/apps/${this.name}/messages/${m.id}/press`, { key });
    if (said?.told) toast(said.told);
  }

  send({ text, replyTo, editing, file }) {
    this.typed = 0; // what is typed next is told at once
    const at = `/demo/apps/${this.name}/messages`;
    if (editing) return ask("PUT", `${at}/${editing}`, { text });
    return ask("POST", at, { thread: this.open, text, replyTo, ...(file && { file }) });
  }

  types() {
    const now = Date.now();
    if (this.name !== "discord" || now - (this.typed ?? 0) < 6000) return;
    this.typed = now;
    fetch(`/demo/apps/discord/typing`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ thread: this.open }),
    }).catch(() => {});
  }
}

function words(m) {
  return plain(m.text) || m.card?.title || m.files?.[0]?.name || "";
}

function lastWords(t) {
  const m = t.messages.findLast((one) => !one.service);
  if (!m) return "";
  const text = words(m).split("\n")[0];
  return m.mine ? `You: ${text}` : text;
}
