import { BridgeClient } from './client.js';
import type { CallbackReceiver } from './callback.js';
import { Inbound } from './inbound.js';
import { Routes } from './routes.js';
import type { Handle, Middleware, Sdk, SdkInside, SdkStorage } from './sdk.js';
import { BridgeError, type BridgeEvent, type ClientOptions, type Message, type Session, type Stats } from './types.js';
import { Backoff } from './wait.js';

/** As ClientOptions, but url may stand in the SDK's own configuration. */
export interface ConnectOptions extends Partial<ClientOptions> {
  /** the sites whose pages may call, such as https://shop.example.com; without any, all may, and beacons of other sites fail */
  origins?: string[];
}

const CONNECTED = Symbol.for('@pocketping/bridge-client');
const HISTORY = 200; // messages that a page is shown

/**
 * Connects an instance of the SDK to the bridge: what visitors do goes to the bridge, in order, and what operators do is stored,
 * shown to the visitor's page and told to onEvent. Without `url` it is the SDK's option `bridgeServerUrl` (and `bridgeApiKey`,
 * or BRIDGE_API_KEY of the environment). An instance is connected once; another call returns the same.
 */
export function connectBridge(pp: Sdk, options: ConnectOptions = {}): BridgeConnection {
  const there = (pp as { [CONNECTED]?: BridgeConnection })[CONNECTED];
  if (there) return there;
  const config = (pp as SdkInside).config ?? {};
  const url = options.url ?? (config['bridgeServerUrl'] as string | undefined);
  if (!url) throw new TypeError('connectBridge needs a url: in its options, or as bridgeServerUrl in those of PocketPing');
  const apiKey = options.apiKey ?? (config['bridgeApiKey'] as string | undefined) ?? process.env['BRIDGE_API_KEY'];
  const onError = options.onError ?? ((error: BridgeError) => console.warn(`[bridge-client] ${error.message}`));
  const connection = new BridgeConnection(pp as SdkInside, { ...options, url, ...(apiKey ? { apiKey } : {}), onError });
  Object.defineProperty(pp, CONNECTED, { value: connection });
  return connection;
}

/** An instance of the SDK that is connected to a bridge. */
export class BridgeConnection {
  /** the connection, for events of the app's own */
  readonly client: BridgeClient;
  private readonly inbound: Inbound;
  private readonly routes: Routes;
  private readonly receiver: CallbackReceiver;

  constructor(
    private readonly pp: SdkInside,
    options: ConnectOptions & ClientOptions
  ) {
    this.client = new BridgeClient(options);
    const storage = pp.getStorage() as SdkStorage;
    mendStorage(storage);
    this.inbound = new Inbound(pp, storage, this.client);
    const handle = (event: BridgeEvent) => this.inbound.handle(event);
    this.receiver = this.client.callbackReceiver(handle);
    this.routes = new Routes(pp, storage, this.client, this.receiver, options.origins);
    this.mend(storage);
    pp.addBridge(this.hooks());
    this.wrapHandlers(storage);
    const original = pp.middleware?.bind(pp);
    if (original) pp.middleware = () => this.routes.before(original());
    void this.learnPresence().then(() => this.client.listen(handle));
  }

  /** The routes that the widget calls and the SDK lacks. It is part of pp.middleware(), unless that was called before. */
  middleware(): Middleware {
    return this.routes.before((_req, _res, next) => next?.());
  }

  /** Takes the bridge's callbacks. */
  callback(): CallbackReceiver {
    return this.receiver;
  }

  stats(): Stats {
    return this.client.stats();
  }

  flush(timeout?: number): Promise<boolean> {
    return this.client.flush(timeout);
  }

  /** Sends what is still to be sent and ends the connection. */
  close(timeout?: number): Promise<void> {
    return this.client.close(timeout);
  }

  private async learnPresence(): Promise<void> {
    try {
      this.pp.setOperatorOnline(await this.client.online());
    } catch {
      void this.keepAsking();
    }
  }

  private async keepAsking(): Promise<void> {
    const wait = new Backoff();
    while (await wait.pause(this.client.life.signal)) {
      try {
        this.pp.setOperatorOnline(await this.client.online());
        return;
      } catch {
        // it is asked again
      }
    }
  }

