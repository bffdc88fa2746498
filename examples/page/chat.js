// A chat in the place of PocketPing's widget. It makes the same requests, to the same routes.
const endpoint = new URL('pocketping', location.href).href;
const $ = (id) => document.getElementById(id);
const messages = new Map();
let session;
let acting; // {edit: id} or {reply: id}

async function call(method, path, body) {
  const response = await fetch(`${endpoint}/${path}`, {
    method, headers: { 'Content-Type': 'application/json', 'X-PocketPing-Version': '2.8.0' }, body: body && JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`);
  return response.json();
}

function show(message) {
  const known = messages.get(message.id);
  messages.set(message.id, { ...known, ...message });
  draw();
}

function draw() {
  $('messages').replaceChildren(...[...messages.values()].map((m) => {
    const li = document.createElement('li');
    li.className = m.sender;
    li.dataset.id = m.id;
    if (m.status) li.dataset.status = m.status;
    const quoted = m.replyTo && messages.get(m.replyTo);
    if (quoted) li.append(Object.assign(document.createElement('blockquote'), { textContent: quoted.content }));
    li.append(Object.assign(document.createElement('span'), { className: 'text', textContent: m.deletedAt ? 'Message deleted' : m.content }));
    for (const file of (!m.deletedAt && m.attachments) || []) {
      li.append(' ', Object.assign(document.createElement('a'), { href: file.url, textContent: file.filename }));
    }
    const about = [m.editedAt && 'edited', m.sender === 'visitor' && m.status].filter(Boolean).join(', ');
    if (about) li.append(' ', Object.assign(document.createElement('small'), { textContent: about }));
    const act = (name, run) => {
      const button = Object.assign(document.createElement('button'), { type: 'button', textContent: name, className: name });
      button.onclick = run;
      li.append(' ', button);
    };
    if (m.sender === 'visitor' && !m.deletedAt) {
      act('edit', () => begin({ edit: m.id }, m.content));
      act('delete', async () => {
        await call('DELETE', `message/${m.id}?sessionId=${session}`);
        show({ id: m.id, deletedAt: new Date().toISOString() });
      });
    }
    if (m.sender !== 'visitor') act('reply', () => begin({ reply: m.id }, ''));
    return li;
  }));
}

function begin(what, text) {
  acting = what;
  $('about').hidden = false;
  $('about').textContent = what.edit ? 'Edit your message' : `Reply to “${messages.get(what.reply).content}”`;
  $('text').value = text;
  $('text').focus();
}

function seen() {
  const unread = [...messages.values()].filter((m) => m.sender !== 'visitor' && m.status !== 'read').map((m) => m.id);
  if (unread.length === 0 || document.hidden) return;
  for (const id of unread) messages.get(id).status = 'read';
  call('POST', 'read', { sessionId: session, messageIds: unread, status: 'read' });
}

let typingEnds;
function typing(is) {
  clearTimeout(typingEnds);
  $('typing').hidden = !is;
  if (is) typingEnds = setTimeout(() => typing(false), 8000);
}

const heard = {
  message(data) {
    if (data.sender !== 'visitor') typing(false);
    show(data);
    setTimeout(seen, 200);
  },
  message_edited: ({ messageId, content, editedAt }) => messages.has(messageId) && show({ id: messageId, content, editedAt }),
  message_deleted: ({ messageId, deletedAt }) => messages.has(messageId) && show({ id: messageId, deletedAt }),
  typing: (data) => data.sender !== 'visitor' && typing(data.isTyping),
  presence: ({ online }) => ($('presence').textContent = online ? 'Active now' : 'Leave a message'),
  read({ messageIds, status }) {
    for (const id of messageIds) if (messages.has(id) && messages.get(id).sender === 'visitor') show({ id, status });
  },
  csat_request: () => ($('rating').hidden = false),
};

async function upload(file) {
  const { attachmentId, uploadUrl } = await call('POST', 'upload', {
    sessionId: session, filename: file.name, mimeType: file.type || 'application/octet-stream', size: file.size,
  });
  await fetch(uploadUrl, { method: 'PUT', headers: { 'Content-Type': file.type }, body: file });
  await call('POST', 'upload/complete', { sessionId: session, attachmentId });
  return attachmentId;
}

$('write').onsubmit = async (event) => {
  event.preventDefault();
  const content = $('text').value;
  const file = $('file').files[0];
  const what = acting ?? {};
  acting = undefined;
  $('about').hidden = true;
  event.target.reset();
  if (what.edit) {
    const { message } = await call('PATCH', `message/${what.edit}`, { sessionId: session, content });
    show({ id: what.edit, content: message.content, editedAt: message.editedAt });
    return;
  }
  if (!content && !file) return;
  await call('POST', 'message', {
    sessionId: session, content, sender: 'visitor', attachmentIds: file ? [await upload(file)] : [], ...(what.reply ? { replyTo: what.reply } : {}),
  });
};
$('text').oninput = () => call('POST', 'typing', { sessionId: session, sender: 'visitor', isTyping: true });
$('rating').onsubmit = async (event) => {
  event.preventDefault();
  await call('POST', 'csat', { sessionId: session, score: Number(event.submitter.value) });
  event.target.replaceChildren('Thank you.');
};
document.addEventListener('visibilitychange', seen);
addEventListener('pagehide', () => navigator.sendBeacon(`${endpoint}/disconnect`, new Blob(
  [JSON.stringify({ sessionId: session, duration: Math.round(performance.now() / 1000), reason: 'page_unload' })], { type: 'application/json' })));

const keep = (name, make) => localStorage[name] ?? (localStorage[name] = make());
const connected = await call('POST', 'connect', {
  visitorId: keep('visitor', () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 11)}`),
  sessionId: localStorage.session ?? null,
  metadata: { url: location.href, pageTitle: document.title, userAgent: navigator.userAgent, language: navigator.language },
  ...(new URLSearchParams(location.search).get('name') ? { identity: { id: 'example', name: new URLSearchParams(location.search).get('name') } } : {}),
});
session = localStorage.session = connected.sessionId;
connected.messages.forEach(show);
heard.presence({ online: connected.operatorOnline });
const stream = new EventSource(`${endpoint}/stream?sessionId=${session}`);
stream.onmessage = ({ data }) => {
  const event = JSON.parse(data);
  heard[event.type]?.(event.data);
};
stream.onopen = () => (document.body.dataset.ready = 'true');
