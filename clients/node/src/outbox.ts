import type { BridgeClient } from './client.js';
import { protocolError } from './protocol.js';
import type { Letter, Spool } from './spool.js';
import { BridgeError } from './types.js';
import { Backoff, retryAfter, sleep } from './wait.js';

const SENDERS = 16; // sessions whose events are on their way at one time

/** Keeps what the bridge has not accepted: a queue for each session, each sent in order, one letter at a time. */
export class Outbox {
  private readonly queues = new Map<string, Letter[]>();
  private total = 0;
  private closed = false;
  private idle: (() => void)[] = [];
  private free = SENDERS;
  private readonly inLine: (() => void)[] = [];

  constructor(
    private readonly client: BridgeClient,
    private readonly most: number,
    private readonly spool: Spool | undefined
  ) {
    for (const letter of spool?.waiting ?? []) this.push(letter);
  }

  get waiting(): number {
    return this.total;
  }

  add(letter: Letter): void {
    if (this.closed) throw new BridgeError('the client is closed', 'closed');
    if (this.total >= this.most) {
      this.client.count('dropped');
      this.client.tell(new BridgeError(`${this.total} events wait, a ${letter.type} of session ${letter.session} is dropped`, 'queue_full'));
      return;
    }
    try {
      this.spool?.keep(letter);
    } catch (cause) {
      // it is sent all the same
      this.client.tell(new BridgeError(`the spool cannot keep a ${letter.type}: ${(cause as Error).message}`, undefined, { cause }));
    }
    this.push(letter);
  }

  close(): void {
    this.closed = true;
  }

  async flush(timeout: number): Promise<boolean> {
    if (this.total === 0) return true;
    const done = new Promise<boolean>((resolve) => this.idle.push(() => resolve(true)));
    const enough = new AbortController();
    const ended = await Promise.race([done, sleep(timeout, enough.signal).then(() => false)]);
    enough.abort();
    return ended;
  }

  private push(letter: Letter): void {
    this.total++;
    const queue = this.queues.get(letter.session);
    if (queue) {
      queue.push(letter);
      return;
    }
    const started = [letter];
    this.queues.set(letter.session, started);
    void this.sendAll(letter.session, started);
  }

  private async sendAll(session: string, queue: Letter[]): Promise<void> {
    for (let letter = queue[0]; letter; letter = queue[0]) {
      if (!(await this.deliver(letter))) return; // the client has ended; what is in the spool stays there
      try {
        this.spool?.remove(letter);
      } catch {
        // one that stays is sent again, and recognised
      }
      queue.shift();
      this.total--;
    }
    this.queues.delete(session);
    if (this.total === 0) {
      for (const resolve of this.idle.splice(0)) resolve();
    }
  }

  /** Sends a letter until the bridge has accepted or refused it, and says whether it did. */
  private async deliver(letter: Letter): Promise<boolean> {
    const wait = new Backoff();
    const callback = this.client.callbackId;
    const headers: Record<string, string> = { 'Idempotency-Key': letter.key, ...(callback ? { 'X-PocketPing-Callback': callback } : {}) };
    let told = 0;
    for (;;) {
      let asked = 0;
      await this.enter();
      try {
        if (this.client.life.signal.aborted) return false;
        const answer = await this.client.request('POST', '/api/events', letter.body, headers);
        if (answer.status === 200) {
          this.client.count('sent');
          return true;
        }
        if (!tryAgain(answer.status)) {
          this.client.count('dropped');
          this.client.tell(
            new BridgeError(`${letter.type} of session ${letter.session} is refused: ${answer.status} ${answer.text}`, 'refused')
          );
          return true;
        }
        asked = retryAfter(answer.headers);
        if (told !== answer.status) {
          told = answer.status; // it may go on for hours
          this.client.tell(
            answer.status === 426
              ? protocolError(answer.text)
              : new BridgeError(`the bridge answers ${answer.status}, the event is sent again later: ${answer.text}`)
          );
        }
      } catch {
        // the bridge is away
      } finally {
        this.leave();
      }
      this.client.count('retries');
      if (!(await wait.pause(this.client.life.signal, asked))) return false;
    }
  }

  private enter(): Promise<void> | void {
    if (this.free > 0) {
      this.free--;
      return;
    }
    return new Promise((resolve) => this.inLine.push(resolve));
  }

  private leave(): void {
    const next = this.inLine.shift();
    if (next) next();
    else this.free++;
  }
}

/**
 * Whether an answer other than 200 can change by itself, or by a change of the configuration: a visitor's word is not dropped for
 * a wrong key.
 */
function tryAgain(status: number): boolean {
  return [401, 408, 425, 426, 429].includes(status) || status >= 500;
}
