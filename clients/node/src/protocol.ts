import { BridgeError } from './types.js';

/** The version of the bridge's contract that this package speaks. */
export const PROTOCOL = 1;

/** What an answer of 426 says. */
export function protocolError(text: string): BridgeError {
  let supported: unknown;
  try {
    supported = (JSON.parse(text) as { supported?: unknown }).supported;
  } catch {
    // the answer says nothing
  }
  return new BridgeError(`the bridge speaks the protocols ${JSON.stringify(supported ?? [])}, this client speaks ${PROTOCOL}`, 'protocol');
}
