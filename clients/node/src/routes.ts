import type { IncomingMessage, ServerResponse } from 'node:http';
import type { BridgeClient } from './client.js';
import type { CallbackReceiver } from './callback.js';
import type { Middleware, SdkInside, SdkStorage } from './sdk.js';
import { BridgeError } from './types.js';

type Request = IncomingMessage & { body?: unknown; originalUrl?: string };
type Body = Record<string, unknown>;

const BEAT = 20_000;
const MOST = 64 << 10; // bytes of a body

const CORS: Record<string, string> = {
  'Access-Control-Allow-Methods': 'GET, POST, PATCH, DELETE, PUT',
  'Access-Control-Allow-Headers': 'Content-Type, X-PocketPing-Version',
  'Access-Control-Expose-Headers':
    'X-PocketPing-Version-Status, X-PocketPing-Min-Version, X-PocketPing-Latest-Version, X-PocketPing-Version-Message',
  'Access-Control-Max-Age': '600',
};

/**
 * The routes that the widget calls and the SDK lacks. Those that have another name in the SDK are given to it under that name, so
 * that its filters and its checks hold for them too.
 */
export class Routes {
  constructor(
    private readonly pp: SdkInside,
    private readonly storage: SdkStorage,
    private readonly client: BridgeClient,
    private readonly receiver: CallbackReceiver,
    private readonly origins: string[] | undefined
  ) {}

  /** Puts the routes before the SDK's. */
  before(theirs: Middleware): Middleware {
    return (req: Request, res: ServerResponse, next) => {
      this.serve(req, res).then(
        (done) => {
          if (!done) theirs(req, res, next);
        },
        (cause) => {
          this.client.tell(new BridgeError(`${req.method} ${req.url}: ${(cause as Error)?.message}`, undefined, { cause }));
          if (!res.headersSent) answer(res, 500, { error: 'Internal server error' });
        }
      );
    };
  }

  /** Serves what is ours, and says whether it was. */
  private async serve(req: Request, res: ServerResponse): Promise<boolean> {
    const url = new URL(req.url ?? '/', 'http://localhost');
    const path = url.pathname.replace(/^\/+|\/+$/g, '');
    if (this.client.options.callback && new URL(req.originalUrl ?? req.url ?? '/', 'http://localhost').pathname === this.client.callbackPath) {
      this.receiver.node()(req, res);
      return true;
    }
    if (!this.allow(req, res)) return true;
    if (req.method === 'OPTIONS') {
      res.statusCode = 204;
      res.end();
      return true;
    }
    switch (`${req.method} ${path}`) {
      case 'POST message':
        // Whoever calls here is a visitor, whatever the body says.
        req.body = { ...(await readBody(req)), sender: 'visitor' };
        return false;
      case 'POST upload':
        return this.rename(req, url, 'upload-request');
      case 'POST upload/complete':
        return this.rename(req, url, 'upload-complete');
      case 'POST prechat':
        return this.prechat(res, await readBody(req));
      case 'GET screenshot/requests':
        answer(res, 200, { requests: [] });
        return true;
      case 'GET stream':
        return this.stream(req, res, url);
    }
    const id = /^message\/([^/]+)$/.exec(path)?.[1];
    if (id && req.method === 'PATCH') {
      req.body = { ...(await readBody(req)), messageId: decodeURIComponent(id) };
      return this.rename(req, url, 'edit');
    }
    if (id && req.method === 'DELETE') {
      req.body = { messageId: decodeURIComponent(id), sessionId: url.searchParams.get('sessionId') };
      return this.rename(req, url, 'delete');
    }
    return false;
  }

  /** Gives the request to the SDK as a POST to another of its routes. */
  private rename(req: Request, url: URL, to: string): false {
    req.method = 'POST';
    req.url = `/${to}${url.search}`;
    return false;
  }

  /** Sets the CORS headers, in place of the SDK's; false when the answer was given. */
  private allow(req: Request, res: ServerResponse): boolean {
    const origin = req.headers.origin;
    if (!origin) return true;
    const set = res.setHeader.bind(res);
    res.setHeader = (name: string, value: number | string | readonly string[]) =>
      name.toLowerCase().startsWith('access-control-') ? res : set(name, value);
    for (const [name, value] of Object.entries(CORS)) set(name, value);
    if (!this.origins) {
      set('Access-Control-Allow-Origin', '*');
      return true;
    }
    set('Vary', 'Origin');
    if (this.origins.includes(origin)) {
      // Beacons come with credentials. No cookie is set or read here, which makes them harmless.
      set('Access-Control-Allow-Origin', origin);
      set('Access-Control-Allow-Credentials', 'true');
      return true;
    }
    if (/^https?:\/\/(.*)$/.exec(origin)?.[1] === req.headers.host) return true;
    answer(res, 403, { error: 'this origin is not allowed' });
    return false;
  }

  /** Keeps what the form asked for in the session, and tells it. */
  private async prechat(res: ServerResponse, body: Body): Promise<boolean> {
    const session = await this.storage.getSession(String(body['sessionId'] ?? ''));
    if (!session) {
      answer(res, 404, { error: 'Session not found' });
      return true;
    }
    const text = (name: string) => (typeof body[name] === 'string' && body[name] ? (body[name] as string) : undefined);
    const email = text('email');
    if (email) session['identity'] = { id: session.visitorId, ...(session['identity'] as Body | undefined), email };
    if (text('phone')) session['userPhone'] = text('phone');
    if (text('phoneCountry')) session['userPhoneCountry'] = text('phoneCountry');
    await this.storage.updateSession(session);
    this.client.send({ type: 'identity_update', session });
    answer(res, 200, { ok: true });
    return true;
  }

  /** Shows a page what happens in its session, as unnamed server-sent events. */
  private async stream(req: Request, res: ServerResponse, url: URL): Promise<boolean> {
    const id = url.searchParams.get('sessionId') ?? '';
    const sockets = this.pp.sessionSockets;
    if (!sockets) return false;
    if (!(await this.storage.getSession(id))) {
      answer(res, 404, { error: 'Session not found' });
      return true;
    }
    res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform', 'X-Accel-Buffering': 'no' });
    res.write(': open\n\n');
    const page = { readyState: 1, send: (text: string) => res.write(`data: ${text}\n\n`) };
    let all = sockets.get(id);
    if (!all) sockets.set(id, (all = new Set()));
    all.add(page);
    const after = url.searchParams.get('after');
    if (after && this.pp.handleGetMessages) {
      const missed = (await this.pp.handleGetMessages({ sessionId: id, after })) as { messages: unknown[] };
      for (const data of missed.messages) page.send(JSON.stringify({ type: 'message', data }));
    }
    const beat = setInterval(() => res.write(': beat\n\n'), BEAT);
    const end = () => {
      page.readyState = 3;
      clearInterval(beat);
      sockets.get(id)?.delete(page);
      this.client.life.signal.removeEventListener('abort', end);
      res.end();
    };
    req.on('close', end);
    res.on('error', end);
    this.client.life.signal.addEventListener('abort', end, { once: true });
    return true;
  }
}

function answer(res: ServerResponse, status: number, body: unknown): void {
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/json');
  res.end(JSON.stringify(body));
}

async function readBody(req: Request): Promise<Body> {
  if (req.body && typeof req.body === 'object') return req.body as Body;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > MOST) throw new Error('the body is too large');
  }
  const text = Buffer.concat(chunks).toString('utf8');
  const body: unknown = text ? JSON.parse(text) : {};
  if (typeof body !== 'object' || body === null) throw new Error('the body is not an object');
  return body as Body;
}
