// An Express app whose visitors talk to the team in Telegram, Discord and Slack.
//
//   make demo                # in one terminal: a bridge, with stand-ins for the chat apps
//   make example-express     # in another: this, at http://localhost:3003
import { fileURLToPath } from 'node:url';
import { connectBridge } from '@pocketping/bridge-client';
import express from 'express';
// A stand-in for the SDK, so that this runs anywhere. In your app: import { PocketPing } from '@pocketping/sdk-node';
import { PocketPing } from '../../clients/node/test/standin.mjs';

const port = Number(process.env.PORT ?? 3003);
const base = process.env.BASE_URL ?? `http://localhost:${port}`;

const pp = new PocketPing({ uploadBaseUrl: `${base}/files` });
const bridge = connectBridge(pp, {
  url: process.env.BRIDGE_URL ?? 'http://localhost:3001',
  apiKey: process.env.BRIDGE_API_KEY,
  spool: process.env.SPOOL, // a folder: what waits for the bridge survives this process
  onError: (error) => console.error(error.message),
});

const app = express();
app.use('/pocketping', pp.middleware()); // before express.json() and the like

// The SDK leaves visitors' files to the app. Here they are in memory.
const files = new Map();
app.put('/files/:id', express.raw({ type: () => true, limit: '10mb' }), (req, res) => {
  files.set(req.params.id, { type: req.headers['content-type'], data: req.body });
  res.json({ ok: true });
});
app.get('/files/:id', (req, res) => {
  const file = files.get(req.params.id);
  if (!file) return res.sendStatus(404);
  res.set({ 'Content-Type': 'application/octet-stream', 'Content-Disposition': 'attachment', 'X-Content-Type-Options': 'nosniff' });
  res.send(file.data);
});

app.use(express.static(fileURLToPath(new URL('../page', import.meta.url))));

const server = app.listen(port, '127.0.0.1', () => console.log(`the shop is at ${base}`));
pp.attachWebSocket(server);
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await bridge.close(5_000);
    server.close();
    server.closeAllConnections();
  });
}
