package redis

import "github.com/redis/go-redis/v9"

// commitScript writes a group of batches, each wholly or not at all: everything of a batch is checked before anything of it
// is written, since Redis does not undo a script. When Redis refuses writes it refuses the first one, so that nothing of
// the group is written. A key that holds another type fails its own batch alone.
//
// Every key stands in KEYS. A cluster whose slot is moving then refuses the whole call before it runs.
//
// KEYS  seq, log, words, lanes, moving, then for each batch, in this order, those that it has
//
//	claims:<session>                        of a batch whose kind begins with a
//	lease:<name>
//	claims:<session> or claim:<key>         for each claim
//	rows:<table>                            for each condition on a row
//	claims:<session>                        for each condition on a claim
//	rows:<table>, index:<table>, owned:<session>    for each row, the second when the table is in order, the third when the row
//	                                        has an owner
//	done:<lane>
//
// ARGV  milliseconds that a claim without a session lives, a floor below which no Seq is given, number of batches, then for
// each batch either, for an event of a session with one claim of the same session,
//
//	kind, key, entry                        kind is a, with an o when the event makes the session known, and an s when it is
//	                                        its last message now
//
// or
//
//	b
//	leased, token                           leased is 1 when a lease must hold the token, or 0
//	n, then n × session, key, sum, way      claims; way is 0, 1 (soft) or 2 (moves)
//	n, then n × key, there, value           conditions on rows; there is 0 (must be absent) or 1
//	n, then n × key, Seq                    conditions on claims; 0: it must not be taken
//	n, then n × session, entry              events
//	n, then n × table, key, put, owner, value, ordered    rows; put is 0 (delete) or 1, ordered 1 when the table is in order
//	lane, cursor, n, then n × seq, target   progress; an empty lane: none; cursor 0: unmoved
//
// Returns three values for each batch: 0 and the Seq of its first event (0: it has none); 1 (duplicate) and the first Seq of
// the batch that holds the claim (0: it had none); 2 (a row has changed), 3 (conflict), 4 (lease lost), each with 0; 5 and
// the error of Redis, when nothing of the batch is written; and the Seq of the log's last entry before the batch.
// Then follow the clock in microseconds, and session, table and key of each row that left an owner who still lists it.
//
// While the store is exported or imported, and after it was exported for good, the answer is an error that begins with CLOSED and then has
// what moving says.
//
// The end of the log is what the stream says. XINFO STREAM is the one command that always tells it, and copies the stream's first entry,
// which may be large and stays for as long as the log is not trimmed. So the key seq has the end that events had last: where the stream's
// last entry is the one that it names, that is the end. By itself it is believed only where the stream is gone. Versions before read it
// there, too.
//
// Numbers are doubles in Lua: a Seq is exact up to 2^53, the year 2255, and is printed with %.0f, never in exponent form.
var commitScript = redis.NewScript(`
local call, pcall, format, sub = redis.call, redis.pcall, string.format, string.sub
local claimsAt = #'` + keyClaims + `' + 1
local at, keyAt = 0, 5
local function take()
	at = at + 1
	return ARGV[at]
end
local function key()
	keyAt = keyAt + 1
	return KEYS[keyAt]
end
local function group(width)
	local rows = {}
	for i = 1, tonumber(take()) do
		local row = {}
		for j = 1, width do row[j] = take() end
		rows[i] = row
	end
	return rows
end
local function text(number) return format('%.0f', number) end
local function failed(reply) return type(reply) == 'table' and reply.err end

-- mistyped returns an error when a key holds anything but the wanted type.
local function mistyped(name, want)
	local kind = call('TYPE', name).ok
	if kind ~= want and kind ~= 'none' then return 'WRONGTYPE ' .. name .. ' is a ' .. kind .. ', not a ' .. want end
end

local seqKey, log, wordsKey, lanesKey = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local known, newest = pcall('GET', seqKey), pcall('XREVRANGE', log, '+', '-', 'COUNT', 1)
local wrong = failed(known) or failed(newest) or mistyped(wordsKey, 'zset') or mistyped(lanesKey, 'hash')
if wrong then return redis.error_reply(wrong) end

local moving = call('GET', KEYS[5])
if moving and string.sub(moving, 1, 6) ~= 'drain ' then return redis.error_reply('CLOSED ' .. moving) end

local ttl, floor, batches = take(), tonumber(take()), tonumber(take())
local clock = call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

-- last is the newest entry of the log, least what the next one must be above.
local last
if known and newest[1] and newest[1][1] == known .. '-0' then
	last = tonumber(known)
elseif newest[1] or call('EXISTS', log) == 1 then
	local info = call('XINFO', 'STREAM', log)
	for i = 1, #info - 1, 2 do
		if info[i] == 'last-generated-id' then last = tonumber(string.match(info[i + 1], '^%d+')) end
	end
	if not last then return redis.error_reply('ERR XINFO STREAM does not tell last-generated-id') end
else
	last = 0
	floor = math.max(floor, tonumber(known or nil) or 0)
	for _, cursor in ipairs(call('HVALS', lanesKey)) do floor = math.max(floor, tonumber(cursor)) end
end
local ended = last
local least = math.max(last, floor)
local function advance()
	last = math.max(least + 1, now)
	least = last
	return last
end

-- Last words are written once for the group, when everything else is.
local words = {}

-- Rows that left an owner whose set is not among the keys.
local left = {}

local function claimed(session, name, field)
	local value
	if session == '' then
		value = pcall('GET', name)
	else
		value = pcall('HGET', name, field)
	end
	if failed(value) then return nil, value.err end
	if not value then return nil end
	return {string.match(value, '^(%d+):(%d):(.*)$')}
end

-- row returns a row's owner and value, or nothing; or nothing, nothing and an error.
local function row(name, field)
	local kept = pcall('HGET', name, field)
	if failed(kept) then return nil, nil, kept.err end
	if not kept then return nil end
	local colon = string.find(kept, ':', 1, true)
	local owner = tonumber(string.sub(kept, 1, colon - 1))
	return string.sub(kept, colon + 1, colon + owner), string.sub(kept, colon + owner + 1)
end

-- sound returns an error when a key that is only written has another type.
local function sound(b)
	for _, r in ipairs(b.rows) do
		local _, _, err = row(r.rows, r[2])
		err = err or r.owned and mistyped(r.owned, 'set') or r.index and mistyped(r.index, 'zset')
		if err then return err end
	end
	if b.done then return mistyped(b.done, 'zset') end
end

local function check(b)
	if b.lease then
		local holder = pcall('GET', b.lease)
		if failed(holder) then return 5, holder.err end
		if holder ~= b.token then return 4, 0 end
	end
	local duplicate
	for _, c in ipairs(b.claims) do
		local held, err = claimed(c[1], c.key, c[2])
		if err then return 5, err end
		if held and c[4] == '0' then
			if c[3] ~= '' and held[3] ~= '' and c[3] ~= held[3] then return 3, 0 end
			if not duplicate then
				duplicate = 0
				if held[2] == '1' then duplicate = tonumber(held[1]) end
			end
		end
	end
	if duplicate then return 1, duplicate end
	for _, c in ipairs(b.conditions) do
		local owner, value, err = row(c.key, c[1])
		if err then return 5, err end
		if (owner == nil) ~= (c[2] == '0') then return 2, 0 end
		if owner and value ~= c[3] then return 2, 0 end
	end
	for _, c in ipairs(b.taken) do
		local held, err = claimed(c.key, c.key, c[1])
		if err then return 5, err end
		if (held and held[1] or '0') ~= c[2] then return 2, 0 end
	end
	local err = sound(b)
	if err then return 5, err end
	return 0, 0
end

local function begin(session, when)
	if session ~= '' and not words[session] then call('ZADD', wordsKey, 'NX', when, session) end
end

-- accept is check and write for the batch that every accepted message is. That of the log is the first write.
local function accept(kind, claims, name, entry)
	local held = pcall('HMGET', claims, name, 'session', 'said')
	if held.err then return 5, held.err end
	if held[1] then
		local at, appended = string.match(held[1], '^(%d+):(%d)')
		return 1, appended == '1' and tonumber(at) or 0
	end
	local seq = least + 1
	if seq < now then seq = now end
	local id = format('%.0f', seq)
	local added = pcall('XADD', log, id .. '-0', 'e', entry)
	if failed(added) then return 5, added.err end
	local value = id .. ':1:'
	local said = kind == 'as' or kind == 'aos'
	if not held[2] and (kind == 'ao' or kind == 'aos') then
		if said then
			call('HSET', claims, name, value, 'session', value, 'said', value)
		else
			call('HSET', claims, name, value, 'session', value)
		end
	elseif said then
		call('HSET', claims, name, value, 'said', value)
	else
		call('HSET', claims, name, value)
	end
	-- The same first seven of sixteen digits: not 17 minutes lie between them.
	if not said or not held[3] or sub(held[3], 1, 7) ~= sub(id, 1, 7) then words[sub(claims, claimsAt)] = id end
	last, least = seq, seq
	return 0, seq
end

local function putRow(r, when)
	local field, put, owner, value = r[2], r[3], r[4], r[5]
	local member = r[1] .. '\0' .. field
	local before = row(r.rows, field)
	if before and before ~= '' and (put == '0' or before ~= owner) then
		if before == owner then
			call('SREM', r.owned, member)
		else
			left[#left + 1] = before
			left[#left + 1] = r[1]
			left[#left + 1] = field
		end
	end
	if put == '0' then
		call('HDEL', r.rows, field)
		if r.index then call('ZREM', r.index, field) end
		return
	end
	if r.index then call('ZADD', r.index, 0, field) end
	call('HSET', r.rows, field, #owner .. ':' .. owner .. value)
	if owner ~= '' then
		call('SADD', r.owned, member)
		begin(owner, when)
	end
end

local function write(b)
	local first = 0
	local when = now
	for i, e in ipairs(b.events) do
		local seq = advance()
		if i == 1 then
			first = seq
			when = seq
		end
		call('XADD', log, text(seq) .. '-0', 'e', e[2])
		if e[1] ~= '' then words[e[1]] = text(seq) end
	end
	when = text(when)

	local appended = '0'
	if first > 0 then appended = '1' end
	for _, c in ipairs(b.claims) do
		local value = when .. ':' .. appended .. ':' .. c[3]
		if c[1] == '' then
			if c[4] == '1' then
				call('SET', c.key, value, 'PX', ttl, 'NX')
			else
				call('SET', c.key, value, 'PX', ttl)
			end
		else
			if c[4] == '1' then
				call('HSETNX', c.key, c[2], value)
			else
				call('HSET', c.key, c[2], value)
			end
			begin(c[1], when)
		end
	end

	for _, r in ipairs(b.rows) do putRow(r, when) end

	if b.lane ~= '' then
		-- Of two writes that overtake each other the higher cursor stays.
		local cursor, kept = b.cursor, call('HGET', lanesKey, b.lane) or '0'
		if tonumber(kept) > tonumber(cursor) then cursor = kept end
		call('HSET', lanesKey, b.lane, cursor)
		for _, m in ipairs(b.marks) do
			if tonumber(m[1]) > tonumber(cursor) then
				local member = m[1]
				if m[2] ~= '' then member = member .. '/' .. m[2] end
				call('ZADD', b.done, m[1], member)
			end
		end
		if b.cursor ~= '0' then
			-- Where very many were waiting for one, some go with each write.
			local over = call('ZCOUNT', b.done, '-inf', cursor)
			if over > 0 then call('ZREMRANGEBYRANK', b.done, 0, math.min(over, 1000) - 1) end
		end
	end
	return first
end

-- batch reads one of ARGV, and gives it its keys.
local function batch()
	local b = {}
	if take() == '1' then b.lease = key() end
	b.token = take()
	b.claims = group(4)
	for _, c in ipairs(b.claims) do c.key = key() end
	b.conditions = group(3)
	for _, c in ipairs(b.conditions) do c.key = key() end
	b.taken = group(2)
	for _, c in ipairs(b.taken) do c.key = key() end
	b.events = group(2)
	b.rows = group(6)
	for _, r in ipairs(b.rows) do
		r.rows = key()
		if r[6] == '1' then r.index = key() end
		if r[4] ~= '' then r.owned = key() end
	end
	b.lane, b.cursor = take(), take()
	b.marks = group(2)
	if b.lane ~= '' then b.done = key() end
	return b
end

local reply = {}
for i = 1, batches do
	local before, code, seq = last
	local kind = take()
	if kind ~= 'b' then
		code, seq = accept(kind, key(), ARGV[at + 1], ARGV[at + 2])
		at = at + 2
	else
		local b = batch()
		code, seq = check(b)
		if code == 0 then seq = write(b) end
	end
	reply[3 * i - 2] = code
	reply[3 * i - 1] = seq
	reply[3 * i] = before
end
local spoken = {}
for session, word in pairs(words) do
	spoken[#spoken + 1] = word
	spoken[#spoken + 1] = session
	if #spoken == 1000 then
		call('ZADD', wordsKey, unpack(spoken))
		spoken = {}
	end
end
if #spoken > 0 then call('ZADD', wordsKey, unpack(spoken)) end
-- Always, so that WAIT on this connection covers what a duplicate was answered for.
if last ~= ended or not known then known = text(least) end
call('SET', seqKey, known)
reply[#reply + 1] = now
for _, value in ipairs(left) do reply[#reply + 1] = value end
return reply
`)

