/* The atomic steps, as Redis runs them: the text of one Redis Function library.
 *
 * One literal per function, so that C comments may stand between them and cost nothing in Redis. The library and its
 * functions are named after the protocol's version and a digest of this very text (library.c), so processes with
 * different texts load theirs beside each other and never run one they do not know.
 *
 * Conventions
 *   K, A     KEYS and ARGV. Every step but `release` begins K = meta, log and A = run, nonce, number of shards.
 *   inc      the incarnation, 16 hex digits; in an envelope 8 bytes, little endian.
 *   Answers  arrays of plain values; codes are given at each function.
 *
 * A step is atomic because Redis runs one script at a time; where one could fail half way, what is said to be done
 * comes last (in `put`: SET, which may be refused, before the sequence moves).
 *
 * Offsets of envelope fields are literals here: they are those of l2/l2.h plus 1, because Lua counts from 1. The rooms
 * do not know each other; a test holds the two against each other. Bytes are compared by = only: Lua's < on strings
 * asks the server's locale.
 *
 * `allow-oom` is on the steps that a full Redis must not stop: invalidations, and what repairs. A put, a token or a
 * fill may be refused.
 *
 * Cost per step on the machine at hand: see tests/integration/test_coherence_cost.c.
 * Sources: https://redis.io/docs/latest/develop/interact/programmability/functions-intro/ and .../lua-api/ */
#include "coherence/room.h"

/* ------------------------------------------------------------------ incarnation */

/* A new incarnation: nothing that was said under the old one counts any more. Everyone who listens is told. The
 * channel's name follows from the hash's: a namespace holds no '~', so the first one is ours. */
static const char renew[] =
	"local function renew(meta, log, A)\n"
	"	redis.call('DEL', meta, log)\n"
	"	redis.call('HSET', meta, 'run', A[1], 'inc', A[2], 'seq', '0', 'n', A[3])\n"
	"	redis.call('PUBLISH', (string.gsub(meta, '~m:', '~c:', 1)), '1 ' .. A[2] .. ' 0 0000000000000000 v ')\n"
	"	return A[2], 0\n"
	"end\n";

/* First of all in every step. The run id is that of the server the caller is connected to: where the hash names another
 * one, or is gone or broken, this server may lack changes that were acknowledged (a restart, a failover, a flush), and
 * the caller's nonce becomes the new incarnation. */
static const char enter[] =
	"local function enter(meta, log, A)\n"
	"	local m = redis.pcall('HMGET', meta, 'run', 'inc', 'seq')\n"
	"	if m.err or m[1] ~= A[1] or not m[2] then return renew(meta, log, A) end\n"
	"	local seq = tonumber(m[3] or '')\n"
	"	if not seq then return renew(meta, log, A) end\n"
	"	return m[2], seq\n"
	"end\n";

/* The next sequence: log, hash, message. A log that refuses the id is newer than the hash, or no log at all: then the
 * hash has been lost or set back, and a new incarnation starts with this change as its first. Any other refusal (a user
 * who may not) is the caller's, and nothing is logged.
 * A: 4 channel, 5 entries to keep, 6 writer, 7 kind, 8 key. */
static const char commit[] =
	"local function commit(K, A, inc, seq)\n"
	"	seq = seq + 1\n"
	"	local id = string.format('%.0f', seq)\n"
	"	local r = redis.pcall('XADD', K[2], 'MAXLEN', '~', A[5], id .. '-1', 'k', A[7] .. A[8])\n"
	"	if type(r) == 'table' and r.err then\n"
	"		if not string.find(r.err, 'XADD', 1, true) and string.sub(r.err, 1, 9) ~= 'WRONGTYPE' then error(r) end\n"
	"		inc = renew(K[1], K[2], A)\n"
	"		seq, id = 1, '1'\n"
	"		redis.call('XADD', K[2], '1-1', 'k', A[7] .. A[8])\n"
	"	end\n"
	"	redis.call('HSET', K[1], 'seq', id)\n"
	"	redis.call('PUBLISH', A[4], '1 ' .. inc .. ' ' .. id .. ' ' .. A[6] .. ' ' .. A[7] .. ' ' .. A[8])\n"
	"	return inc, seq\n"
	"end\n";

/* -------------------------------------------------------------------- envelopes */

