const MOST = 10_000;

/** The ids of the last events that were taken. The same event does not run twice at a time. */
export class SeenIds {
  private readonly running = new Map<string, { done: Promise<void>; finish: () => void }>();
  private readonly taken = new Set<string>();

  /** Says whether the event is to be taken. */
  async begin(id: string): Promise<boolean> {
    for (;;) {
      if (this.taken.has(id)) return false;
      const other = this.running.get(id);
      if (!other) break;
      await other.done;
    }
    let finish = () => {};
    const done = new Promise<void>((resolve) => (finish = resolve));
    this.running.set(id, { done, finish });
    return true;
  }

  finish(id: string, taken: boolean): void {
    if (taken) {
      this.taken.add(id);
      if (this.taken.size > MOST) this.taken.delete(this.taken.values().next().value as string);
    }
    const mine = this.running.get(id);
    this.running.delete(id);
    mine?.finish();
  }
}