const (
	codeWritten = iota
	codeDuplicate
	codeChanged
	codeConflict
	codeLeaseLost
	codeRefused
)

// forgetScript removes rows of sessions, and the sessions that have no others with all their claims, unless they have spoken
// meanwhile. The place of a session's last word may be up to 17 minutes behind: then its last message tells, and the place becomes
// that one's.
//
// KEYS  words, then for each session claims:<session> and owned:<session>, then for each table rows:<table> and index:<table>
// ARGV  the Seq before which the last word must be or +inf, number of sessions, the sessions, number of rows, then for each row
// the number of its session, the table and the number of it, from 1, and the row's key
// Returns how many sessions went.
var forgetScript = redis.NewScript(`
local before, sessions = ARGV[1], tonumber(ARGV[2])
local old = {}
for i = 1, sessions do
	local word = redis.call('ZSCORE', KEYS[1], ARGV[i + 2])
	old[i] = before == '+inf' or (word and tonumber(word) < tonumber(before))
	if old[i] and before ~= '+inf' then
		local said = redis.call('HGET', KEYS[2 * i], 'said')
		said = said and string.match(said, '^%d+')
		if said and tonumber(said) >= tonumber(before) then
			redis.call('ZADD', KEYS[1], said, ARGV[i + 2])
			old[i] = false
		end
	end
end
local at = sessions + 3
for i = 1, tonumber(ARGV[at]) do
	local of, tbl, number, field = tonumber(ARGV[at + 1]), ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4]
	at = at + 4
	if old[of] then
		local session = ARGV[of + 2]
		local owner = #session .. ':' .. session
		local rows = 2 * sessions + 2 * number
		-- The set may list what has another owner by now.
		local kept = redis.call('HGET', KEYS[rows], field)
		if kept and string.sub(kept, 1, #owner) == owner then
			redis.call('HDEL', KEYS[rows], field)
			redis.call('ZREM', KEYS[rows + 1], field)
		end
		redis.call('SREM', KEYS[2 * of + 1], tbl .. '\0' .. field)
	end
end
local gone = 0
for i = 1, sessions do
	if old[i] and redis.call('EXISTS', KEYS[2 * i + 1]) == 0 then
		redis.call('UNLINK', KEYS[2 * i])
		redis.call('ZREM', KEYS[1], ARGV[i + 2])
		gone = gone + 1
	end
end
return gone
`)

