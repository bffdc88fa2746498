// The words of the bridge's contract. Times are RFC 3339 texts; what is written as a Date becomes one.

/** What went wrong, and what was lost by it. `code` is one of the words below, or absent. */
export class BridgeError extends Error {
  constructor(
    message: string,
    /** queue_full, refused, gap, protocol, closed, unknown_session */
    readonly code?: string,
    options?: { cause?: unknown }
  ) {
    super(message, options);
    this.name = 'BridgeError';
  }
}

/** A visitor's conversation. */
export interface Session {
  id: string;
  visitorId: string;
  [key: string]: unknown;
}

/** A file of a message. */
export interface Attachment {
  id?: string;
  filename?: string;
  mimeType?: string;
  size?: number;
  url?: string;
  status?: string;
  [key: string]: unknown;
}

/** What somebody wrote. */
export interface Message {
  id: string;
  sessionId: string;
  content: string;
  sender: string;
  attachments?: Attachment[];
  [key: string]: unknown;
}

/** What happened on the site. */
export type SiteEvent =
  | { type: 'new_session' | 'identity_update'; session: Session }
  | { type: 'visitor_message'; message: Message; session: Session }
  | { type: 'visitor_message_edited'; sessionId: string; messageId: string; content: string; editedAt?: string }
  | { type: 'visitor_message_deleted'; sessionId: string; messageId: string; deletedAt?: string }
  | { type: 'visitor_typing'; sessionId: string; isTyping: boolean }
  | { type: 'message_read'; sessionId: string; messageIds: string[]; status: string; readAt?: string; deliveredAt?: string }
  | { type: 'custom_event'; event: { name: string; data?: unknown; timestamp?: unknown }; session: Session }
  | { type: 'ai_takeover'; session: Session; reason?: string }
  | { type: 'csat_submitted'; session: Session; score: number; comment?: string; respondedAt?: unknown }
  | { type: 'visitor_disconnect'; session: Session; duration?: number; reason?: string }
  | { type: 'operator_message'; message: Message; session: Session; sourceBridge?: string; operatorName?: string }
  | { type: 'session_closed'; sessionId: string }
  | { type: 'operator_status'; online: boolean };

/** What happened on the operators' side. Which fields there are depends on the type. */
export interface BridgeEvent {
  type: string;
  id?: string;
  timestamp?: string;
  sessionId?: string;
  messageId?: string;
  messageIds?: string[];
  content?: string;
  sourceBridge?: string;
  operatorName?: string;
  operatorId?: string;
  replyToMessageId?: string;
  attachments?: Attachment[];
  editedAt?: string;
  deletedAt?: string;
  isTyping?: boolean;
  online?: boolean;
  enabled?: boolean;
  [key: string]: unknown;
}

/** What the bridge says of itself. */
export interface Found {
  version: string;
  protocol: number;
  bridges: string[];
}

/** Counts since the start. */
export interface Stats {
  /** events that wait */
  queued: number;
  /** accepted by the bridge */
  sent: number;
  /** refused by the bridge, or too many */
  dropped: number;
  retries: number;
  /** events that were taken */
  received: number;
  /** events that had been taken before */
  repeats: number;
  /** events of sessions that are not here */
  unknown: number;
  /** the stream is open, or the callback registered */
  connected: boolean;
  bridge?: Found;
}

/** Has the bridge call the app. */
export interface CallbackOptions {
  /** where the bridge reaches the app, such as https://app.example.com */
  publicUrl: string;
  /** where the handler is mounted; /pocketping/callback unless said otherwise */
  path?: string;
  /** signs what comes; at least 24 characters */
  secret: string;
  /** the registration's; made from publicUrl and path unless said otherwise */
  id?: string;
}

export interface ClientOptions {
  /** of the bridge, such as http://localhost:3001 */
  url: string;
  apiKey?: string;
  /** a folder in which the outbox and the place in the stream survive the process; for one process alone */
  spool?: string;
  /** how many events may wait; 10 000 */
  maxQueue?: number;
  callback?: CallbackOptions;
  /** is told what went wrong; nothing is thrown into the app */
  onError?: (error: BridgeError) => void;
  /** is told of each event of the operators' side, after it was done with */
  onEvent?: (event: BridgeEvent) => void | Promise<void>;
}

/** Takes one event. What it throws is a failure, after which the event comes again, except a BridgeError `unknown_session`. */
export type Handler = (event: BridgeEvent) => Promise<void> | void;
