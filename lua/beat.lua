-- A node says that it lives, and hears how long ago the others did. Decides nothing: silence is a reason to fence a
-- node in the store, never to take its units.
--
-- KEYS[1]  one hash for all nodes: node -> ms of this server's clock
-- ARGV     node
-- Returns  node, ms since its last beat, and so on for every node that ever beat here
-- Invariant: only one clock is read, this server's.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], now)
local beats = redis.call('HGETALL', KEYS[1])
for at = 2, #beats, 2 do
  beats[at] = now - beats[at]
end
return beats
