<?php
// An app server in PHP, connected to the bridge: one file to copy. PHP has no process that stays, so
//  - what is sent is first written to a spool folder and then posted; what the bridge did not take is posted by the next request
//    (or by a cron job: php bridge.php flush), in order for each session;
//  - what operators do comes by callbacks.
//
//   BRIDGE_URL=http://localhost:3001 php -S localhost:3005 bridge.php    # beside make demo; the demo below the class
//   curl -s localhost:3005/message -d '{"session": "s1", "text": "Hello"}'
declare(strict_types=1);

final class Bridge
{
    public function __construct(
        private string $url, private string $apiKey, private string $secret, private string $spool, private string $callbackId = 'php',
    ) {
        @mkdir($spool, 0700, true);
    }

    /** Keeps an event and tries to send all that waits. It throws only if the event cannot be kept. */
    public function send(array $event): void
    {
        // An empty PHP array is [] in JSON, where a map must be {}.
        foreach (['metadata', 'identity'] as $map) {
            if (isset($event['session'][$map])) $event['session'][$map] = (object) $event['session'][$map];
        }
        if (isset($event['event']['data'])) $event['event']['data'] = (object) $event['event']['data'];
        $letter = [
            'session' => $event['sessionId'] ?? $event['session']['id'] ?? '',
            'key' => bin2hex(random_bytes(16)), // a repeat is recognised by it
            'body' => json_encode($event, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES),
        ];
        $lock = $this->lock('names', LOCK_EX); // names are in the order of the events
        $name = sprintf('%s/%020d.json', $this->spool, max((int) (microtime(true) * 1e6), 1 + (int) @file_get_contents("$this->spool/last")));
        file_put_contents("$this->spool/last", (string) (int) basename($name));
        if (file_put_contents("$name.part", json_encode($letter, JSON_THROW_ON_ERROR)) === false || !rename("$name.part", $name)) {
            throw new RuntimeException("the spool $this->spool cannot be written");
        }
        fclose($lock);
        $this->flush();
    }

    /** A time as the bridge reads it. Two edits of one second must not look the same, so it has microseconds. */
    public static function now(): string
    {
        return (new DateTimeImmutable('now', new DateTimeZone('UTC')))->format('Y-m-d\TH:i:s.u\Z');
    }

    /** Sends what waits, oldest first. Another request that does so already does it for this one, too. */
    public function flush(): void
    {
        $lock = $this->lock('flush', LOCK_EX | LOCK_NB);
        if (!$lock) return;
        $held = []; // sessions of which an event could not be sent
        do {
            $names = array_filter(glob("$this->spool/*.json"), static fn ($name) => !isset($held[$name]));
            foreach ($names as $name) {
                $letter = json_decode((string) file_get_contents($name), true);
                if (isset($held['session ' . $letter['session']])) {
                    $held[$name] = true;
                    continue;
                }
                $status = $this->post('/api/events', $letter['body'], ["Idempotency-Key: {$letter['key']}"]);
                if ($status === 0) break 2; // nobody is there: no sense in a time-out for each
                if ($status === 401 || in_array($status, [408, 425, 426, 429], true) || $status >= 500) {
                    $held[$name] = $held['session ' . $letter['session']] = true;
                    continue;
                }
                if ($status !== 200) error_log("bridge: refused with $status: {$letter['body']}");
                unlink($name);
            }
        } while ($names && count($held) === 0);
        fclose($lock);
    }

    /** Registers the callback. Call it at deployment, and from time to time: it expires after a day without events. */
    public function register(string $callbackUrl): bool
    {
        $body = json_encode(['url' => $callbackUrl, 'secret' => $this->secret, 'ttl' => 86400], JSON_UNESCAPED_SLASHES);
        return in_array($this->post("/api/callbacks/$this->callbackId", $body, [], 'PUT'), [200, 201], true);
    }

