// What the visitor's chat and the three apps share: the field to write in, and the menu of a message.
import { h, icon, iconButton, recall, remember, toast, size } from "./dom.js";

const maxFile = 8 << 20;
const grows = CSS.supports("field-sizing", "content"); // else the field is made as high as its text here

/**
 * The field to write in. options: name (also of the draft that is kept), label, placeholder, send({text, replyTo, editing, file}),
 * which returns whether it was sent, typing().
 */
export class Composer {
  constructor(options) {
    this.options = options;
    this.replyTo = null;
    this.editing = null;
    this.file = null;
    this.about = h("div", { class: "about", hidden: true });
    this.text = h("textarea", {
      id: `${options.name}-text`, rows: 1, placeholder: options.placeholder, "aria-label": options.label, maxLength: 4000,
      oninput: () => {
        remember(`draft-${options.name}`, this.text.value);
        options.typing?.(this.text.value !== "");
        this.fit();
      },
      onkeydown: (e) => {
        if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
          e.preventDefault();
          this.submit();
        } else if (e.key === "Escape" && (this.replyTo || this.editing || this.file)) {
          e.preventDefault();
          this.reset();
        }
      },
      onpaste: (e) => e.clipboardData?.files[0] && this.attach(e.clipboardData.files[0]),
    });
    this.picker = h("input", {
      type: "file", class: "hidden", tabIndex: -1, "aria-hidden": "true", id: `${options.name}-file`, "aria-label": "File",
      onchange: () => this.picker.files[0] && this.attach(this.picker.files[0]),
    });
    this.attachButton = iconButton("attach", "Attach a file", { onclick: () => this.picker.click() });
    this.sendButton = h("button", { type: "submit", class: "send", "aria-label": "Send", title: "Send (Enter)" }, icon("send"));
    this.form = h("form", {
      class: "composer",
      onsubmit: (e) => {
        e.preventDefault();
        this.submit();
      },
    }, this.about, h("div", { class: "field" }, this.attachButton, this.picker, this.text, this.sendButton));
    this.text.value = recall(`draft-${options.name}`, "");
  }

  placeholder(text) {
    if (this.text.placeholder !== text) this.text.placeholder = text;
  }

  fit() {
    if (grows) return;
    this.text.style.setProperty("height", "auto");
    this.text.style.setProperty("height", `${this.text.scrollHeight}px`);
  }

  get busy() {
    return this.text.value !== "" || this.editing !== null || this.replyTo !== null || this.file !== null;
  }

  reply(id, who, text) {
    this.reset();
    this.replyTo = id;
    this.explain("reply", `Reply to ${who}`, text);
  }

  edit(id, text) {
    this.reset();
    this.editing = id;
    this.text.value = text;
    this.fit();
    this.attachButton.disabled = true;
    this.explain("edit", "Edit", text);
  }

  async attach(file) {
    if (file.size > maxFile) {
      toast("At most 8 MiB here.");
      return;
    }
    const data = await new Promise((done) => {
      const reader = new FileReader();
      reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
      reader.onerror = () => done(null);
      reader.readAsDataURL(file);
    });
    if (data === null) {
      toast("The file cannot be read.");
      return;
    }
    this.file = { name: file.name, type: file.type, data };
    this.explain("file", file.name, size(file.size));
  }

  explain(mark, title, text) {
    this.about.hidden = false;
    this.about.replaceChildren(icon(mark), h("span", {}, h("b", {}, title), " ", text),
      iconButton("close", "Cancel", { onclick: () => this.reset() }));
    this.text.focus();
  }

  reset() {
    if (this.editing) this.text.value = "";
    this.replyTo = this.editing = this.file = null;
    this.picker.value = "";
    this.attachButton.disabled = false;
    this.about.hidden = true;
    this.about.replaceChildren();
  }

  async submit() {
    const text = this.text.value;
    if (this.sending || (text.trim() === "" && !this.file)) return;
    this.sending = true;
    this.text.focus(); // now, not when it is sent: somebody may write elsewhere by then
    const said = { text, replyTo: this.replyTo ?? "", editing: this.editing, file: this.file };
    this.text.value = "";
    this.fit();
    const sent = await this.options.send(said);
    this.sending = false;
    if (!sent) {
      this.text.value = this.text.value || text;
      return;
    }
    this.editing = null;
    this.reset();
    remember(`draft-${this.options.name}`, this.text.value);
  }
}

/** The menu of a message, opened by its button. items: [{label, icon, do, danger}], reactions: [emoji], react(emoji). */
export function menuButton(label, entries) {
  return iconButton("more", label, {
    class: "icon-button more", "aria-haspopup": "menu", "aria-expanded": "false",
    onclick: (e) => openMenu(e.currentTarget, entries()),
  });
}

let opener = null;

function openMenu(button, { items, reactions = [], react }) {
  const menu = document.getElementById("menu");
  const choose = (what) => () => {
    menu.hidePopover();
    what();
  };
  menu.replaceChildren();
  if (reactions.length > 0) {
    menu.append(h("div", { class: "reacts", role: "none" }, ...reactions.map((emoji) =>
      h("button", { type: "button", role: "menuitem", tabIndex: -1, "aria-label": `React with ${emoji}`, onclick: choose(() => react(emoji)) }, emoji))));
  }
  menu.append(...items.map((i) =>
    h("button", { type: "button", role: "menuitem", tabIndex: -1, class: i.danger ? "danger" : "", onclick: choose(i.do) }, icon(i.icon), i.label)));
  opener = button;
  menu.showPopover();
  const at = button.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.right - menu.offsetWidth, innerWidth - menu.offsetWidth - 8));
  const below = at.bottom + 4 + menu.offsetHeight < innerHeight;
  menu.style.setProperty("left", `${left}px`);
  menu.style.setProperty("top", `${below ? at.bottom + 4 : Math.max(8, at.top - 4 - menu.offsetHeight)}px`);
  button.setAttribute("aria-expanded", "true");
  menu.querySelector("button").focus();
}

export function setUpMenu() {
  const menu = document.getElementById("menu");
  menu.addEventListener("keydown", (e) => {
    const all = [...menu.querySelectorAll("button")];
    const at = all.indexOf(document.activeElement);
    const go = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[e.key];
    if (go !== undefined) {
      e.preventDefault();
      all[(go + all.length) % all.length].focus();
    } else if (e.key === "Tab") {
      menu.hidePopover();
    }
  });
  menu.addEventListener("toggle", (e) => {
    if (e.newState !== "closed" || !opener) return;
    opener.setAttribute("aria-expanded", "false");
    if (document.activeElement === document.body || menu.contains(document.activeElement)) opener.focus();
    opener = null;
  });
}
