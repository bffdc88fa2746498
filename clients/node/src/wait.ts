const FIRST = 250;
const LONGEST = 5_000;
const ASKED_AT_MOST = 60_000;

/** How long to wait before the next try, in milliseconds. */
export class Backoff {
  private next = FIRST;

  /** Waits, at least as long as was asked for; false when the signal ended it. */
  async pause(signal: AbortSignal, asked = 0): Promise<boolean> {
    const wait = this.next / 2 + (Math.random() * this.next) / 2;
    this.next = Math.min(this.next * 2, LONGEST);
    return sleep(Math.max(wait, Math.min(asked, ASKED_AT_MOST)), signal);
  }
}

/** Waits; false when the signal ended it. */
export function sleep(ms: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(false);
    const ended = () => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', ended);
      resolve(true);
    }, ms);
    signal.addEventListener('abort', ended, { once: true });
  });
}

/** What an answer's Retry-After asks for, in milliseconds. */
export function retryAfter(headers: Headers): number {
  const seconds = Number(headers.get('retry-after'));
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
}
