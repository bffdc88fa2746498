package redis

// commitSource writes a group of batches, each wholly or not at all: everything of a batch is checked before anything of it
// is written, since Redis does not undo a script. When Redis refuses writes it refuses the first one, so that nothing of
// the group is written.
//
// KEYS  seq, log, words, lanes; all others are made of the prefix
// ARGV  prefix, milliseconds that a claim without a session lives, number of batches, then for each batch either, for an event
// of a session with one claim of the same session,
//
//	a, session, key, opens, entry           opens is 1 when the event makes the session known
//
// or
//
//	b
//	lease name, token                       empty, empty: none
//	n, then n × session, key, sum, soft     claims; soft is 0 or 1
//	n, then n × table, key, there, value    conditions; there is 0 (must be absent) or 1
//	n, then n × session, entry              events
//	n, then n × table, key, put, owner, value    rows; put is 0 (delete) or 1
//	lane, cursor, n, then n × seq, target   progress; an empty lane: none; cursor 0: unmoved
//
// Returns three numbers for each batch: 0 and the Seq of its first event (0: it has none); 1 (duplicate) and the first Seq of
// the batch that holds the claim (0: it had none); 2 (a row has changed), 3 (conflict), 4 (lease lost), each with 0; and the
// Seq that was given last before the batch.
//
// Numbers are doubles in Lua: a Seq is exact up to 2^53, the year 2255, and is printed with %.0f, never in exponent form.
const commitSource = `
local at = 1
local function take()
	local value = ARGV[at]
	at = at + 1
	return value
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
local function text(number) return string.format('%.0f', number) end

local prefix, ttl, batches = take(), take(), tonumber(take())
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local last = tonumber(redis.call('GET', KEYS[1]) or nil)
if not last then
	-- New, or lost: the log may still know what it was given.
	last = 0
	local info = redis.pcall('XINFO', 'STREAM', KEYS[2])
	for i = 1, #info - 1, 2 do
		if info[i] == 'last-generated-id' then last = tonumber(string.match(info[i + 1], '^%d+')) end
	end
end

-- Last words are written once for the group, when everything else is.
local words = {}

local function claimed(session, key)
	local value
	if session == '' then
		value = redis.call('GET', prefix .. 'claim:' .. key)
	else
		value = redis.call('HGET', prefix .. 'claims:' .. session, key)
	end
	if not value then return nil end
	return string.match(value, '^(%d+):(%d):(.*)$')
end

-- row returns a row's owner and value, or nothing.
local function row(tbl, key)
	local kept = redis.call('HGET', prefix .. 'rows:' .. tbl, key)
	if not kept then return nil end
	local colon = string.find(kept, ':', 1, true)
	local owner = tonumber(string.sub(kept, 1, colon - 1))
	return string.sub(kept, colon + 1, colon + owner), string.sub(kept, colon + owner + 1)
end

local function check(b)
	if b.lease ~= '' or b.token ~= '' then
		if redis.call('GET', prefix .. 'lease:' .. b.lease) ~= b.token then return 4, 0 end
	end
	local duplicate
	for _, c in ipairs(b.claims) do
		if c[4] == '0' then
			local when, appended, sum = claimed(c[1], c[2])
			if when then
				if c[3] ~= '' and sum ~= '' and c[3] ~= sum then return 3, 0 end
				if not duplicate then
					duplicate = 0
					if appended == '1' then duplicate = tonumber(when) end
				end
			end
		end
	end
	if duplicate then return 1, duplicate end
	for _, c in ipairs(b.conditions) do
		local owner, value = row(c[1], c[2])
		if (owner == nil) ~= (c[3] == '0') then return 2, 0 end
		if owner and value ~= c[4] then return 2, 0 end
	end
	return 0, 0
end

local function begin(session, when)
	if session ~= '' and not words[session] then redis.call('ZADD', KEYS[3], 'NX', when, session) end
end

-- accept is write for the batch that every accepted message is. Taking the claim is its only check, and the first write.
local call, format, log = redis.call, string.format, KEYS[2]
local owned = prefix .. 'claims:'
local function accept(session, key, opens, entry)
	local seq = last + 1
	if seq < now then seq = now end
	local id = format('%.0f', seq)
	local value, claims = id .. ':1:', owned .. session
	if call('HSETNX', claims, key, value) == 0 then
		local when, appended = claimed(session, key)
		return 1, appended == '1' and tonumber(when) or 0
	end
	call('XADD', log, id .. '-0', 'e', entry)
	if opens == '1' then call('HSETNX', claims, 'session', value) end
	words[session] = id
	last = seq
	return 0, seq
end

local function write(b)
	local first = 0
	local when = now
	for i, e in ipairs(b.events) do
		last = math.max(last + 1, now)
		if i == 1 then
			first = last
			when = last
		end
		redis.call('XADD', KEYS[2], text(last) .. '-0', 'e', e[2])
		if e[1] ~= '' then words[e[1]] = text(last) end
	end
	when = text(when)

	local appended = '0'
	if first > 0 then appended = '1' end
	for _, c in ipairs(b.claims) do
		local value = when .. ':' .. appended .. ':' .. c[3]
		if c[1] == '' then
			local key = prefix .. 'claim:' .. c[2]
			if c[4] == '1' then
				redis.call('SET', key, value, 'PX', ttl, 'NX')
			else
				redis.call('SET', key, value, 'PX', ttl)
			end
		else
			local key = prefix .. 'claims:' .. c[1]
			if c[4] == '1' then
				redis.call('HSETNX', key, c[2], value)
			else
				redis.call('HSET', key, c[2], value)
			end
			begin(c[1], when)
		end
	end

	for _, r in ipairs(b.rows) do
		local tbl, key, put, owner, value = r[1], r[2], r[3], r[4], r[5]
		local before = row(tbl, key)
		if before and before ~= '' and (put == '0' or before ~= owner) then
			redis.call('SREM', prefix .. 'owned:' .. before, tbl .. '\0' .. key)
		end
		if put == '0' then
			redis.call('HDEL', prefix .. 'rows:' .. tbl, key)
		else
			redis.call('HSET', prefix .. 'rows:' .. tbl, key, #owner .. ':' .. owner .. value)
			if owner ~= '' then
				redis.call('SADD', prefix .. 'owned:' .. owner, tbl .. '\0' .. key)
				begin(owner, when)
			end
		end
	end

	if b.lane ~= '' then
		-- Of two writes that overtake each other the higher cursor stays.
		local cursor, kept = b.cursor, redis.call('HGET', KEYS[4], b.lane) or '0'
		if tonumber(kept) > tonumber(cursor) then cursor = kept end
		redis.call('HSET', KEYS[4], b.lane, cursor)
		local done = prefix .. 'done:' .. b.lane
		for _, m in ipairs(b.done) do
			if tonumber(m[1]) > tonumber(cursor) then
				local member = m[1]
				if m[2] ~= '' then member = member .. '/' .. m[2] end
				redis.call('ZADD', done, m[1], member)
			end
		end
		if b.cursor ~= '0' then redis.call('ZREMRANGEBYSCORE', done, '-inf', cursor) end
	end
	return first
end

local reply = {}
for i = 1, batches do
	local before, code, seq = last
	if ARGV[at] == 'a' then
		code, seq = accept(ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
		at = at + 5
	else
		at = at + 1
		local b = {lease = take(), token = take()}
		b.claims = group(4)
		b.conditions = group(4)
		b.events = group(2)
		b.rows = group(5)
		b.lane, b.cursor = take(), take()
		b.done = group(2)
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
		redis.call('ZADD', KEYS[3], unpack(spoken))
		spoken = {}
	end
end
if #spoken > 0 then redis.call('ZADD', KEYS[3], unpack(spoken)) end
-- Always, so that WAIT on this connection covers what a duplicate was answered for.
redis.call('SET', KEYS[1], text(last))
return reply
`

