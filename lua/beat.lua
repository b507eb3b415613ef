-- A node says that it lives and which sales the others are to look at, or that it leaves; and hears how long ago the others
-- lived and to which sales somebody called. Decides nothing: silence is a reason to fence a node in the store, never to take
-- its units, and what is wanted of a sale stands in its book.
--
-- KEYS[1]  one hash for all nodes: node -> ms of this server's clock, with a minus in front for one that left then
--          (engines of before write 0)
-- KEYS[2]  one hash for all nodes: sale -> ms of this server's clock when somebody last called to it
-- ARGV     node, then 'leaves' when it does; or for how many ms a call is told, and the sales to which it calls
-- Returns  run and replication id of this server; the ms since this node's earlier beat, less than 0 where the clock was set
--          back, nothing if none is remembered; node, ms since its last beat (-1 for one that left), and so on for every
--          node that beat here within a day; sale, ms of its last call, and so on for every call that is told
-- Invariant: only one clock is read, this server's, or that of the one that it was replicated from: a beat that lies in the
-- future by this clock is taken for one of now. Who beats more often than calls are told hears every call.

local FORGOTTEN_MS = 24 * 60 * 60 * 1000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local leaves = ARGV[2] == 'leaves'
local earlier = redis.call('HGET', KEYS[1], ARGV[1])
local since = earlier and now - math.abs(tonumber(earlier))
redis.call('HSET', KEYS[1], ARGV[1], leaves and -now or now)

local beats, heard = {}, redis.call('HGETALL', KEYS[1])
for at = 1, #heard, 2 do
  local node, beat = heard[at], tonumber(heard[at + 1])
  if beat == 0 or math.abs(beat) > now then
    beat = beat > 0 and now or -now
    redis.call('HSET', KEYS[1], node, beat)
  end
  if now - math.abs(beat) > FORGOTTEN_MS then
    redis.call('HDEL', KEYS[1], node)
  else
    beats[#beats + 1] = node
    beats[#beats + 1] = beat < 0 and -1 or now - beat
  end
end

local calls = {}
if not leaves then
  for at = 3, #ARGV do
    redis.call('HSET', KEYS[2], ARGV[at], now)
  end
  local known = redis.call('HGETALL', KEYS[2])
  for at = 1, #known, 2 do
    if math.abs(now - known[at + 1]) <= tonumber(ARGV[2]) then
      calls[#calls + 1] = known[at]
      calls[#calls + 1] = known[at + 1]
    else
      redis.call('HDEL', KEYS[2], known[at])
    end
  end
end

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local repl = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
return { run, repl, since, beats, calls }
