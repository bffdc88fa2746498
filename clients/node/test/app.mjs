// An app server with the SDK's stand-in and the client, for the contract cases. Its environment says how it is wired; its first
// line says where it listens.
import { createServer } from 'node:http';
import { connectBridge } from '../dist/esm/index.js';
import { MemoryStorage, PocketPing } from './standin.mjs';

const { env } = process;
const errors = [];
const events = [];
const files = new Map();
let bridge;
let handle;

const server = createServer((req, res) => handle(req, res));
server.listen(Number(env.APP_PORT ?? 0), '127.0.0.1', () => {
  const base = `http://127.0.0.1:${server.address().port}`;
  const pp = new PocketPing({
    storage: env.APP_STORAGE ? new MemoryStorage({ file: env.APP_STORAGE }) : 'memory',
    ai: { provider: { generateResponse: async (all) => (all.at(-1).content.startsWith('ai? ') ? `AI: ${all.at(-1).content.slice(4)}` : '') } },
    aiTakeoverDelay: 0, uploadBaseUrl: `${base}/files`, bridgeServerUrl: env.BRIDGE_URL,
  });
  bridge = connectBridge(pp, {
    apiKey: env.BRIDGE_KEY, spool: env.APP_SPOOL, origins: ['http://shop.example'],
    callback: env.APP_CALLBACK_SECRET ? { publicUrl: base, secret: env.APP_CALLBACK_SECRET } : undefined,
    onError: (error) => errors.push(error.message), onEvent: (event) => void events.push(event.type),
  });
  pp.attachWebSocket(server);
  const widget = pp.middleware();
  const json = async (req) => {
    let text = '';
    for await (const chunk of req) text += chunk;
    return JSON.parse(text);
  };
  const control = {
    '/control/state': async () => ({ errors, events, stats: bridge.stats() }),
    '/control/trigger': async (req) => {
      const { sessionId, name, data } = await json(req);
      await pp.triggerEvent(sessionId, name, data);
      return { ok: true };
    },
    '/control/say': async (req) => {
      const { sessionId, content, source, name } = await json(req);
      await pp.sendOperatorMessage(sessionId, content, source, name);
      return { ok: true };
    },
  };
  handle = async (req, res) => {
    const path = new URL(req.url, base).pathname;
    if (control[path]) {
      const answer = await control[path](req).catch((error) => ({ error: error.message }));
      res.statusCode = answer.error ? 500 : 200;
      res.end(JSON.stringify(answer));
    } else if (path.startsWith('/files/')) {
      if (req.method === 'PUT') {
        const chunks = [];
        for await (const chunk of req) chunks.push(chunk);
        files.set(path, Buffer.concat(chunks));
      }
      res.end(req.method === 'PUT' ? '' : files.get(path));
    } else {
      req.originalUrl = req.url;
      req.url = req.url.replace(/^\/pocketping/, '') || '/';
      widget(req, res, () => {
        res.statusCode = 404;
        res.end(JSON.stringify({ error: 'Not found' }));
      });
    }
  };
  console.log(`listening ${base}`);
});

process.on('SIGTERM', async () => {
  await bridge?.close(5_000);
  server.closeAllConnections?.();
  server.close();
  process.exit(0);
});