const (
	codeWritten = iota
	codeDuplicate
	codeChanged
	codeConflict
	codeLeaseLost
)

// forgetSource removes sessions with all their claims and rows, unless they have spoken meanwhile.
//
// KEYS  words
// ARGV  prefix, the Seq before which the last word must be or +inf, then the sessions
// Returns how many sessions went.
const forgetSource = `
local prefix, before = ARGV[1], ARGV[2]
local gone = 0
for i = 3, #ARGV do
	local session = ARGV[i]
	local word = redis.call('ZSCORE', KEYS[1], session)
	if before == '+inf' or (word and tonumber(word) < tonumber(before)) then
		local owned = prefix .. 'owned:' .. session
		for _, member in ipairs(redis.call('SMEMBERS', owned)) do
			local cut = string.find(member, '\0', 1, true)
			redis.call('HDEL', prefix .. 'rows:' .. string.sub(member, 1, cut - 1), string.sub(member, cut + 1))
		end
		redis.call('UNLINK', owned, prefix .. 'claims:' .. session)
		redis.call('ZREM', KEYS[1], session)
		gone = gone + 1
	end
end
return gone
`

// forgetLaneSource removes a lane and its marks.
//
// KEYS  lanes, the lane's done, a lease
// ARGV  lane, 1 when the lease must be held or 0, its token
// Returns 1 when it went, 0 when the lease is not held.
const forgetLaneSource = `
if ARGV[2] == '1' and redis.call('GET', KEYS[3]) ~= ARGV[3] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('UNLINK', KEYS[2])
return 1
`

// acquireSource takes a lease that is free or held with the same token.
//
// KEYS  the lease
// ARGV  token, milliseconds that it is held
// Returns 1 when it is held now, else 0.
const acquireSource = `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`

// releaseSource gives a lease back that is held with this token.
//
// KEYS  the lease
// ARGV  token
// Returns 1 when it was held, else 0.
const releaseSource = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`
