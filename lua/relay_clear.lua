-- Deletes a stream whose events are not those of the order store any more, with its consumer groups: they would wait for
-- numbers that are long given out.
--
-- KEYS[1]  the stream
-- ARGV     the last number that the caller saw in it
-- Returns  1 when it was deleted, 0 when it is another one by now
-- Invariant: what was appended since the caller looked stays.

local about = redis.pcall('XINFO', 'STREAM', KEYS[1])
if about.err then return 0 end
for at = 1, #about, 2 do
  if about[at] == 'last-generated-id' and string.match(about[at + 1], '^%d+') == ARGV[1] then
    return redis.call('DEL', KEYS[1])
  end
end
return 0