  /** What the SDK calls in the visitor's request, one bridge after the other: nothing here waits. */
  private hooks() {
    const { client, inbound } = this;
    return {
      name: 'bridge',
      onNewSession: (session: Session) => client.send({ type: 'new_session', session }),
      onVisitorMessage: (message: Message, session: Session) => client.send({ type: 'visitor_message', message: forBridge(message), session }),
      onOperatorMessage: (message: Message, session: Session, source?: string, name?: string) => {
        if (source !== 'ai') return;
        if (inbound.takesOver(session.id)) client.send({ type: 'ai_takeover', session, reason: 'nobody of the team is online' });
        client.send({ type: 'operator_message', message: forBridge(message), session, sourceBridge: 'ai', operatorName: name ?? 'AI' });
      },
      onMessageRead: (sessionId: string, messageIds: string[], status: string) => {
        if (messageIds.length === 0) return;
        client.send({ type: 'message_read', sessionId, messageIds, status, readAt: new Date().toISOString() });
      },
      onCustomEvent: (event: { name: string }, session: Session) => client.send({ type: 'custom_event', event, session }),
      onIdentityUpdate: (session: Session) => client.send({ type: 'identity_update', session }),
    };
  }

  /** Runs something of ours beside the SDK's work: what it throws is told and stops nothing. */
  private async beside(work: () => void | Promise<void>): Promise<void> {
    try {
      await work();
    } catch (cause) {
      this.client.tell(new BridgeError(`${(cause as Error)?.message}`, undefined, { cause }));
    }
  }

  /** Sees what has no hook. The SDK's own work is done first. */
  private wrapHandlers(storage: SdkStorage): void {
    const { client, inbound } = this;
    const session = async (id: string) => (await storage.getSession(id)) ?? { id, visitorId: id };
    this.wrap('handleTyping', (request) => {
      if (request.sender === 'operator') return;
      client.send({ type: 'visitor_typing', sessionId: request.sessionId, isTyping: request.isTyping ?? true });
    });
    this.wrap('handleEditMessage', (_request, answer, sessionId) => {
      const { id, content, editedAt } = answer.message;
      client.send({ type: 'visitor_message_edited', sessionId, messageId: id, content, editedAt });
    });
    this.wrap('handleDeleteMessage', (request, _answer, sessionId) => {
      client.send({ type: 'visitor_message_deleted', sessionId, messageId: request.messageId, deletedAt: new Date().toISOString() });
    });
    this.wrap('handleCsat', async (request, answer, sessionId) => {
      if (answer.alreadyRated) return;
      const rated = await session(sessionId);
      const csat = (rated['csat'] ?? {}) as { comment?: string; respondedAt?: unknown };
      client.send({
        type: 'csat_submitted', session: rated, score: request.score, respondedAt: csat.respondedAt ?? new Date(),
        ...(csat.comment ? { comment: csat.comment } : {}),
      });
    });
    this.wrap('handleDisconnect', async (request, _answer, sessionId) => {
      client.send({
        type: 'visitor_disconnect', session: await session(sessionId), duration: request.duration, reason: request.reason ?? 'manual',
      });
    });
    const say = this.pp.sendOperatorMessage?.bind(this.pp);
    if (say) {
      this.pp.sendOperatorMessage = async (sessionId, content, ...more) => {
        const message = await say(sessionId, content, ...more);
        await this.beside(async () => {
          inbound.human(sessionId);
          const source = typeof more[0] === 'string' ? more[0] : 'app';
          if (['telegram', 'discord', 'slack'].includes(source)) return;
          client.send({
            type: 'operator_message', message: forBridge(message), session: await session(sessionId), sourceBridge: source,
            ...(typeof more[1] === 'string' ? { operatorName: more[1] } : {}),
          });
        });
        return message;
      };
    }
  }

