import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BridgeClient, connectBridge, genuine, PROTOCOL } from '../dist/esm/index.js';
import { MemoryStorage, PocketPing } from './standin.mjs';

const here = dirname(fileURLToPath(import.meta.url));

/** A bridge that answers events as told, and notes what it took. */
async function serve(t, answer = () => 200) {
  const taken = [];
  const keys = [];
  const asked = [];
  let n = 0;
  const server = createServer(async (req, res) => {
    let text = '';
    for await (const chunk of req) text += chunk;
    asked.push({ method: req.method, url: req.url, headers: req.headers, text });
    if (req.url === '/health') return res.end('{"status":"ok","bridges":[],"version":"1.2.3","protocol":1}');
    if (req.url === '/api/presence') return res.end('{"online":true,"operators":[]}');
    if (req.method === 'PUT') return res.end('{}');
    if (req.url !== '/api/events') return res.writeHead(404).end();
    const status = answer(n++, JSON.parse(text));
    if (status === 0) return req.socket.destroy();
    keys.push(req.headers['idempotency-key']);
    if (status === 200) taken.push(JSON.parse(text));
    res.writeHead(status).end(status === 426 ? '{"code":"protocol","supported":[2]}' : '{"ok":true}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => (server.closeAllConnections(), server.close()));
  return { url: `http://127.0.0.1:${server.address().port}`, taken, keys, asked };
}

const session = { id: 's', visitorId: 'v' };

test('what fails is sent again, in order and with its key; what is refused is told and dropped', async (t) => {
  const statuses = [503, 0, 429, 200, 400, 401, 426, 200];
  const bridge = await serve(t, (n) => statuses[Math.min(n, statuses.length - 1)]);
  const told = [];
  const client = new BridgeClient({ url: bridge.url, onError: (e) => (told.push(e.code), assert.fail('it throws')) });
  const data = {};
  for (let i = 0; i < 3; i++) {
    data.n = i;
    client.send({ type: 'custom_event', event: { name: 'e', data }, session });
  }
  data.n = 'changed later';
  assert.ok(await client.flush(60_000));
  assert.deepEqual(bridge.taken.map((e) => e.event.data.n), [0, 2]);
  assert.equal(new Set(bridge.keys.slice(0, 3)).size, 1);
  assert.notEqual(bridge.keys[2], bridge.keys[3]);
  assert.equal(told.filter((code) => code === 'refused').length, 1);
  assert.equal(told.filter((code) => code === 'protocol').length, 1);
  assert.ok(bridge.asked.every((r) => r.headers['x-pocketping-protocol'] === String(PROTOCOL)));
  assert.equal(client.stats().sent, 2);
  assert.equal(client.stats().bridge.version, '1.2.3');
  await client.close();
});

test('receipts go in hundreds, and a queue has an end', async () => {
  const told = [];
  const client = new BridgeClient({ url: 'http://127.0.0.1:1', maxQueue: 4, onError: (e) => told.push(e.code) });
  client.send({ type: 'message_read', sessionId: 's', messageIds: Array.from({ length: 250 }, (_, i) => `m${i}`), status: 'read' });
  client.send({ type: 'session_closed', sessionId: 's' });
  client.send({ type: 'session_closed', sessionId: 'other' });
  assert.deepEqual(told, ['queue_full']);
  assert.equal(client.stats().queued, 4);
  await client.close(1);
  assert.equal(told.at(-1), 'closed');
});

test('what a client could not send is sent by the next one with the same spool, once', async (t) => {
  const spool = mkdtempSync(join(tmpdir(), 'spool-'));
  const gone = new BridgeClient({ url: 'http://127.0.0.1:1', spool });
  for (const id of ['a', 'b', 'c']) gone.send({ type: 'visitor_message_deleted', sessionId: 's', messageId: id });
  await gone.close(1);
  const bridge = await serve(t);
  for (let i = 0; i < 2; i++) {
    const client = new BridgeClient({ url: bridge.url, spool });
    assert.ok(await client.flush(60_000));
    await client.close();
  }
  assert.deepEqual(bridge.taken.map((e) => e.messageId), ['a', 'b', 'c']);
});

test('signatures', () => {
  const now = 1_700_000_000_000;
  const body = Buffer.from('{"type":"test"}');
  const sign = (key, at) => `v1,${createHmac('sha256', key).update(`evt_1.${at}.`).update(body).digest('base64')}`;
  const check = (secret, at, signature) =>
    genuine(secret, { 'webhook-id': 'evt_1', 'webhook-timestamp': String(at), 'webhook-signature': signature }, body, now);
  const at = now / 1000;
  assert.ok(check('plain secret', at, sign('plain secret', at)));
  assert.ok(check(`whsec_${Buffer.from('k').toString('base64')}`, at, sign('k', at)));
  assert.ok(check('plain secret', at, `v1,AAAA ${sign('plain secret', at)}`));
  for (const [secret, when, signature] of [
    ['plain secret', at, 'v1,AAAA'], ['plain secret', at, ''], ['', at, sign('', at)], ['plain secret', at + 1, sign('plain secret', at)],
    ['plain secret', at - 301, sign('plain secret', at - 301)], ['plain secret', at + 301, sign('plain secret', at + 301)],
    ['plain secret', 'x', sign('plain secret', 'x')],
  ]) assert.equal(check(secret, when, signature), false);
});

const secret = 'whsec_Y29udHJhY3QtY2FzZXMtc2VjcmV0LTAx';

function signed(event) {
  const body = JSON.stringify(event);
  const at = String(Math.floor(Date.now() / 1000));
  const mac = createHmac('sha256', Buffer.from(secret.slice(6), 'base64')).update(`${event.id}.${at}.${body}`).digest('base64');
  return { body, headers: { 'content-type': 'application/json', 'webhook-id': event.id, 'webhook-timestamp': at, 'webhook-signature': `v1,${mac}` } };
}

test('callbacks by fetch, by Fastify, and a body that was parsed too early', async (t) => {
  const bridge = await serve(t);
  const told = [];
  const client = new BridgeClient({ url: bridge.url, callback: { publicUrl: 'http://app', secret }, onError: (e) => told.push(e.message) });
  const got = [];
  const receiver = client.callbackReceiver((event) => {
    if (event.content === 'fails') throw new Error('no');
    got.push(event.content);
  });
  const post = (event) => receiver.fetch()(new Request('http://app/', { method: 'POST', ...signed(event) }));
  assert.equal((await post({ type: 'x', id: 'evt_1', content: 'one' })).status, 204);
  assert.equal((await post({ type: 'x', id: 'evt_1', content: 'one' })).status, 204);
  assert.equal((await post({ type: 'x', id: 'evt_2', content: 'fails' })).status, 500);
  assert.equal((await post({ type: 'x', id: 'evt_2', content: 'two' })).status, 204);
  assert.deepEqual(got, ['one', 'two']);

  let route;
  let parser;
  await receiver.fastify()({
    addContentTypeParser: (type, options, parse) => (parser = { type, options, parse }),
    post: (path, handler) => (route = { path, handler }),
  });
  assert.equal(route.path, '/pocketping/callback');
  const { body, headers } = signed({ type: 'x', id: 'evt_3', content: 'three' });
  let status;
  const reply = { code: (n) => ((status = n), reply), send: () => reply };
  parser.parse({}, Buffer.from(body), (_, raw) => (parser.raw = raw));
  await route.handler({ headers, body: parser.raw }, reply);
  assert.equal(status, 204);
  assert.deepEqual(got, ['one', 'two', 'three']);

  const res = { setHeader() {}, end(text) { res.text = text; res.done(); } };
  const done = new Promise((resolve) => (res.done = resolve));
  receiver.node()({ method: 'POST', headers, readableEnded: true, body: { parsed: true } }, res);
  await done;
  assert.equal(res.statusCode, 400);
  assert.match(told.at(-1), /before express\.json/);
  await client.close();
});

test('one line connects, the url is read from the configuration, and nothing is thrown', async (t) => {
  const bridge = await serve(t);
  const pp = new PocketPing({ bridgeServerUrl: bridge.url });
  const connection = connectBridge(pp, { onError: () => {} });
  assert.equal(connectBridge(pp), connection);
  const { sessionId } = await pp.handleConnect({ visitorId: 'v', sessionId: null });
  const { messageId } = await pp.handleMessage({ sessionId, content: 'Hello', sender: 'visitor' });
  assert.ok(await connection.flush(60_000));
  assert.deepEqual(bridge.taken.map((e) => e.type), ['new_session', 'visitor_message']);
  assert.equal(bridge.taken[1].message.id, messageId);
  await connection.close();
  await pp.handleMessage({ sessionId, content: 'After the end', sender: 'visitor' });
  assert.throws(() => connectBridge(new PocketPing({})), /bridgeServerUrl/);
});

test('a message that is saved again is there once, with and without upsert', async (t) => {
  const bridge = await serve(t);
  for (const upsert of [false, true]) {
    const pp = new PocketPing({ storage: new MemoryStorage({ upsert }) });
    const connection = connectBridge(pp, { url: bridge.url, onError: () => {} });
    const { sessionId } = await pp.handleConnect({ visitorId: 'v', sessionId: null });
    const { messageId } = await pp.handleMessage({ sessionId, content: 'Hello', sender: 'visitor' });
    await pp.handleRead({ sessionId, messageIds: [messageId], status: 'read' });
    await pp.handleRead({ sessionId, messageIds: [messageId], status: 'read' });
    const { messages } = await pp.handleConnect({ visitorId: 'v', sessionId });
    assert.equal(messages.length, 1);
    await connection.close();
  }
});

test('the option bridgeServerUrl works with one import, as a module and with require', async (t) => {
  const bridge = await serve(t);
  const dir = mkdtempSync(join(tmpdir(), 'auto-'));
  const pack = join(here, '..');
  const put = (name, text) => (mkdirSync(dirname(join(dir, name)), { recursive: true }), writeFileSync(join(dir, name), text));
  const sdk = readFileSync(join(here, 'standin.mjs'), 'utf8');
  put('node_modules/@pocketping/sdk-node/package.json', '{"exports":{"import":"./index.mjs","require":"./index.cjs"}}');
  put('node_modules/@pocketping/sdk-node/index.mjs', sdk);
  put('node_modules/@pocketping/sdk-node/index.cjs', sdk
    .replace(/^import \{(.*)\} from '(.*)';$/gm, "const {$1} = require('$2');")
    .replace(/^export class/gm, 'class') + '\nmodule.exports = { PocketPing, MemoryStorage };\n');
  execFileSync('cp', ['-r', join(pack, 'dist'), join(pack, 'auto'), join(pack, 'package.json'),
    (mkdirSync(join(dir, 'node_modules/@pocketping/bridge-client'), { recursive: true }), join(dir, 'node_modules/@pocketping/bridge-client'))]);
  const app = (load) => `${load}
    const pp = new PocketPing({ bridgeServerUrl: '${bridge.url}' });
    pp.middleware();
    pp.handleConnect({ visitorId: 'v' }).then(({ sessionId }) => pp.handleMessage({ sessionId, content: 'Hello', sender: 'visitor' }))
      .then(() => setTimeout(() => process.exit(0), 1500));`;
  put('app.mjs', app("import '@pocketping/bridge-client/auto';\nimport { PocketPing } from '@pocketping/sdk-node';"));
  put('app.cjs', app("require('@pocketping/bridge-client/auto');\nconst { PocketPing } = require('@pocketping/sdk-node');"));
  const { spawn } = await import('node:child_process');
  for (const file of ['app.mjs', 'app.cjs']) {
    bridge.taken.length = 0;
    const [code] = await once(spawn(process.execPath, [join(dir, file)], { stdio: 'inherit' }), 'exit');
    assert.equal(code, 0);
    assert.deepEqual(bridge.taken.map((e) => e.type), ['new_session', 'visitor_message'], file);
  }
});

test('the package has what is meant, loads both ways and needs nothing', () => {
  const pack = JSON.parse(readFileSync(join(here, '..', 'package.json'), 'utf8'));
  assert.equal(pack.dependencies, undefined);
  const [packed] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: join(here, '..'), encoding: 'utf8' }));
  const names = packed.files.map((f) => f.path);
  const modules = ['attach', 'callback', 'client', 'inbound', 'index', 'instances', 'outbox', 'protocol', 'routes', 'sdk', 'seen', 'spool', 'stream', 'types', 'wait'];
  const want = ['README.md', 'auto/index.cjs', 'auto/index.d.ts', 'auto/index.js', 'dist/cjs/package.json', 'package.json'];
  for (const kind of ['cjs', 'esm']) for (const name of modules) want.push(`dist/${kind}/${name}.d.ts`, `dist/${kind}/${name}.js`);
  assert.deepEqual(names.sort(), want.sort());
  const required = createRequire(import.meta.url)('../dist/cjs/index.js');
  assert.equal(typeof required.connectBridge, 'function');
  const lock = readFileSync(join(here, '..', 'package-lock.json'), 'utf8');
  assert.doesNotMatch(lock, /"resolved"|registry/);
});
