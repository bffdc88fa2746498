import type { BridgeClient } from './client.js';
import type { SdkInside, SdkStorage } from './sdk.js';
import { BridgeError, type BridgeEvent, type Message, type Session } from './types.js';

const RANK: Record<string, number> = { sending: 0, sent: 1, delivered: 2, read: 3 };

/** Does in the SDK what the events of the operators' side ask for, by storage and broadcast, so that nothing of it goes back. */
export class Inbound {
  private readonly began = Date.now();
  private readonly ai = new Set<string>(); // sessions in which the AI spoke last
  private readonly resumes: boolean;

  constructor(
    private readonly pp: SdkInside,
    private readonly storage: SdkStorage,
    private readonly client: BridgeClient
  ) {
    let last = '';
    try {
      last = client.spool?.lastEvent() ?? '';
    } catch {
      // told where it is read
    }
    this.resumes = last !== '' || client.options.callback !== undefined;
  }

  /** Whether the AI speaks for the first time since a person. */
  takesOver(sessionId: string): boolean {
    if (this.ai.has(sessionId)) return false;
    this.ai.add(sessionId);
    return true;
  }

  human(sessionId: string): void {
    this.ai.delete(sessionId);
  }

  async handle(event: BridgeEvent): Promise<void> {
    if (event.type === 'operator_status') {
      this.pp.setOperatorOnline(event.online === true);
      return;
    }
    const id = event.sessionId;
    if (!id) return;
    const session = await this.storage.getSession(id);
    if (!session) throw new BridgeError(`session ${id} is not known here`, 'unknown_session');
    // Without a place in the stream the last hour comes again. Words are found in the storage; what told of a state then is of no
    // use now.
    const at = Date.parse(event.timestamp ?? '');
    const old = !this.resumes && at < this.began;
    switch (event.type) {
      case 'operator_message':
        return this.operatorMessage(event, session, old);
      case 'operator_message_edited':
      case 'operator_message_deleted':
        return this.operatorChange(event, id);
      case 'csat_request':
        return this.csatRequest(id, session, at);
    }
    if (old) return;
    switch (event.type) {
      case 'operator_typing':
        return this.toPage(id, 'typing', { sessionId: id, sender: 'operator', isTyping: event.isTyping === true });
      case 'message_delivered':
        return this.receipt(event, id, [event.messageId ?? ''], 'delivered');
      case 'message_read':
        return this.receipt(event, id, event.messageIds ?? [], 'read');
      case 'ai_toggle':
        session['aiActive'] = event.enabled === true;
        return this.storage.updateSession(session);
    }
  }

  private async operatorMessage(event: BridgeEvent, session: Session, old: boolean): Promise<void> {
    const id = event.messageId ?? '';
    const known = await this.storage.getMessage(id);
    if (known && old) return;
    const message: Message = {
      id, sessionId: session.id, content: event.content ?? '', sender: 'operator', timestamp: new Date(event.timestamp ?? Date.now()),
      status: 'sent', metadata: { operatorName: event.operatorName, sourceBridge: event.sourceBridge },
      ...(event.replyToMessageId ? { replyTo: event.replyToMessageId } : {}),
      ...(event.attachments?.length ? { attachments: event.attachments.map((one) => ({ status: 'ready', ...one })) } : {}),
    };
    if (known) {
      // Another process of the app has kept it; our pages have not seen it.
      this.toPage(session.id, 'message', message);
      return;
    }
    await this.storage.saveMessage(message);
    this.human(session.id);
    this.pp.lastOperatorActivity?.set?.(session.id, Date.now());
    if (session['aiActive']) {
      session['aiActive'] = false;
      await this.storage.updateSession(session);
    }
    this.toPage(session.id, 'message', message);
    try {
      await this.pp.config?.['onMessage']?.(message, session);
    } catch (cause) {
      this.client.tell(new BridgeError(`onMessage: ${(cause as Error)?.message}`, undefined, { cause }));
    }
  }

  private async operatorChange(event: BridgeEvent, sessionId: string): Promise<void> {
    const stored = await this.storage.getMessage(event.messageId ?? '');
    if (!stored) return; // of before the storage begins
    if (event.type === 'operator_message_edited') {
      const editedAt = new Date(event.editedAt ?? event.timestamp ?? Date.now());
      await this.change({
        ...stored, content: event.content ?? '', editedAt, ...(event.attachments ? { attachments: event.attachments } : {}),
      });
      this.toPage(sessionId, 'message_edited', { messageId: stored.id, content: event.content, editedAt: editedAt.toISOString() });
      return;
    }
    const deletedAt = new Date(event.deletedAt ?? event.timestamp ?? Date.now());
    await this.change({ ...stored, deletedAt });
    this.toPage(sessionId, 'message_deleted', { messageId: stored.id, deletedAt: deletedAt.toISOString() });
  }

  private async receipt(event: BridgeEvent, sessionId: string, ids: string[], status: 'delivered' | 'read'): Promise<void> {
    const at = new Date(event.timestamp ?? Date.now());
    const told: string[] = [];
    for (const id of ids) {
      const stored = await this.storage.getMessage(id);
      if (!stored || (RANK[String(stored['status'])] ?? 0) >= (RANK[status] ?? 0)) continue; // it only rises
      await this.change({ ...stored, status, [`${status}At`]: at });
      told.push(id);
    }
    if (told.length === 0) return;
    this.toPage(sessionId, 'read', { sessionId, messageIds: told, status, [`${status}At`]: at.toISOString() });
  }

  /** Asks for a rating, unless this is a repeat of what was asked before. */
  private async csatRequest(id: string, session: Session, at: number): Promise<void> {
    const csat = session['csat'] as { respondedAt?: unknown; requestedAt?: string | Date } | undefined;
    if (csat?.respondedAt) return;
    if (csat?.requestedAt && new Date(csat.requestedAt).getTime() >= at) return;
    await this.pp.requestCsat(id);
  }

  private async change(message: Message): Promise<void> {
    await (this.storage.updateMessage ? this.storage.updateMessage(message) : this.storage.saveMessage(message));
  }

  private toPage(sessionId: string, type: string, data: unknown): void {
    if (this.pp.broadcastToSession) {
      this.pp.broadcastToSession(sessionId, { type, data });
      return;
    }
    for (const socket of this.pp.sessionSockets?.get(sessionId) ?? []) {
      if (socket.readyState === 1) socket.send(JSON.stringify({ type, data }));
    }
  }
}