/* Half of a 64-bit number, exact in a double; a whole one is exact below 2^53, which times and sequences are. */
static const char numbers[] =
	"local function half(s, at)\n"
	"	local a, b, c, d = string.byte(s, at, at + 3)\n"
	"	return a + b * 256 + c * 65536 + d * 16777216\n"
	"end\n"
	"local function number(s, at)\n"
	"	return half(s, at) + half(s, at + 4) * 4294967296\n"
	"end\n"
	"local function at_least(a, i, b, j)\n"
	"	local x, y = half(a, i + 4), half(b, j + 4)\n"
	"	if x ~= y then return x > y end\n"
	"	return half(a, i) >= half(b, j)\n"
	"end\n";

/* The head of what lies at a data key, '' for nothing and for what is no string at all. `ours`: an envelope of this
 * layout and of the present incarnation. */
static const char heads[] =
	"local function head_of(data)\n"
	"	local head = redis.pcall('GETRANGE', data, 0, 63)\n"
	"	return type(head) == 'string' and head or ''\n"
	"end\n"
	"local function ours(head, inc)\n"
	"	if #head < 64 or string.sub(head, 1, 5) ~= 'NRC1\\1' then return false end\n"
	"	local a, b, c, d, e, f, g, h = string.byte(head, 9, 16)\n"
	"	return string.format('%02x%02x%02x%02x%02x%02x%02x%02x', h, g, f, e, d, c, b, a) == inc\n"
	"end\n"
	"local function now_ms()\n"
	"	local t = redis.call('TIME')\n"
	"	return t[1] * 1000 + math.floor(t[2] / 1000)\n"
	"end\n";

/* Has a tag of this envelope been invalidated since its as-of? `tags`: what follows the head, or more. The stripe of a
 * tag is its hash modulo 16384. */
static const char tagged[] =
	"local function overtaken(meta, head, tags)\n"
	"	local n, fields = string.byte(head, 8), {}\n"
	"	if #tags < 8 * n then return true end\n"
	"	for i = 1, n do\n"
	"		local a, b = string.byte(tags, 8 * i - 7, 8 * i - 6)\n"
	"		fields[i] = 't' .. (a + b * 256) % 16384\n"
	"	end\n"
	"	local asof = number(head, 33)\n"
	"	local seqs = redis.call('HMGET', meta, unpack(fields))\n"
	"	for i = 1, n do\n"
	"		if seqs[i] and tonumber(seqs[i]) > asof then return true end\n"
	"	end\n"
	"	return false\n"
	"end\n";

/* A value that may be given out: ours, neither marked stale nor past its time, and no tag of it invalidated since. */
static const char fresh[] =
	"local function fresh(meta, data, head, inc)\n"
	"	if not ours(head, inc) or string.byte(head, 7) ~= 0 or number(head, 25) <= now_ms() then return false end\n"
	"	local n = string.byte(head, 8)\n"
	"	return n == 0 or not overtaken(meta, head, redis.call('GETRANGE', data, 64, 63 + 8 * n))\n"
	"end\n";

/* ------------------------------------------------------------------------ steps */

/* K: meta, log, token, data. A: 9 '1' keeps the value, marked stale. -> {inc, seq}
 * What is no envelope of ours cannot be marked and goes. */
static const char invalidate[] =
	"local function invalidate(K, A)\n"
	"	local inc, seq = enter(K[1], K[2], A)\n"
	"	local head = A[9] == '1' and head_of(K[4]) or ''\n"
	"	if #head == 64 and string.sub(head, 1, 5) == 'NRC1\\1' then\n"
	"		redis.call('SETRANGE', K[4], 6, '\\1')\n"
	"		redis.call('DEL', K[3])\n"
	"	else\n"
	"		redis.call('DEL', K[3], K[4])\n"
	"	end\n"
	"	inc, seq = commit(K, A, inc, seq)\n"
	"	return {inc, seq}\n"
	"end\n";

/* K: meta, log, token, data. A: 9 envelope, 10 life in ms, 11 mode, 12 version, 13 expected (8 bytes each), 14 inc.
 * -> {code, inc, seq}: 0 done; 1 of another incarnation, nothing put; 2 there is one; 3 there is none; 4 other version.
 * A fresh value that says "the source does not have it" (flag 1) is none. */
