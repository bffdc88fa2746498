// What the app server received, how far the bridge is, and what one can break.
import { h, icon, keyed, setText, clock, ask, rove } from "./dom.js";

const labels = {
  telegram: "Telegram", discord: "Discord", slack: "Slack", callbacks: "your server", webhook: "events webhook",
};
const reasons = { transient: "cannot be reached", unconfirmed: "cannot be reached", rate_limited: "told to slow down", auth: "the token is refused" };

export class Events {
  constructor(section) {
    this.list = h("ol", { class: "calls", tabIndex: 0, "aria-label": "Callbacks, newest first", "aria-describedby": "arrows" });
    this.settle = rove(this.list, "summary", "first");
    section.append(h("div", { class: "panel-top" }, h("h2", { id: "events-title" }, "Your server received"),
      h("p", { class: "hint" }, "signed callbacks, newest first")), this.list);
  }

  draw(received) {
    const rows = [...received].reverse();
    keyed(this.list, rows, (r) => r.n, () => this.row(), (li, r) => this.drawRow(li, r));
    if (rows.length === 0 && !this.list.firstChild) this.list.append(h("li", { class: "empty" }, "Nothing yet."));
    else this.list.querySelector(".empty")?.remove();
    this.settle();
  }

  row() {
    return h("li", {}, h("details", {}, h("summary", {}), h("div", { class: "raw" })));
  }

  drawRow(li, r) {
    const [summary, raw] = li.firstChild.children;
    const taken = r.status === 204;
    li.className = taken ? "" : "refused";
    summary.replaceChildren(...[
      clock(r.at), h("code", { class: `type ${kind(r.type)}` }, r.type), r.visitor && h("span", { class: "who" }, r.visitor),
      h("span", { class: "gist" }, gist(r)), r.attempts > 1 && h("span", { class: "tries" }, `${r.attempts}×`),
      taken
        ? h("span", { class: "valid" }, icon("shield"), h("span", { class: "hidden" }, "signature valid"))
        : h("span", { class: "invalid" }, r.genuine ? `${r.status}, comes again` : "signature wrong"),
    ].filter(Boolean));
    raw.replaceChildren(
      h("p", {}, taken ? "Both signatures are right; answered 204." : r.genuine ? `Answered ${r.status}: the bridge keeps it and tries again.` : "Refused."),
      h("pre", { tabIndex: 0 }, r.headers.map(([name, value]) => `${name}: ${value}`).join("\n") + "\n\n" + JSON.stringify(r.body, null, 2)));
  }
}

function kind(type) {
  if (type.startsWith("operator_message")) return "word";
  if (type === "message_failed") return "bad";
  return "note";
}

function gist({ type, body }) {
  if (!body) return "";
  switch (type) {
    case "operator_message":
      return `${body.operatorName}: ${body.content || body.attachments?.[0]?.filename || ""}`;
    case "operator_message_edited":
      return body.content;
    case "operator_status":
      return body.online ? (body.operators ?? []).filter((o) => o.status === "online").map((o) => o.name).join(", ") || "online" : "nobody online";
    case "message_delivered":
    case "message_read":
    case "message_failed":
    case "operator_typing":
    case "session_closed":
    case "session_reopened":
      return [labels[body.sourceBridge], body.reason].filter(Boolean).join(": ");
    default:
      return "";
  }
}

const languages = ["en", "de", "es", "fr"];

export class Control {
  constructor(section, burst) {
    this.state = null;
    this.where = h("p", { class: "hint" });
    this.language = h("select", { id: "language", "aria-label": "What operators read", onchange: () => ask("PUT", "/demo/language", { language: this.language.value }) },
      ...languages.map((name) => h("option", { value: name }, name.toUpperCase())));
    this.led = h("span", { class: "led", "aria-hidden": "true" });
    this.is = h("b", {});
    this.detail = h("span", {});
    this.power = h("button", { type: "button", id: "power", class: "power", title: "kill -9, as a crash does", onclick: () => this.press() });
    this.trouble = h("p", { class: "trouble", role: "alert", hidden: true });
    this.accepted = h("span", {});
    this.lanes = h("ul", { class: "lanes", "aria-label": "What waits, and where" });
    this.switches = new Map();
    const toggle = (id, label, hint, set) => {
      const box = h("input", { type: "checkbox", id: `switch-${id}`, role: "switch", onchange: () => {
        const wanted = box.checked;
        box.wanted = wanted;
        box.asked = (box.asked ?? Promise.resolve()).then(() => set(wanted)).then((done) => {
          if (done || box.wanted !== wanted) return;
          box.wanted = undefined;
          box.checked = box.is;
        });
      } });
      this.switches.set(id, box);
      return h("li", {}, h("label", { for: box.id }, box, h("span", {}, h("b", {}, label), h("small", {}, hint))));
    };
    const down = (app) => (on) => ask("PUT", `/demo/apps/${app}/down`, { on });
    const flip = (name) => (on) => ask("PUT", `/demo/switches/${name}`, { on });
    this.burst = h("button", { type: "button", class: "burst", onclick: () => burst(30) },
      "Send 30");
    this.rush = h("button", { type: "button", class: "burst rush", title: "Send 30 from 10 new visitors", "aria-label": "Send 30 from 10 new visitors",
      onclick: () => ask("POST", "/demo/rush", { visitors: 10, each: 3 }) }, "from 10");
    this.letters = h("p", { class: "letters", hidden: true });
    this.faults = h("p", { class: "trouble", hidden: true });
    section.append(
      h("div", { class: "half" },
        h("div", { class: "panel-top" }, h("h2", { id: "control-title" }, "The bridge"), this.where, this.language),
        h("div", { class: "process" }, this.led, h("div", {}, this.is, this.detail), this.power), this.trouble,
        h("h3", {}, "Waiting", this.accepted), this.lanes, this.letters, this.faults),
      h("div", { class: "half" },
        h("div", { class: "panel-top" }, h("h2", {}, "Break it"), h("span", { class: "bursts" }, this.burst, this.rush)),
        h("ul", { class: "switches" },
          toggle("telegram", "Telegram is unreachable", "it waits, then goes on", down("telegram")),
          toggle("discord", "Discord is unreachable", "answers are caught up", down("discord")),
          toggle("slack", "Slack is unreachable", "the others do not notice", down("slack")),
          toggle("callback-down", "Your server answers 503", "callbacks come again", flip("callback-down")),
          toggle("limits", "Rate limits as documented", "20 a minute in Telegram, and the bridge keeps to it", flip("limits")))));
  }

