import type { BridgeClient } from './client.js';
import { protocolError } from './protocol.js';
import { BridgeError, type BridgeEvent, type Handler } from './types.js';
import { Backoff, retryAfter } from './wait.js';

/** An id that no event has. A stream that is asked to go on behind it shows the last hour. */
const NO_EVENT = 'evt_0000000000000001';
/** How long a stream may say nothing; the bridge's heart beats every 30 seconds. */
const SILENCE = 75_000;

interface Place {
  last: string;
  /** last is an event that was taken, so a gap is a loss */
  kept: boolean;
}

/** Reads one stream after the other, until the client ends. */
export async function follow(client: BridgeClient, handler: Handler): Promise<void> {
  const place: Place = { last: NO_EVENT, kept: false };
  try {
    const last = client.spool?.lastEvent();
    if (last) Object.assign(place, { last, kept: true });
  } catch (cause) {
    client.tell(new BridgeError(`the place in the stream cannot be read: ${(cause as Error).message}`, undefined, { cause }));
  }
  let wait = new Backoff();
  let told = '';
  for (;;) {
    let asked = 0;
    try {
      await read(client, handler, place, () => {
        wait = new Backoff();
        told = '';
      });
    } catch (error) {
      const text = (error as Error).message;
      asked = (error as { asked?: number }).asked ?? 0;
      if (!client.life.signal.aborted && text !== told) {
        told = text; // once, not at each try
        client.tell(error instanceof BridgeError ? error : new BridgeError(`the stream broke: ${text}`, undefined, { cause: error }));
      }
    }
    client.setConnected(false);
    if (!(await wait.pause(client.life.signal, asked))) return;
  }
}

/** Reads one stream to its end. What it throws may have `asked`, how long the bridge asks to wait. */
async function read(client: BridgeClient, handler: Handler, place: Place, opened: () => void): Promise<void> {
  const ended = new AbortController();
  const end = () => ended.abort();
  client.life.signal.addEventListener('abort', end, { once: true });
  let silence = setTimeout(end, SILENCE);
  try {
    const response = await fetch(client.url('/api/events/stream'), {
      headers: client.headers({ Accept: 'text/event-stream', 'Last-Event-ID': place.last }), signal: ended.signal, redirect: 'manual',
    });
    if (response.status !== 200 || !response.body) {
      const text = await response.text();
      if (response.status === 426) throw protocolError(text);
      throw Object.assign(new BridgeError(`the stream is answered with ${response.status} ${text}`), { asked: retryAfter(response.headers) });
    }
    client.setConnected(true);
    opened();
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      clearTimeout(silence);
      silence = setTimeout(end, SILENCE);
      rest += decoder.decode(chunk, { stream: true });
      for (let at = rest.indexOf('\n\n'); at >= 0; at = rest.indexOf('\n\n')) {
        const text = rest.slice(0, at);
        rest = rest.slice(at + 2);
        await frame(client, handler, place, text);
      }
    }
  } finally {
    clearTimeout(silence);
    client.life.signal.removeEventListener('abort', end);
    ended.abort();
  }
}

async function frame(client: BridgeClient, handler: Handler, place: Place, text: string): Promise<void> {
  const fields: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const [, name = '', value = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (name) fields[name] = name in fields ? `${fields[name]}\n${value}` : value;
  }
  if (fields['event'] === 'gap') {
    if (place.kept) client.tell(new BridgeError(`the stream no longer has all behind ${place.last}`, 'gap'));
    return;
  }
  // overflow: the stream ends, and the next one goes on behind the last
  if (fields['event'] || !fields['data']) return;
  let event: BridgeEvent;
  try {
    event = JSON.parse(fields['data']) as BridgeEvent;
  } catch (cause) {
    client.tell(new BridgeError('an event of the stream cannot be read', undefined, { cause }));
    return;
  }
  for (const wait = new Backoff(); ; ) {
    try {
      await client.take(event, handler);
      break;
    } catch (error) {
      if (error instanceof BridgeError && error.code === 'unknown_session') break; // another process's
      if (client.life.signal.aborted) throw error;
      client.tell(new BridgeError(`${event.type} ${event.id}: ${(error as Error)?.message}`, undefined, { cause: error }));
      if (!(await wait.pause(client.life.signal))) throw error;
    }
  }
  const id = fields['id'];
  if (!id) return;
  place.last = id;
  place.kept = true;
  try {
    client.spool?.setLastEvent(id);
  } catch (cause) {
    client.tell(new BridgeError(`the place in the stream cannot be kept: ${(cause as Error).message}`, undefined, { cause }));
  }
}
