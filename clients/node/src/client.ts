import { createHash, randomBytes } from 'node:crypto';
import { CallbackReceiver } from './callback.js';
import { Outbox } from './outbox.js';
import { PROTOCOL, protocolError } from './protocol.js';
import { SeenIds } from './seen.js';
import { Spool } from './spool.js';
import { follow } from './stream.js';
import { BridgeError, type BridgeEvent, type ClientOptions, type Found, type Handler, type SiteEvent, type Stats } from './types.js';
import { Backoff, retryAfter, sleep } from './wait.js';

const REQUEST_TIMEOUT = 20_000;
const TYPING_TIMEOUT = 5_000; // the bridge drops what is older
const RECEIPTS_AT_ONCE = 100; // the bridge takes a thousand
const CALLBACK_TTL = 24 * 60 * 60; // seconds
const CALLBACK_REFRESH = 5 * 60_000; // a bridge that has lost its store knows us again by then

/** A connection to a bridge, with or without the SDK. No method throws into the app once it is made. */
export class BridgeClient {
  readonly options: ClientOptions;
  /** ends everything that runs */
  readonly life = new AbortController();
  readonly spool: Spool | undefined;
  private readonly base: string;
  private readonly outbox: Outbox;
  private readonly seen = new SeenIds();
  private readonly counts: Stats = {
    queued: 0, sent: 0, dropped: 0, retries: 0, received: 0, repeats: 0, unknown: 0, connected: false,
  };
  private listening: Promise<void> | undefined;

  constructor(options: ClientOptions) {
    const url = new URL(options.url);
    if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new TypeError(`url ${options.url} is not one of http or https`);
    this.options = options;
    this.base = options.url.replace(/\/+$/, '');
    if (options.spool) this.spool = new Spool(options.spool);
    this.outbox = new Outbox(this, options.maxQueue ?? 10_000, this.spool);
    void this.lookAtBridge();
  }

  /**
   * Lines an event up for the bridge and returns at once. The event is as it is now: what happens to its objects later changes
   * nothing. Typing goes past the queue and is never sent twice.
   */
  send(event: SiteEvent): void {
    try {
      if (event.type === 'message_read' && event.messageIds.length > RECEIPTS_AT_ONCE) {
        for (let i = 0; i < event.messageIds.length; i += RECEIPTS_AT_ONCE) {
          this.send({ ...event, messageIds: event.messageIds.slice(i, i + RECEIPTS_AT_ONCE) });
        }
        return;
      }
      const body = JSON.stringify(event);
      if (event.type === 'visitor_typing') {
        if (!this.life.signal.aborted) void this.request('POST', '/api/events', body, {}, TYPING_TIMEOUT).catch(() => {});
        return;
      }
      const session = 'sessionId' in event ? event.sessionId : 'session' in event ? event.session.id : '';
      this.outbox.add({ session, type: event.type, key: randomBytes(16).toString('hex'), body });
    } catch (cause) {
      this.tell(new BridgeError(`${event?.type} cannot be sent: ${(cause as Error).message}`, undefined, { cause }));
    }
  }

  /**
   * Gives the events of the operators' side to the handler, one after the other, until close(). With `callback` they come to
   * callbackHandler() instead, and only the registration is kept here. The first stream of a client without a spool shows the
   * last hour; the handler has to drop what it knows.
   */
  listen(handler: Handler): void {
    if (this.listening) return;
    const run = this.options.callback ? this.keepRegistered() : follow(this, handler);
    this.listening = run.catch((cause) => {
      if (!this.life.signal.aborted) this.tell(new BridgeError(`listening has ended: ${(cause as Error).message}`, undefined, { cause }));
    });
  }

  /** Takes the bridge's callbacks; see CallbackReceiver for the ways to mount it. */
  callbackReceiver(handler: Handler): CallbackReceiver {
    return new CallbackReceiver(this, handler);
  }

  stats(): Stats {
    return { ...this.counts, queued: this.outbox.waiting };
  }

  count(name: 'sent' | 'dropped' | 'retries' | 'received' | 'repeats' | 'unknown'): void {
    this.counts[name]++;
  }

  setConnected(connected: boolean): void {
    this.counts.connected = connected;
  }

  /** Waits until all that was sent so far is accepted or refused; false when the time, in milliseconds, did not suffice. */
  flush(timeout = 10_000): Promise<boolean> {
    return this.outbox.flush(timeout);
  }

  /**
   * Flushes and ends the client. What is in a spool and was not sent is sent by the next client; what was in memory is lost and
   * told to onError.
   */
  async close(timeout = 10_000): Promise<void> {
    this.outbox.close();
    const flushed = await this.outbox.flush(timeout);
    if (!flushed && !this.spool) this.tell(new BridgeError(`${this.outbox.waiting} events were not sent`, 'closed'));
    this.life.abort();
    await this.listening;
  }

