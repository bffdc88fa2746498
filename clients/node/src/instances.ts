import { connectBridge } from './attach.js';
import type { Sdk } from './sdk.js';

type Class = { prototype: Record<string, unknown> };

/**
 * Makes instances of an SDK's class that have the option `bridgeServerUrl` connect themselves, at the first call of their
 * middleware or of one of their handlers. `import '@pocketping/bridge-client/auto'` does it for @pocketping/sdk-node.
 */
export function connectInstancesOf(sdk: { PocketPing: unknown }): void {
  const prototype = (sdk.PocketPing as Class).prototype;
  for (const name of Object.getOwnPropertyNames(prototype)) {
    const original = prototype[name];
    if (typeof original !== 'function' || !(name.startsWith('handle') || name === 'middleware' || name === 'attachWebSocket')) continue;
    prototype[name] = function (this: Sdk & { config?: { bridgeServerUrl?: string } } & Record<string, unknown>, ...args: unknown[]) {
      if (this.config?.bridgeServerUrl && !connecting.has(this)) {
        connecting.add(this);
        connectBridge(this);
        return (this[name] as (...args: unknown[]) => unknown)(...args); // connecting has wrapped it
      }
      return (original as (...args: unknown[]) => unknown).apply(this, args);
    };
  }
}

const connecting = new WeakSet<object>();