    /** The event of a callback, or null if its signature is wrong or old. $body is php://input, unparsed. */
    public function event(string $body, array $server): ?array
    {
        $id = $server['HTTP_WEBHOOK_ID'] ?? '';
        $at = $server['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
        if (!ctype_digit($at) || abs(time() - (int) $at) > 300) return null;
        $key = str_starts_with($this->secret, 'whsec_') ? base64_decode(substr($this->secret, 6)) : $this->secret;
        $want = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$at.$body", $key, true));
        foreach (explode(' ', $server['HTTP_WEBHOOK_SIGNATURE'] ?? '') as $signature) {
            if (hash_equals($want, $signature)) return json_decode($body, true);
        }
        return null;
    }

    /** Says whether a callback is a repeat, and notes it. Call it when the event is done with. */
    public function repeated(string $id): bool
    {
        @mkdir("$this->spool/seen", 0700);
        return @fopen("$this->spool/seen/" . hash('sha256', $id), 'x') === false;
    }

    private function lock(string $name, int $how)
    {
        $file = fopen("$this->spool/$name.lock", 'c');
        return flock($file, $how) ? $file : null;
    }

    /** Makes one request and returns its status, 0 where there was no answer. A visitor's request waits for it: 2 seconds at most. */
    private function post(string $path, string $body, array $headers, string $method = 'POST'): int
    {
        $headers = [...$headers, 'Content-Type: application/json', 'X-PocketPing-Protocol: 1', "X-PocketPing-Callback: $this->callbackId"];
        if ($this->apiKey !== '') $headers[] = "Authorization: Bearer $this->apiKey";
        $context = stream_context_create(['http' => [
            'method' => $method, 'header' => implode("\r\n", $headers), 'content' => $body, 'timeout' => 2, 'ignore_errors' => true,
        ]]);
        $answer = @file_get_contents($this->url . $path, false, $context);
        if ($answer === false) return 0;
        return preg_match('#^HTTP/\S+ (\d+)#', $http_response_header[0] ?? '', $m) ? (int) $m[1] : 0;
    }
}

// The demo: POST /message {session, text}, POST /edit {session, id, text}, GET /answers, and the callback.

$bridge = new Bridge(
    getenv('BRIDGE_URL') ?: 'http://localhost:3001', getenv('BRIDGE_API_KEY') ?: '',
    getenv('CALLBACK_SECRET') ?: 'only-for-this-demonstration', getenv('SPOOL') ?: sys_get_temp_dir() . '/bridge-spool',
);
$answers = (getenv('SPOOL') ?: sys_get_temp_dir() . '/bridge-spool') . '/answers';
if (PHP_SAPI === 'cli') {
    ($argv[1] ?? '') === 'register' ? exit($bridge->register($argv[2]) ? 0 : 1) : $bridge->flush();
    exit;
}
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$body = file_get_contents('php://input');
$in = json_decode($body, true) ?? [];
header('Content-Type: application/json');
switch ($path) {
    case '/message':
        $id = bin2hex(random_bytes(8));
        $bridge->send([
            'type' => 'visitor_message',
            'message' => ['id' => $id, 'sessionId' => $in['session'], 'content' => $in['text'], 'sender' => 'visitor', 'timestamp' => Bridge::now()],
            'session' => ['id' => $in['session'], 'visitorId' => $in['session'], 'metadata' => []],
        ]);
        echo json_encode(['id' => $id]);
        break;
    case '/edit':
        $bridge->send([
            'type' => 'visitor_message_edited', 'sessionId' => $in['session'], 'messageId' => $in['id'], 'content' => $in['text'],
            'editedAt' => Bridge::now(),
        ]);
        echo '{"ok":true}';
        break;
    case '/answers':
        echo '[' . implode(',', @file($answers, FILE_IGNORE_NEW_LINES) ?: []) . ']';
        break;
    case '/pocketping/callback':
        $event = $bridge->event($body, $_SERVER);
        if ($event === null) {
            http_response_code(401);
            echo '{"error":"the signature is wrong or too old"}';
            break;
        }
        if ($event['type'] === 'operator_message' && !$bridge->repeated($event['id'])) {
            file_put_contents($answers, json_encode(['session' => $event['sessionId'], 'text' => $event['content']]) . "\n", FILE_APPEND | LOCK_EX);
        }
        http_response_code(204); // what is of no interest here is taken, too
        break;
    default:
        http_response_code(404);
        echo '{"error":"not found"}';
}
