-- A node says that it lives, or that it leaves, and hears how long ago the others lived. Decides nothing: silence is a
-- reason to fence a node in the store, never to take its units.
--
-- KEYS[1]  one hash for all nodes: node -> ms of this server's clock, 0 for one that left
-- ARGV     node, 'leaves' when it does
-- Returns  node, ms since its last beat (-1 for one that left), and so on for every node that ever beat here
-- Invariant: only one clock is read, this server's.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] == 'leaves' and 0 or now)
local beats = redis.call('HGETALL', KEYS[1])
for at = 2, #beats, 2 do
  -- A clock that was set back must not make a node that lives look like one that left.
  beats[at] = beats[at] == '0' and -1 or math.max(now - beats[at], 0)
end
return beats
