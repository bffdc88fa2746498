// A visitor's page that talks to the bridge itself, by the routes of the chat widget: requests to speak by, and a socket to hear by.
// Unlike the widget it keeps what the bridge did not take, and sends it again.
import { ask, toast } from "./dom.js";

const again = 1000; // ms until what failed is tried again; twice as long each time
const longest = 16; // times that
const dots = 8000; // ms for which somebody types

export class DirectChat {
  /** changed is called when there is something else to show. */
  constructor(visitor, endpoint, changed) {
    this.visitor = visitor;
    this.endpoint = endpoint;
    this.changed = changed;
    this.messages = [];
    this.session = visitor.direct.session;
    this.online = false;
    this.typing = false;
    this.ended = false;
    this.began = Date.now();
    this.temporary = 0;
    this.tries = 1;
    this.connect();
  }

  /** What the visitor sees. */
  view() {
    return { messages: this.messages.map(({ waits, ...m }) => m), typing: this.typing, online: this.online, rating: this.rating, score: this.score };
  }

  /** Makes a request and returns its answer. An error has the answer's status, or none where there was no answer. */
  async call(method, path, body) {
    const r = await fetch(this.endpoint + path, {
      method, headers: { "Content-Type": "application/json" }, ...(body && { body: JSON.stringify(body) }),
    });
    const said = await r.json();
    if (r.ok) return said;
    throw Object.assign(new Error(said.error), { status: r.status, retry: Number(r.headers.get("Retry-After")) });
  }

  /** Connects, and from then on hears by a socket. It is tried until it is done, and done again when the socket is gone. */
  async connect() {
    const { direct, id } = this.visitor;
    try {
      const said = await this.call("POST", "/connect", {
        visitorId: direct.visitorId, sessionId: this.session || null, identity: direct.identity,
        metadata: { ...direct.metadata, userAgent: navigator.userAgent, timezone: Intl.DateTimeFormat().resolvedOptions().timeZone },
      });
      if (this.ended) return;
      // The tabs of a browser share the session, as they do what the widget keeps: the first that had one counts.
      const settled = this.session === said.sessionId ? said : await ask("PUT", `/demo/visitors/${id}/session`, { session: said.sessionId });
      this.session = settled.session ?? said.sessionId;
      if (this.session !== said.sessionId) return this.connect();
      this.online = said.operatorOnline;
      for (const m of said.messages) this.put(m);
      this.listen();
      this.changed();
      this.flush();
    } catch {
      this.later();
    }
  }

  /** Connects again after a while. */
  later() {
    if (this.ended) return;
    setTimeout(() => this.connect(), again * this.tries);
    this.tries = Math.min(2 * this.tries, longest);
  }

  listen() {
    const socket = this.socket = new WebSocket(`${this.endpoint.replace(/^http/, "ws")}/stream?sessionId=${encodeURIComponent(this.session)}`);
    socket.onmessage = (e) => {
      const { type, data } = JSON.parse(e.data);
      this.hear(type, data);
      this.changed();
    };
    socket.onopen = () => {
      this.tries = 1;
    };
    socket.onclose = () => this.later();
  }

  hear(type, data) {
    const found = this.find(data.messageId);
    switch (type) {
      case "message":
        this.put(data);
        break;
      case "message_edited":
        if (found) Object.assign(found, { text: data.content, edited: true });
        break;
      case "message_deleted":
        if (found) Object.assign(found, { deleted: true, text: "", files: [] });
        break;
      case "read":
        for (const m of this.messages) if (data.messageIds.includes(m.id)) Object.assign(m, state(data.status));
        break;
      case "presence":
        this.online = data.online;
        break;
      case "csat_request":
        [this.rating, this.score] = ["asked", 0];
        break;
      case "typing":
        clearTimeout(this.stops);
        this.typing = data.isTyping;
        if (data.isTyping) this.stops = setTimeout(() => {
          this.typing = false;
          this.changed();
        }, dots);
        break;
    }
  }

  /** Adds a message, or brings one up to date. The visitor's own is the first of the same words that waits. */
  put(m) {
    const shown = {
      id: m.id, from: m.sender === "visitor" ? "visitor" : "operator", text: m.deletedAt ? "" : m.content, at: m.timestamp, ...state(m.status),
      edited: !!m.editedAt, deleted: !!m.deletedAt, files: (m.attachments ?? []).map(file), replyTo: m.replyTo?.id ?? "",
    };
    if (shown.from === "operator") this.typing = false;
    const at = this.messages.find((one) => one.id === m.id) ??
      (shown.from === "visitor" ? this.messages.find((one) => one.waits && one.text === m.content) : undefined);
    if (at) Object.assign(at, shown, { waits: undefined });
    else this.messages.push(shown);
  }

