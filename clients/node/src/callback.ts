import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { BridgeClient } from './client.js';
import { BridgeError, type BridgeEvent, type Handler } from './types.js';

const SKEW = 300; // seconds, as Standard Webhooks has it
const MOST = 4 << 20; // bytes

type Answer = { status: number; error?: string };
type Next = (error?: unknown) => void;

/**
 * Takes the bridge's callbacks. The signature is of the body's bytes, so mount it before anything that parses bodies. It answers
 * 204 to what was taken, 401 to a wrong or old signature, 422 to a session that is not here, so that the operator is told, and
 * 500 to what failed: then the event comes again.
 */
export class CallbackReceiver {
  constructor(
    private readonly client: BridgeClient,
    private readonly handler: Handler
  ) {}

  /** For Express 4 and 5, Connect and node:http: `app.post(path, receiver.node())`. */
  node(): (req: IncomingMessage & { rawBody?: unknown; body?: unknown }, res: ServerResponse, next?: Next) => void {
    return (req, res) => {
      void this.fromNode(req, res);
    };
  }

  /** For Fastify: `await fastify.register(receiver.fastify())`. It is served at the path of the options. */
  fastify(): (instance: FastifyLike) => Promise<void> {
    return async (instance) => {
      instance.removeAllContentTypeParsers?.();
      instance.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
      instance.post(this.client.callbackPath, async (request, reply) => {
        const answer = await this.take(request.headers, request.body instanceof Uint8Array ? request.body : Buffer.alloc(0));
        if (answer.status === 204) return reply.code(204).send();
        return reply.code(answer.status).send({ error: answer.error });
      });
    };
  }

  /** For whatever speaks fetch: Hono, Next.js, Bun, Deno. */
  fetch(): (request: Request) => Promise<Response> {
    return async (request) => {
      const answer = await this.take(Object.fromEntries(request.headers), new Uint8Array(await request.arrayBuffer()));
      if (answer.status === 204) return new Response(null, { status: 204 });
      return new Response(JSON.stringify({ error: answer.error }), {
        status: answer.status, headers: { 'Content-Type': 'application/json' },
      });
    };
  }

  /** Checks a callback and takes its event. It never throws. */
  async take(headers: Record<string, string | string[] | undefined>, body: Uint8Array): Promise<Answer> {
    if (!genuine(this.client.options.callback?.secret ?? '', headers, body, Date.now())) {
      return { status: 401, error: 'the signature is wrong or too old' };
    }
    let event: BridgeEvent;
    try {
      event = JSON.parse(Buffer.from(body).toString('utf8')) as BridgeEvent;
    } catch {
      return { status: 400, error: 'the event cannot be read' };
    }
    try {
      await this.client.take(event, this.handler);
      return { status: 204 };
    } catch (error) {
      if (error instanceof BridgeError && error.code === 'unknown_session') return { status: 422, error: 'this session is not known here' };
      this.client.tell(new BridgeError(`${event.type} ${event.id}: ${(error as Error)?.message}`, undefined, { cause: error }));
      return { status: 500, error: 'the event could not be taken' };
    }
  }

  private async fromNode(req: IncomingMessage & { rawBody?: unknown; body?: unknown }, res: ServerResponse): Promise<void> {
    let answer: Answer;
    try {
      if (req.method !== 'POST') answer = { status: 404, error: 'there is no callback here' };
      else answer = await this.take(req.headers, await rawBody(req));
    } catch (error) {
      answer = { status: 400, error: (error as Error).message };
      if (error instanceof BridgeError) this.client.tell(error);
    }
    if (res.headersSent || res.destroyed) return;
    res.statusCode = answer.status;
    if (answer.status === 204) {
      res.end();
      return;
    }
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify({ error: answer.error }));
  }
}

interface FastifyLike {
  removeAllContentTypeParsers?(): void;
  addContentTypeParser(
    type: string, options: { parseAs: 'buffer' },
    parser: (request: unknown, body: unknown, done: (error: null, body: unknown) => void) => void
  ): void;
  post(
    path: string,
    handler: (request: { headers: Record<string, string | string[] | undefined>; body: unknown }, reply: FastifyReplyLike) => Promise<unknown>
  ): void;
}

interface FastifyReplyLike {
  code(status: number): FastifyReplyLike;
  send(body?: unknown): unknown;
}

/** The body's bytes as they came. */
async function rawBody(req: IncomingMessage & { rawBody?: unknown; body?: unknown }): Promise<Uint8Array> {
  for (const read of [req.rawBody, req.body]) {
    if (read instanceof Uint8Array) return read;
    if (typeof read === 'string') return Buffer.from(read);
  }
  if (req.readableEnded) {
    throw new BridgeError('the callback was parsed before it was checked: mount its handler before express.json() and the like');
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > MOST) throw new Error('the body is too large');
  }
  return Buffer.concat(chunks);
}

/** Checks the signature of the Standard Webhooks specification. */
export function genuine(
  secret: string, headers: Record<string, string | string[] | undefined>, body: Uint8Array, now: number
): boolean {
  const text = (name: string) => String(headers[name] ?? '');
  const at = Number(text('webhook-timestamp') || NaN);
  if (!secret || !Number.isInteger(at) || Math.abs(now / 1000 - at) > SKEW) return false;
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret);
  const mac = createHmac('sha256', key).update(`${text('webhook-id')}.${text('webhook-timestamp')}.`).update(body).digest('base64');
  const want = Buffer.from(`v1,${mac}`);
  return text('webhook-signature')
    .split(/\s+/)
    .some((one) => {
      const got = Buffer.from(one);
      return got.length === want.length && timingSafeEqual(got, want);
    });
}