static const char put[] =
	"local function put(K, A)\n"
	"	local inc, seq = enter(K[1], K[2], A)\n"
	"	if inc ~= A[14] then return {1, inc, 0} end\n"
	"	local mode = A[11]\n"
	"	if mode ~= 's' or A[12] ~= '\\0\\0\\0\\0\\0\\0\\0\\0' then\n"
	"		local head = head_of(K[4])\n"
	"		local there = fresh(K[1], K[4], head, inc) and string.byte(head, 6) % 2 == 0\n"
	"		if mode == 's' then\n"
	"			if there and at_least(head, 41, A[12], 1) then return {4, inc, 0} end\n"
	"		elseif mode == 'a' then\n"
	"			if there then return {2, inc, 0} end\n"
	"		elseif not there then\n"
	"			return {3, inc, 0}\n"
	"		elseif mode == 'c' and string.sub(head, 41, 48) ~= A[13] then\n"
	"			return {4, inc, 0}\n"
	"		end\n"
	"	end\n"
	"	redis.call('SET', K[4], A[9], 'PX', A[10])\n"
	"	redis.call('DEL', K[3])\n"
	"	local now, q = commit(K, A, inc, seq)\n"
	"	if now ~= inc then\n"
	"		redis.call('DEL', K[4])\n"
	"		return {1, now, 0}\n"
	"	end\n"
	"	return {0, inc, q}\n"
	"end\n";

/* K: meta, log, token, data. A: 4 mode, 5 seen, 6 token's life in ms, 7 nonce.
 * -> {1, inc, value}; {2, inc, stale value or nil}: granted; {3, inc, ms}: somebody else's, for so long.
 * A token of another incarnation is nobody's; the caller's own (its answer was lost) is granted again. */
static const char token[] =
	"local function token(K, A)\n"
	"	local inc = enter(K[1], K[2], A)\n"
	"	local head, mode = head_of(K[4]), A[4]\n"
	"	if fresh(K[1], K[4], head, inc) and (mode == 'm'\n"
	"		or mode == 'r' and number(head, 25) > tonumber(A[5])\n"
	"		or mode == 'x' and string.sub(head, 57, 64) ~= A[5]) then\n"
	"		return {1, inc, redis.call('GET', K[4])}\n"
	"	end\n"
	"	local mine = inc .. ':' .. A[7]\n"
	"	if not redis.call('SET', K[3], mine, 'NX', 'PX', A[6]) then\n"
	"		local held = redis.pcall('GET', K[3])\n"
	"		if type(held) == 'string' and held ~= mine and string.sub(held, 1, 17) == inc .. ':' then\n"
	"			local left = redis.call('PTTL', K[3])\n"
	"			if left > 0 then return {3, inc, left} end\n"
	"		end\n"
	"		redis.call('SET', K[3], mine, 'PX', A[6])\n"
	"	end\n"
	"	return {2, inc, mode == 'm' and ours(head, inc) and redis.call('GET', K[4])}\n"
	"end\n";

/* K: meta, log, token, data. A: 4 channel, 5 writer, 6 key, 7 token, 8 envelope, 9 life in ms. -> 1 stored, 0
 * overtaken. The token was deleted by any invalidation since it was granted; its incarnation is the envelope's. */
static const char fill[] =
	"local function fill(K, A)\n"
	"	local inc = enter(K[1], K[2], A)\n"
	"	if redis.pcall('GET', K[3]) ~= A[7] then return 0 end\n"
	"	local stored = 0\n"
	"	local free = string.byte(A[8], 8) == 0 or not overtaken(K[1], A[8], string.sub(A[8], 65, 192))\n"
	"	if string.sub(A[7], 1, 16) == inc and free then\n"
	"		redis.call('SET', K[4], A[8], 'PX', A[9])\n"
	"		stored = 1\n"
	"	end\n"
	"	redis.call('DEL', K[3])\n"
	"	redis.call('PUBLISH', A[4], '1 ' .. inc .. ' 0 ' .. A[5] .. ' f ' .. A[6])\n"
	"	return stored\n"
	"end\n";

/* K: token. A: 1 token, 2 channel, 3 message. -> 1 given back, 0 it was not held */
static const char release[] =
	"local function release(K, A)\n"
	"	if redis.pcall('GET', K[1]) ~= A[1] then return 0 end\n"
	"	redis.call('DEL', K[1])\n"
	"	redis.call('PUBLISH', A[2], A[3])\n"
	"	return 1\n"
	"end\n";