  send(text, replyTo, attached) {
    this.temporary++;
    const id = `waits-${this.temporary}`;
    this.messages.push({
      id, key: id, from: "visitor", text, at: new Date().toISOString(), replyTo, waits: { attached },
      files: attached ? [{ name: attached.name, size: bytes(attached.data).length }] : [],
    });
    ask("POST", `/demo/visitors/${this.visitor.id}/wrote`, { text: text.trim() || attached.name });
    this.changed();
    this.flush();
    return true;
  }

  /** Sends what waits, one after the other. */
  async flush() {
    if (this.flushing) return;
    this.flushing = true;
    for (let m; this.session && !this.ended && (m = this.messages.find((one) => one.waits));) {
      const waits = m.waits;
      waits.tried = true;
      try {
        if (waits.attached && !waits.ids) waits.ids = [await this.upload(waits.attached)];
        const said = await this.call("POST", "/message", {
          sessionId: this.session, content: m.text, sender: "visitor", attachmentIds: waits.ids ?? [], ...(m.replyTo && { replyTo: this.find(m.replyTo)?.id }),
        });
        const files = (said.attachments ?? []).map(file);
        if (m.waits) Object.assign(m, { id: said.messageId, at: said.timestamp, accepted: true, waits: undefined, ...(files.length > 0 && { files }) });
      } catch (e) {
        if (!e.status) {
          // It may have been taken: what was said is told when the page connects again.
          this.socket?.close();
          break;
        }
        if (e.status === 429 || e.status >= 500) await new Promise((done) => setTimeout(done, (e.retry || 1) * again));
        else Object.assign(m, { waits: undefined, failed: [e.message] });
      }
      this.changed();
    }
    this.flushing = false;
  }

  async upload({ name, type, data }) {
    const body = bytes(data);
    const to = await this.call("POST", "/upload", { sessionId: this.session, filename: name, mimeType: type || "application/octet-stream", size: body.length });
    const put = await fetch(to.uploadUrl, { method: "PUT", headers: { "Content-Type": type || "application/octet-stream" }, body });
    if (!put.ok) throw Object.assign(new Error("the file is not taken"), { status: put.status });
    await this.call("POST", "/upload/complete", { sessionId: this.session, attachmentId: to.attachmentId });
    return to.attachmentId;
  }

  /** Finds a message by its id, or by the one that it had until the bridge gave it its own. */
  find(id) {
    return this.messages.find((m) => m.id === id || m.key === id);
  }

  /** Waits until the bridge has taken or refused a message that it may have. One that was not tried is still the page's alone. */
  async settled(m) {
    while (m.waits?.tried && !this.ended) await new Promise((done) => setTimeout(done, again / 10));
  }

  async edit(id, content) {
    const m = this.find(id);
    await this.settled(m);
    if (m.waits) {
      m.text = content;
      return true;
    }
    return this.try("PATCH", `/message/${encodeURIComponent(m.id)}`, { content }, () => Object.assign(m, { text: content, edited: true }));
  }

  async remove(id) {
    const m = this.find(id);
    await this.settled(m);
    if (m.waits) {
      this.messages = this.messages.filter((one) => one !== m);
      this.changed();
      return true;
    }
    return this.try("DELETE", `/message/${encodeURIComponent(m.id)}?sessionId=${encodeURIComponent(this.session)}`, null,
      () => Object.assign(m, { deleted: true, text: "", files: [] }));
  }

  rate(score) {
    return this.try("POST", "/csat", { score }, () => {
      [this.rating, this.score] = ["given", score];
    });
  }

  async read() {
    const unread = this.messages.filter((m) => m.from === "operator" && !m.read && !m.deleted);
    for (const m of unread) m.read = true;
    try {
      await this.call("POST", "/read", { sessionId: this.session, messageIds: unread.map((m) => m.id), status: "read" });
    } catch {
      for (const m of unread) m.read = false; // it is told with the next change
    }
  }

  types() {
    if (!this.session) return; // it is not connected yet
    this.call("POST", "/typing", { sessionId: this.session, sender: "visitor", isTyping: true }).catch(() => {});
  }

  /** Says what is to be said once, and does it here when the bridge has taken it. What it refuses is shown. */
  async try(method, path, body, done) {
    try {
      await this.call(method, path, body && { sessionId: this.session, ...body });
    } catch (e) {
      toast(e.status ? e.message : "The bridge does not answer.");
      return false;
    }
    done();
    this.changed();
    return true;
  }

  /** Tells that the visitor leaves. */
  leave() {
    this.call("POST", "/disconnect", { sessionId: this.session, duration: Math.round((Date.now() - this.began) / 1000), reason: "page_unload" }).catch(() => {});
    this.end();
  }

  end() {
    this.ended = true;
    clearTimeout(this.stops);
    this.socket?.close();
  }
}

/** How far a message is. */
function state(status) {
  return { accepted: status !== "sending", delivered: status === "delivered" || status === "read", read: status === "read" };
}

function file(a) {
  return { name: a.filename, size: a.size, image: /^image\/(png|jpeg|gif|webp)$/.test(a.mimeType), url: a.url };
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}