  /** Gives an error to the app, which must not end us. */
  tell(error: BridgeError): void {
    try {
      this.options.onError?.(error);
    } catch {
      // it is the app's
    }
  }

  /** Makes one request. The answer's body is read whole. */
  async request(method: string, path: string, body?: string, headers: Record<string, string> = {}, timeout = REQUEST_TIMEOUT) {
    const deadline = AbortSignal.timeout(timeout);
    const ended = new AbortController();
    const end = () => ended.abort();
    deadline.addEventListener('abort', end, { once: true });
    this.life.signal.addEventListener('abort', end, { once: true });
    try {
      const response = await fetch(this.base + path, {
        method, body: body ?? null, headers: this.headers(headers, body !== undefined), signal: ended.signal, redirect: 'manual',
      });
      return { status: response.status, headers: response.headers, text: await response.text() };
    } finally {
      this.life.signal.removeEventListener('abort', end);
    }
  }

  headers(more: Record<string, string>, json = false): Record<string, string> {
    return {
      'X-PocketPing-Protocol': String(PROTOCOL),
      'User-Agent': 'pocketping-bridge-client-node',
      ...(this.options.apiKey ? { Authorization: `Bearer ${this.options.apiKey}` } : {}),
      ...(json ? { 'Content-Type': 'application/json' } : {}),
      ...more,
    };
  }

  url(path: string): string {
    return this.base + path;
  }

  get callbackPath(): string {
    return `/${(this.options.callback?.path ?? '/pocketping/callback').replace(/^\/+/, '')}`;
  }

  get callbackId(): string | undefined {
    const callback = this.options.callback;
    if (!callback) return undefined;
    return callback.id ?? `app-${createHash('sha256').update(this.callbackUrl).digest('hex').slice(0, 12)}`;
  }

  private get callbackUrl(): string {
    return (this.options.callback?.publicUrl ?? '').replace(/\/+$/, '') + this.callbackPath;
  }

  /** Asks the bridge which version it is and which protocol it speaks. */
  async find(): Promise<Found> {
    const { status, text } = await this.request('GET', '/health');
    if (status === 426) throw protocolError(text);
    if (status !== 200) throw new BridgeError(`GET /health is answered with ${status}`);
    const found = JSON.parse(text) as Found;
    this.counts.bridge = { version: found.version, protocol: found.protocol, bridges: found.bridges };
    if (found.protocol !== undefined && found.protocol !== PROTOCOL) {
      throw new BridgeError(`it is bridge ${found.version} and speaks protocol ${found.protocol}, this client speaks ${PROTOCOL}`, 'protocol');
    }
    return found;
  }

  /** Whether anybody of the team is online. */
  async online(): Promise<boolean> {
    const { status, text } = await this.request('GET', '/api/presence');
    if (status !== 200) throw new BridgeError(`GET /api/presence is answered with ${status}`);
    return (JSON.parse(text) as { online: boolean }).online;
  }

  /** Finds out, once, what the bridge is. */
  private async lookAtBridge(): Promise<void> {
    const wait = new Backoff();
    do {
      try {
        await this.find();
        return;
      } catch (error) {
        if (error instanceof BridgeError && error.code === 'protocol') {
          this.tell(error);
          return;
        }
      }
    } while (await wait.pause(this.life.signal));
  }

  /** Gives an event to the handler, once. Throws what it throws. */
  async take(event: BridgeEvent, handler: Handler): Promise<void> {
    const id = event.id;
    if (id && !(await this.seen.begin(id))) {
      this.count('repeats');
      return;
    }
    try {
      await handler(event);
    } catch (error) {
      if (id) this.seen.finish(id, false);
      if (error instanceof BridgeError && error.code === 'unknown_session') this.count('unknown');
      throw error;
    }
    if (id) this.seen.finish(id, true);
    this.count('received');
    try {
      await this.options.onEvent?.(event);
    } catch (cause) {
      this.tell(new BridgeError(`onEvent: ${(cause as Error)?.message}`, undefined, { cause }));
    }
  }

  /** Registers the callback, and again long before it expires. */
  private async keepRegistered(): Promise<void> {
    const body = JSON.stringify({ url: this.callbackUrl, secret: this.options.callback?.secret, ttl: CALLBACK_TTL });
    let wait = new Backoff();
    let told = 0;
    for (;;) {
      let asked = 0;
      try {
        const { status, headers, text } = await this.request('PUT', `/api/callbacks/${encodeURIComponent(this.callbackId ?? '')}`, body);
        if (status < 300) {
          this.setConnected(true);
          wait = new Backoff();
          told = 0;
          if (!(await sleep(CALLBACK_REFRESH, this.life.signal))) return;
          continue;
        }
        asked = retryAfter(headers);
        if (status !== told) {
          told = status;
          this.tell(new BridgeError(`the callback's registration is answered with ${status} ${text}`));
        }
      } catch {
        // it is tried again
      }
      if (!(await wait.pause(this.life.signal, asked))) return;
    }
  }
}
