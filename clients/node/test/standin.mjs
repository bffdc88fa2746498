// Stands in for the PocketPing Node SDK in tests and in the example: the same methods by name, and the same habits where a client
// can stumble. Bridges of the configuration are not initialised, hooks are awaited one after another and their errors swallowed,
// live objects are handed out, a message saved again is kept twice, `after` is an id and fifty are given from the oldest, a
// visitor's own message is broadcast without a status before it is answered, and whatever throws is a 500.
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';

const newId = () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 11)}`;
const DATES = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/;

/** Storage in memory; with a file it is written at each change, as a database would keep it. */
export class MemoryStorage {
  constructor({ file, upsert = false } = {}) {
    this.file = file;
    this.upsert = upsert;
    this.sessions = new Map();
    this.messages = new Map();
    this.byId = new Map();
    this.attachments = new Map();
    if (!file) return;
    try {
      const revive = (_, v) => (typeof v === 'string' && DATES.test(v) ? new Date(v) : v);
      const kept = JSON.parse(readFileSync(file, 'utf8'), revive);
      for (const s of kept.sessions) this.sessions.set(s.id, s);
      for (const m of kept.messages) {
        this.messages.set(m.sessionId, [...(this.messages.get(m.sessionId) ?? []), m]);
        this.byId.set(m.id, m);
      }
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
  }
  written() {
    if (!this.file) return;
    const text = JSON.stringify({ sessions: [...this.sessions.values()], messages: [...this.messages.values()].flat() });
    writeFileSync(`${this.file}.part`, text);
    renameSync(`${this.file}.part`, this.file);
  }
  async createSession(session) {
    this.sessions.set(session.id, session);
    this.messages.set(session.id, []);
    this.written();
  }
  async getSession(id) {
    return this.sessions.get(id) ?? null;
  }
  async getSessionByVisitorId(visitorId) {
    return [...this.sessions.values()].filter((s) => s.visitorId === visitorId).pop() ?? null;
  }
  async updateSession(session) {
    this.sessions.set(session.id, session);
    this.written();
  }
  async deleteSession(id) {
    this.sessions.delete(id);
    this.messages.delete(id);
    this.written();
  }
  async saveMessage(message) {
    if (this.upsert && this.byId.has(message.id)) return this.updateMessage(message);
    const all = this.messages.get(message.sessionId) ?? [];
    all.push(message);
    this.messages.set(message.sessionId, all);
    this.byId.set(message.id, message);
    this.written();
  }
  async getMessages(sessionId, after, limit = 50) {
    const all = this.messages.get(sessionId) ?? [];
    const from = after ? all.findIndex((m) => m.id === after) + 1 : 0;
    return all.slice(from, from + limit);
  }
  async getMessage(id) {
    return this.byId.get(id) ?? null;
  }
  async updateMessage(message) {
    this.byId.set(message.id, message);
    const all = this.messages.get(message.sessionId) ?? [];
    const at = all.findIndex((m) => m.id === message.id);
    if (at >= 0) all[at] = message;
    this.written();
  }
  async saveAttachment(a) {
    this.attachments.set(a.id, a);
  }
  async getAttachment(id) {
    return this.attachments.get(id) ?? null;
  }
  async updateAttachment(a) {
    this.attachments.set(a.id, a);
  }
}

export class PocketPing {
  constructor(config = {}) {
    this.config = config;
    this.storage = !config.storage || config.storage === 'memory' ? new MemoryStorage() : config.storage;
    this.bridges = config.bridges ?? [];
    this.sessionSockets = new Map();
    this.operatorOnline = false;
    this.eventHandlers = new Map();
    this.lastOperatorActivity = new Map();
    this.uploadBaseUrl = (config.uploadBaseUrl ?? 'https://uploads.pocketping.local').replace(/\/+$/, '');
    this.aiTakeoverDelay = config.aiTakeoverDelay ?? 300;
  }

  getStorage() {
    return this.storage;
  }
  addBridge(bridge) {
    this.bridges.push(bridge);
    bridge.init?.(this);
  }

  middleware() {
    return async (req, res, next) => {
      const url = new URL(req.url ?? '/', `http://${req.headers.host}`);
      const path = url.pathname.replace(/^\/+/, '').replace(/\/+$/, '');
      res.setHeader('Access-Control-Allow-Origin', '*');
      res.setHeader('Access-Control-Allow-Methods', 'GET, POST, OPTIONS');
      res.setHeader('Access-Control-Allow-Headers', 'Content-Type, X-PocketPing-Version');
      if (req.method === 'OPTIONS') {
        res.statusCode = 204;
        res.end();
        return;
      }
      try {
        const body = await this.parseBody(req);
        const query = Object.fromEntries(url.searchParams);
        const routes = {
          connect: () => this.handleConnect(body), message: () => this.handleMessage(body),
          messages: () => this.handleGetMessages(query), typing: () => this.handleTyping(body),
          presence: () => this.handlePresence(), read: () => this.handleRead(body), identify: () => this.handleIdentify(body),
          edit: () => this.handleEditMessage(body), delete: () => this.handleDeleteMessage(body),
          disconnect: () => this.handleDisconnect(body), csat: () => this.handleCsat(body),
          visibility: () => this.handleVisibility(body), 'upload-request': () => this.handleUploadRequest(body),
          'upload-complete': () => this.handleUploadComplete(body.attachmentId),
        };
        if (!routes[path]) {
          if (next) return next();
          res.statusCode = 404;
          res.end(JSON.stringify({ error: 'Not found' }));
          return;
        }
        const result = await routes[path]();
        res.setHeader('Content-Type', 'application/json');
        res.end(JSON.stringify(result));
      } catch {
        res.statusCode = 500;
        res.end(JSON.stringify({ error: 'Internal server error' }));
      }
    };
  }

  async parseBody(req) {
    if (req.body) return req.body;
    let data = '';
    for await (const chunk of req) data += chunk;
    return data ? JSON.parse(data) : {};
  }

  /** Serves sockets at /pocketping/stream: text frames, no fragments. The SDK does it with a library. */
  attachWebSocket(server) {
    server.on('upgrade', (req, socket) => {
      const url = new URL(req.url, `http://${req.headers.host}`);
      const sessionId = url.searchParams.get('sessionId');
      if (url.pathname !== '/pocketping/stream' || !sessionId) return socket.destroy();
      const accept = createHash('sha1').update(`${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
      const ws = {
        readyState: 1,
        send(text) {
          const data = Buffer.from(text);
          const head = data.length < 126 ? Buffer.from([0x81, data.length]) : Buffer.from([0x81, 126, data.length >> 8, data.length & 255]);
          socket.write(Buffer.concat([head, data]));
        },
      };
      const all = this.sessionSockets.get(sessionId) ?? new Set();
      this.sessionSockets.set(sessionId, all.add(ws));
      const end = () => {
        ws.readyState = 3;
        all.delete(ws);
        socket.destroy();
      };
      socket.on('close', end).on('error', end);
      let rest = Buffer.alloc(0);
      socket.on('data', (chunk) => {
        rest = Buffer.concat([rest, chunk]);
        for (;;) {
          if (rest.length < 6) return;
          let size = rest[1] & 127;
          let at = 2;
          if (size === 126) {
            size = rest.readUInt16BE(2);
            at = 4;
          }
          if (rest.length < at + 4 + size) return;
          const mask = rest.subarray(at, at + 4);
          const data = Buffer.from(rest.subarray(at + 4, at + 4 + size)).map((b, i) => b ^ mask[i % 4]);
          const kind = rest[0] & 15;
          rest = rest.subarray(at + 4 + size);
          if (kind === 8) return end();
          if (kind === 1) this.handleWebSocketMessage(sessionId, JSON.parse(data.toString())).catch(() => {});
        }
      });
    });
  }

  async handleWebSocketMessage(sessionId, event) {
    if (event.type === 'typing') this.broadcastToSession(sessionId, { type: 'typing', data: event.data });
    if (event.type === 'event') await this.handleCustomEvent(sessionId, { ...event.data, sessionId });
  }
  async handleCustomEvent(sessionId, event) {
    const session = await this.storage.getSession(sessionId);
    if (!session) return;
    await this.config.onEvent?.(event, session);
    await this.notify('onCustomEvent', event, session);
  }
  async triggerEvent(sessionId, name, data) {
    await this.handleCustomEvent(sessionId, { name, data, timestamp: new Date().toISOString(), sessionId });
  }
  emitEvent(sessionId, name, data) {
    this.broadcastToSession(sessionId, { type: 'event', data: { name, data, timestamp: new Date().toISOString(), sessionId } });
  }

  broadcastToSession(sessionId, event) {
    const text = JSON.stringify(event);
    for (const ws of this.sessionSockets.get(sessionId) ?? []) if (ws.readyState === 1) ws.send(text);
  }
  async notify(hook, ...args) {
    for (const bridge of this.bridges) {
      try {
        await bridge[hook]?.(...args);
      } catch {
        // swallowed
      }
    }
  }

  async session(id) {
    const session = await this.storage.getSession(id);
    if (!session) throw new Error('Session not found');
    return session;
  }

  async handleConnect(request) {
    let session = request.sessionId ? await this.storage.getSession(request.sessionId) : null;
    if (!session && this.storage.getSessionByVisitorId) session = await this.storage.getSessionByVisitorId(request.visitorId);
    if (!session) {
      session = {
        id: newId(), visitorId: request.visitorId, createdAt: new Date(), lastActivity: new Date(), operatorOnline: this.operatorOnline,
        aiActive: false, metadata: request.metadata, identity: request.identity,
      };
      await this.storage.createSession(session);
      await this.notify('onNewSession', session);
      await this.config.onNewSession?.(session);
    } else {
      if (request.metadata) session.metadata = request.metadata;
      if (request.identity) session.identity = request.identity;
      session.lastActivity = new Date();
      await this.storage.updateSession(session);
    }
    return {
      sessionId: session.id, visitorId: session.visitorId, operatorOnline: this.operatorOnline,
      welcomeMessage: this.config.welcomeMessage, messages: await this.storage.getMessages(session.id),
    };
  }

  async handleMessage(request) {
    const session = await this.session(request.sessionId);
    const message = {
      id: newId(), sessionId: request.sessionId, content: request.content, sender: request.sender, timestamp: new Date(),
      replyTo: request.replyTo,
    };
    const linked = [];
    for (const id of request.attachmentIds ?? []) {
      const a = await this.storage.getAttachment?.(id);
      if (a) linked.push(Object.assign(a, { messageId: message.id }));
    }
    if (linked.length) message.attachments = linked;
    await this.storage.saveMessage(message);
    session.lastActivity = new Date();
    if (request.sender === 'operator') {
      this.lastOperatorActivity.set(request.sessionId, Date.now());
      session.aiActive = false;
    }
    await this.storage.updateSession(session);
    if (request.sender === 'visitor') await this.notify('onVisitorMessage', message, session);
    this.broadcastToSession(request.sessionId, { type: 'message', data: message });
    await this.config.onMessage?.(message, session);
    if (request.sender === 'visitor') await this.maybeAi(session);
    return { messageId: message.id, timestamp: message.timestamp.toISOString() };
  }
  async maybeAi(session) {
    const provider = this.config.ai?.provider;
    if (!provider || this.operatorOnline) return;
    const last = this.lastOperatorActivity.get(session.id);
    if (last !== undefined && this.aiTakeoverDelay > 0 && (Date.now() - last) / 1000 < this.aiTakeoverDelay) return;
    const reply = await provider.generateResponse(await this.storage.getMessages(session.id, undefined, 1000));
    if (!reply) return;
    session.aiActive = true;
    await this.storage.updateSession(session);
    const message = { id: newId(), sessionId: session.id, content: reply, sender: 'ai', timestamp: new Date() };
    await this.storage.saveMessage(message);
    this.broadcastToSession(session.id, { type: 'message', data: message });
    await this.notify('onOperatorMessage', message, session, 'ai', 'AI');
  }

  async handleGetMessages(request) {
    const limit = Math.min(Number(request.limit ?? 50), 100);
    const messages = await this.storage.getMessages(request.sessionId, request.after, limit + 1);
    return { messages: messages.slice(0, limit), hasMore: messages.length > limit };
  }
  async handleTyping(request) {
    this.broadcastToSession(request.sessionId, {
      type: 'typing', data: { sessionId: request.sessionId, sender: request.sender, isTyping: request.isTyping ?? true },
    });
    return { ok: true };
  }
  async handlePresence() {
    return { online: this.operatorOnline, aiEnabled: Boolean(this.config.ai), aiActiveAfter: this.aiTakeoverDelay };
  }
  async handleRead(request) {
    const session = await this.session(request.sessionId);
    const status = request.status ?? 'read';
    const now = new Date();
    let updated = 0;
    for (const m of await this.storage.getMessages(request.sessionId)) {
      if (!request.messageIds.includes(m.id)) continue;
      m.status = status;
      m.deliveredAt ??= now;
      if (status === 'read') m.readAt = now;
      await this.storage.saveMessage(m);
      updated++;
    }
    this.broadcastToSession(request.sessionId, {
      type: 'read', data: { messageIds: request.messageIds, status, readAt: status === 'read' ? now.toISOString() : undefined },
    });
    await this.notify('onMessageRead', request.sessionId, request.messageIds, status, session);
    return { updated };
  }
  async handleIdentify(request) {
    if (!request.identity?.id) throw new Error('identity.id is required');
    const session = await this.session(request.sessionId);
    session.identity = request.identity;
    await this.storage.updateSession(session);
    await this.notify('onIdentityUpdate', session);
    await this.config.onIdentify?.(session);
    return { ok: true };
  }
  async handleDisconnect(request) {
    const session = await this.session(request.sessionId);
    await this.notify('notifyDisconnect', session, `👋 Visitor left (was here for ${request.duration}s)`);
    await this.config.onVisitorDisconnect?.(session, request.duration);
    return { ok: true };
  }
  async handleVisibility(request) {
    await this.session(request.sessionId);
    return { ok: true };
  }
  async requestCsat(sessionId) {
    const session = await this.session(sessionId);
    session.csat = { ...session.csat, pending: true, requestedAt: new Date() };
    await this.storage.updateSession(session);
    this.broadcastToSession(sessionId, { type: 'csat_request', data: { requestedAt: session.csat.requestedAt.toISOString() } });
    return { ok: true };
  }
  async handleCsat(request) {
    const session = await this.session(request.sessionId);
    if (!Number.isInteger(request.score) || request.score < 1 || request.score > 5) throw new Error('CSAT score must be an integer 1-5');
    if (session.csat?.respondedAt) return { ok: true, alreadyRated: true };
    const comment = request.comment?.trim() || undefined;
    session.csat = { ...session.csat, pending: false, score: request.score, comment, respondedAt: new Date() };
    await this.storage.updateSession(session);
    await this.notify('notifyDisconnect', session, `⭐ ${request.score}/5`);
    await this.config.onCsat?.(session, { score: request.score, comment });
    return { ok: true };
  }
  async own(request) {
    await this.session(request.sessionId);
    const message = await this.storage.getMessage(request.messageId);
    if (!message || message.sessionId !== request.sessionId) throw new Error('Message not found');
    if (message.sender !== 'visitor' || message.deletedAt) throw new Error('Cannot change this message');
    return message;
  }
  async handleEditMessage(request) {
    const message = await this.own(request);
    if (!request.content?.trim()) throw new Error('Content is required');
    message.content = request.content.trim();
    message.editedAt = new Date();
    await (this.storage.updateMessage ? this.storage.updateMessage(message) : this.storage.saveMessage(message));
    const changed = { content: message.content, editedAt: message.editedAt.toISOString() };
    this.broadcastToSession(request.sessionId, { type: 'message_edited', data: { messageId: message.id, ...changed } });
    return { message: { id: message.id, ...changed } };
  }
  async handleDeleteMessage(request) {
    const message = await this.own(request);
    message.deletedAt = new Date();
    await (this.storage.updateMessage ? this.storage.updateMessage(message) : this.storage.saveMessage(message));
    this.broadcastToSession(request.sessionId, {
      type: 'message_deleted', data: { messageId: message.id, deletedAt: message.deletedAt.toISOString() },
    });
    return { deleted: true };
  }
  async handleUploadRequest(request) {
    await this.session(request.sessionId);
    const id = newId();
    const url = `${this.uploadBaseUrl}/${id}`;
    await this.storage.saveAttachment({
      id, messageId: null, filename: request.filename, mimeType: request.mimeType, size: request.size, url, thumbnailUrl: null,
      status: 'pending', createdAt: new Date(), uploadedFrom: 'widget',
    });
    return { attachmentId: id, uploadUrl: url, expiresAt: new Date(Date.now() + 900_000) };
  }
  async handleUploadComplete(id) {
    const attachment = await this.storage.getAttachment(id);
    if (!attachment) throw new Error('Attachment not found');
    attachment.status = 'ready';
    await this.storage.updateAttachment(attachment);
    return attachment;
  }
  async sendOperatorMessage(sessionId, content) {
    const response = await this.handleMessage({ sessionId, content, sender: 'operator' });
    return { id: response.messageId, sessionId, content, sender: 'operator', timestamp: new Date(response.timestamp) };
  }
  setOperatorOnline(online) {
    this.operatorOnline = online;
    for (const id of this.sessionSockets.keys()) this.broadcastToSession(id, { type: 'presence', data: { online } });
  }
  isOperatorOnline() {
    return this.operatorOnline;
  }
}