// disownScript takes rows off the lists of sessions that no longer own them.
//
// KEYS  for each row owned:<session> and rows:<table>
// ARGV  for each row the session, the table, the row's key
var disownScript = redis.NewScript(`
for i = 1, #KEYS, 2 do
	local at = (i - 1) / 2 * 3
	local session, tbl, field = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
	local owner = #session .. ':' .. session
	local kept = redis.call('HGET', KEYS[i + 1], field)
	if not kept or string.sub(kept, 1, #owner) ~= owner then redis.call('SREM', KEYS[i], tbl .. '\0' .. field) end
end
return redis.status_reply('OK')
`)

// forgetLaneScript removes marks of a lane, and the lane with the last of them.
//
// KEYS  lanes, the lane's done, a lease
// ARGV  lane, 1 when the lease must be held or 0, its holder, how many marks
// Returns 1 when it went, 0 when the lease is not held, 2 when there are more marks.
var forgetLaneScript = redis.NewScript(`
if ARGV[2] == '1' and redis.call('GET', KEYS[3]) ~= ARGV[3] then return 0 end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, ARGV[4] - 1)
if redis.call('EXISTS', KEYS[2]) == 1 then return 2 end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
`)

// acquireScript takes a lease that is free, or held by this holder, or by one who is known to be dead.
//
// KEYS  the lease, moving
// ARGV  holder, milliseconds that it is held, the holder who is dead or nothing
// Returns nothing when it is held now, else who holds it. While the store is being moved for good the answer is an error: that begins with
// MOVING when it is held, and renewed, and else with CLOSED.
var acquireScript = redis.NewScript(`
local holder = redis.call('GET', KEYS[1])
local moving = redis.call('GET', KEYS[2])
if moving and string.sub(moving, 1, 7) ~= 'export ' then
	if holder ~= ARGV[1] then return redis.error_reply('CLOSED ' .. moving) end
	redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
	return redis.error_reply('MOVING ' .. moving)
end
if holder and holder ~= ARGV[1] and holder ~= ARGV[3] then return holder end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
`)

// releaseScript gives a lease back that this holder has.
//
// KEYS  the lease
// ARGV  holder
// Returns 1 when it was held, else 0.
var releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`)
