export { connectBridge, BridgeConnection, type ConnectOptions } from './attach.js';
export { CallbackReceiver, genuine } from './callback.js';
export { BridgeClient } from './client.js';
export { connectInstancesOf } from './instances.js';
export { PROTOCOL } from './protocol.js';
export type { Sdk, SdkStorage } from './sdk.js';
export * from './types.js';