  async press() {
    this.power.disabled = true;
    await ask("POST", "/demo/bridge", { do: this.state?.running ? "kill" : "start" });
    this.power.disabled = false;
    this.power.focus();
  }

  draw({ bridge, switches, faults, apps, page }) {
    this.state = bridge;
    setText(this.where, `${page.version} at ${page.bridge.replace("http://", "")}`);
    this.led.className = `led ${bridge.running ? (bridge.ready ? "on" : "busy") : "off"}`;
    setText(this.is, bridge.running ? (bridge.ready ? "Running" : "Starting…") : "Dead");
    setText(this.detail, bridge.running ? `process ${bridge.pid}` : "no process");
    setText(this.power, bridge.running ? "Kill it" : "Start it again");
    this.power.classList.toggle("start", !bridge.running);
    this.trouble.hidden = !bridge.trouble;
    setText(this.trouble, bridge.trouble ?? "");
    this.faults.hidden = faults.length === 0;
    setText(this.faults, faults.length > 0 ? `A stand-in found fault: ${faults[0]}` : "");
    for (const [name, app] of Object.entries(apps)) if (app) this.turn(name, app.down);
    this.turn("callback-down", switches.callbackDown);
    this.turn("limits", switches.limits);
    if (document.activeElement !== this.language) this.language.value = switches.language || "en";

    setText(this.accepted, `from your server: ${bridge.accepted}`);
    const rows = [{ lane: "into the bridge", waiting: bridge.unsent, note: bridge.unsent > 0 ? "sent again until it is accepted" : "" }];
    for (const l of bridge.lanes) {
      rows.push({
        lane: `out to ${labels[l.lane] ?? l.lane}`, waiting: l.waiting, held: bridge.running && isHeld(l),
        note: bridge.running ? note(l) : l.waiting > 0 ? "safe on disk" : "",
      });
    }
    keyed(this.lanes, rows, (r) => r.lane, () => this.lane(), (li, r) => {
      const [name, bar, count, said] = li.children;
      setText(name, r.lane);
      bar.firstChild.style.setProperty("width", `${Math.min(100, Math.sqrt(r.waiting / 60) * 100)}%`);
      setText(count, String(r.waiting));
      setText(said, r.note);
      said.hidden = r.note === "";
      li.className = r.held ? "held" : r.waiting > 0 ? "busy" : "";
    });
    this.letters.hidden = bridge.failed === 0;
    setText(this.letters, `${bridge.failed} given up: kept, listed, and can be sent again`);
  }

  /** Shows a switch as it is, unless it has just been pressed: what comes until the demo has done that is of before. */
  turn(name, on) {
    const box = this.switches.get(name);
    box.is = on;
    if (box.wanted !== undefined && box.wanted !== on) return;
    box.wanted = undefined;
    box.checked = on;
  }

  lane() {
    return h("li", {}, h("span", { class: "name" }), h("span", { class: "bar", "aria-hidden": "true" }, h("span", {})), h("b", { class: "count" }), h("small", {}));
  }
}

// isHeld says whether a lane waits: as a whole, or for the sessions whose calls fail while it has no others.
function isHeld(l) {
  return l.state === "paused" || l.failingSessions > 0;
}

function note(l) {
  const why = reasons[l.reason?.split(":")[0]] ?? l.reason;
  const late = l.waiting > 0 && l.oldest >= 2 ? ` · ${l.oldest} s late` : "";
  if (l.state === "paused") return `held: ${why ?? "there is trouble"}${late}`;
  if (l.failingSessions > 0) return `held: ${why ?? "cannot be reached"}${late}`;
  if (l.state === "waiting") return "another bridge works on it";
  if (l.waiting === 0) return "";
  return `${why ?? (late ? "at the platform’s pace" : "on its way")}${late}`;
}
