import { Agent, request as requestHttp, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { Agent as SecureAgent, request as requestHttps } from 'node:https';

export interface Options {
  method: string;
  headers: Record<string, string>;
  body?: string | undefined;
  signal: AbortSignal;
}

/**
 * Makes requests to one server. It is not fetch: that of Node 20 can hang, until its time is up, when a connection is closed as soon
 * as it is open, which is what a bridge does that is being started.
 */
export class Requests {
  private readonly agent: Agent;
  private readonly start: typeof requestHttp;

  constructor(private readonly base: string) {
    const secure = base.startsWith('https:');
    this.agent = secure ? new SecureAgent({ keepAlive: true }) : new Agent({ keepAlive: true });
    this.start = secure ? requestHttps : requestHttp;
  }

  /** Returns the answer when it begins. Redirects are not followed. */
  open(path: string, { method, headers, body, signal }: Options): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const length: Record<string, number> = body === undefined ? {} : { 'Content-Length': Buffer.byteLength(body) };
      const req = this.start(this.base + path, { method, headers: { ...headers, ...length }, agent: this.agent, signal });
      req.on('response', resolve);
      req.on('error', reject);
      req.end(body);
    });
  }

  close(): void {
    this.agent.destroy();
  }
}

/** The whole body, as text. */
export async function text(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let all = '';
  for await (const part of response) all += part;
  return all;
}

/** What an answer's Retry-After asks for, in milliseconds. */
export function retryAfter(headers: IncomingHttpHeaders): number {
  const seconds = Number(headers['retry-after']);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
}