  private wrap(
    name: 'handleTyping' | 'handleEditMessage' | 'handleDeleteMessage' | 'handleCsat' | 'handleDisconnect',
    // eslint-disable-next-line @typescript-eslint/no-explicit-any
    after: (request: any, answer: any, sessionId: string) => void | Promise<void>
  ): void {
    const original = this.pp[name]?.bind(this.pp) as Handle | undefined;
    if (!original) return;
    this.pp[name] = async (request) => {
      const answer = await original(request);
      await this.beside(() => after(request, answer, request.sessionId));
      return answer;
    };
  }

  /** Mends what the widget stumbles over in the SDK's answers. */
  private mend(storage: SdkStorage): void {
    const { pp } = this;
    const broadcast = pp.broadcastToSession?.bind(pp);
    if (broadcast) {
      pp.broadcastToSession = (sessionId, event) => {
        const data = event.data as Message | undefined;
        // Without a status the widget shows a visitor's own message as being sent, for ever.
        if (event.type === 'message' && data && !data['status']) return broadcast(sessionId, { ...event, data: { ...data, status: 'sent' } });
        return broadcast(sessionId, event);
      };
    }
    const connect = pp.handleConnect.bind(pp);
    pp.handleConnect = async (request) => {
      const answer = await connect(request);
      return answer?.messages ? { ...answer, messages: shown(answer.messages) } : answer;
    };
    const message = pp.handleMessage.bind(pp);
    pp.handleMessage = async (request) => {
      const answer = await message(request);
      if (answer.attachments || !request.attachmentIds?.length) return answer;
      let attachments: unknown;
      await this.beside(async () => {
        attachments = (await storage.getMessage(answer.messageId))?.attachments;
      });
      return attachments ? { ...answer, attachments } : answer;
    };
    const messages = pp.handleGetMessages?.bind(pp);
    if (messages) {
      pp.handleGetMessages = async (request) => {
        const since = typeof request.after === 'string' && request.after.includes('T') ? Date.parse(request.after) : NaN;
        if (Number.isNaN(since)) return messages(request);
        // The widget asks by the newest time that it holds. Its clock may be ahead, and repeats are recognised by their id.
        const from = Math.min(since, Date.now() - 5_000);
        const all = await storage.getMessages(request.sessionId);
        return { messages: shown(all.filter((one) => changedAt(one) > from)), hasMore: false };
      };
    }
  }
}

function changedAt(message: Message): number {
  const times = ['timestamp', 'editedAt', 'deletedAt', 'deliveredAt', 'readAt'].map((name) => new Date((message[name] as string) ?? 0).getTime());
  return Math.max(...times.filter((time) => !Number.isNaN(time)));
}

/** A deleted word is not put in an answer either. */
function shown(messages: Message[]): Message[] {
  return messages.map((one) => (one['deletedAt'] ? { ...one, content: '' } : one));
}

/** A message as the bridge takes it. */
function forBridge(message: Message): Message {
  const { id, sessionId, content, sender, timestamp, replyTo, attachments, metadata } = message;
  return { id, sessionId, content: content ?? '', sender, timestamp, replyTo: replyTo ?? undefined, attachments, metadata };
}

const MENDED = Symbol.for('@pocketping/bridge-client/storage');

/**
 * The SDK's storage keeps a known message twice when it is saved again, and without a limit gives the oldest fifty: then pages
 * never see the newest, and receipts of them are lost.
 */
function mendStorage(storage: SdkStorage): void {
  const marked = storage as SdkStorage & { [MENDED]?: boolean };
  if (marked[MENDED]) return;
  Object.defineProperty(storage, MENDED, { value: true });
  const save = storage.saveMessage.bind(storage);
  const update = storage.updateMessage?.bind(storage);
  if (update) {
    storage.saveMessage = async (message) => ((await storage.getMessage(message.id)) ? update(message) : save(message));
  }
  const get = storage.getMessages.bind(storage);
  storage.getMessages = async (sessionId, after, limit) => {
    if (after !== undefined || limit !== undefined) return get(sessionId, after, limit);
    const page = 100;
    let all: Message[] = [];
    for (let last: string | undefined; ; last = all[all.length - 1]?.id) {
      const more = await get(sessionId, last, page);
      all = all.concat(more).slice(-HISTORY);
      if (more.length < page) return all;
    }
  };
}
