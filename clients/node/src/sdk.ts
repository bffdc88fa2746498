import type { Message, Session } from './types.js';

// What connectBridge needs of the SDK. Any object with these methods will do; what is optional is used where it is there.

/* eslint-disable @typescript-eslint/no-explicit-any */
type Any = any;

/** A method of the SDK's that takes a request of the widget's. */
export type Handle = (request: Any) => Promise<Any>;

export interface SdkStorage {
  getSession(id: string): Promise<Session | null>;
  updateSession(session: Session): Promise<void>;
  saveMessage(message: Message): Promise<void>;
  getMessages(sessionId: string, after?: string, limit?: number): Promise<Message[]>;
  getMessage(id: string): Promise<Message | null>;
  updateMessage?(message: Message): Promise<void>;
}

/** The SDK's PocketPing, or whatever is like it. Methods that are wrapped are replaced on the instance. */
export interface Sdk {
  addBridge(bridge: Any): unknown;
  getStorage(): Any;
  setOperatorOnline(online: boolean): void;
  requestCsat(sessionId: string): Promise<unknown>;
  handleConnect: Handle;
  handleMessage: Handle;
}

/** The rest of it: private in TypeScript, there at run time. */
export interface SdkInside extends Sdk {
  config?: Record<string, Any>;
  middleware?: () => Middleware;
  broadcastToSession?: (sessionId: string, event: { type: string; data: unknown }) => void;
  sessionSockets?: Map<string, Set<Any>>;
  lastOperatorActivity?: Map<string, number>;
  sendOperatorMessage?: (sessionId: string, content: string, ...more: Any[]) => Promise<Message>;
  handleGetMessages?: Handle;
  handleTyping?: Handle;
  handleEditMessage?: Handle;
  handleDeleteMessage?: Handle;
  handleCsat?: Handle;
  handleDisconnect?: Handle;
}

export type Middleware = (req: Any, res: Any, next?: (error?: unknown) => void) => void;