/* K: meta, log, data. A: 4 checksum (8 bytes), 5 envelope, 6 life in ms. -> 1 done, 0 the value is not that one */
static const char touch[] =
	"local function touch(K, A)\n"
	"	local inc = enter(K[1], K[2], A)\n"
	"	local head = head_of(K[3])\n"
	"	if not fresh(K[1], K[3], head, inc) or string.sub(head, 57, 64) ~= A[4]\n"
	"		or string.sub(head, 9, 16) ~= string.sub(A[5], 9, 16) then\n"
	"		return 0\n"
	"	end\n"
	"	redis.call('SET', K[3], A[5], 'PX', A[6])\n"
	"	return 1\n"
	"end\n";

/* K: meta, log. A: 7 't', 8 the tag's hash (8 bytes), 9 its stripe. -> {inc, seq} */
static const char tag[] =
	"local function tag(K, A)\n"
	"	local inc, seq = enter(K[1], K[2], A)\n"
	"	inc, seq = commit(K, A, inc, seq)\n"
	"	redis.call('HSET', K[1], 't' .. A[9], string.format('%.0f', seq))\n"
	"	return {inc, seq}\n"
	"end\n";

/* K: meta, log of each shard in turn. -> {ms of Redis's clock, inc, seq, inc, seq, ...}, or an error where the
 * namespace was made with another number of shards (every number of them has a first one, which knows): a key would
 * have two homes. */
static const char position[] =
	"local function position(K, A)\n"
	"	local r = {now_ms()}\n"
	"	for i = 1, #K, 2 do\n"
	"		local inc, seq = enter(K[i], K[i + 1], A)\n"
	"		r[i + 1] = inc\n"
	"		r[i + 2] = seq\n"
	"	end\n"
	"	local n = redis.call('HGET', K[1], 'n')\n"
	"	if n ~= A[3] then return redis.error_reply('NEARSHARDS ' .. tostring(n)) end\n"
	"	return r\n"
	"end\n";

/* K: meta, log. A: 4 inc, 5 applied, 6 entries at most. -> {inc, seq, 0, entries after applied}, or {inc, seq, 1, whole
 * hash} where the log does not reach back: the caller starts anew from there, with the tags that the hash holds. */
static const char replay[] =
	"local function replay(K, A)\n"
	"	local inc, seq = enter(K[1], K[2], A)\n"
	"	local applied = tonumber(A[5])\n"
	"	if inc == A[4] and applied == seq then return {inc, seq, 0, {}} end\n"
	"	if inc == A[4] and applied < seq then\n"
	"		local first = string.format('%.0f-1', applied + 1)\n"
	"		local e = redis.pcall('XRANGE', K[2], first, '+', 'COUNT', A[6])\n"
	"		if not e.err and e[1] and e[1][1] == first then return {inc, seq, 0, e} end\n"
	"	end\n"
	"	return {inc, seq, 1, redis.call('HGETALL', K[1])}\n"
	"end\n";

/* K: meta, log. -> {inc, seq} */
static const char void_shard[] =
	"local function void(K, A)\n"
	"	local inc, seq = renew(K[1], K[2], A)\n"
	"	return {inc, seq}\n"
	"end\n";

static const char registration[] =
	"local function register(name, callback, flags)\n"
	"	redis.register_function{function_name = NAME .. '_' .. name, callback = callback, flags = flags}\n"
	"end\n"
	"register('invalidate', invalidate, {'allow-oom'})\n"
	"register('put', put, {})\n"
	"register('token', token, {})\n"
	"register('fill', fill, {})\n"
	"register('release', release, {'allow-oom'})\n"
	"register('touch', touch, {})\n"
	"register('tag', tag, {'allow-oom'})\n"
	"register('position', position, {'allow-oom'})\n"
	"register('replay', replay, {'allow-oom'})\n"
	"register('void', void, {'allow-oom'})\n";

const char *const near__steps_lua[] = { renew, enter, commit,  numbers, heads, tagged,   fresh,  invalidate, put,
	                                token, fill,  release, touch,   tag,   position, replay, void_shard, registration,
	                                NULL };
