import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** An event on its way. Its body and key do not change from one try to the next. */
export interface Letter {
  session: string;
  type: string;
  key: string;
  body: string;
  file?: string;
}

const SUFFIX = '.event.json';
const LAST = 'last-event-id';

/**
 * A folder with a file for each event that waits, named so that their order is that of the names, and a file with the place in
 * the stream. A file is complete or not there. It survives the end of the process; it is not flushed to the disk, so a power cut
 * can lose the last moment.
 */
export class Spool {
  readonly waiting: Letter[] = [];
  private next = BigInt(Date.now()) * 1_000_000n;

  constructor(private readonly dir: string) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(dir).sort()) {
      if (!name.endsWith(SUFFIX)) continue;
      const file = join(dir, name);
      try {
        this.waiting.push({ ...(JSON.parse(readFileSync(file, 'utf8')) as Letter), file });
      } catch (cause) {
        throw new Error(`spool: ${file} cannot be read; move it away to go on without it`, { cause });
      }
      const n = BigInt(/^\d+/.exec(name)?.[0] ?? '0');
      if (n >= this.next) this.next = n + 1n; // the clock went back
    }
  }

  keep(letter: Letter): void {
    const file = join(this.dir, `${String(this.next++).padStart(20, '0')}${SUFFIX}`);
    this.write(file, JSON.stringify(letter));
    letter.file = file;
  }

  remove(letter: Letter): void {
    if (letter.file) rmSync(letter.file, { force: true });
  }

  lastEvent(): string {
    try {
      return readFileSync(join(this.dir, LAST), 'utf8').trim();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    }
  }

  setLastEvent(id: string): void {
    this.write(join(this.dir, LAST), `${id}\n`);
  }

  private write(file: string, text: string): void {
    writeFileSync(`${file}.part`, text, { mode: 0o600 });
    renameSync(`${file}.part`, file);
  }
}
