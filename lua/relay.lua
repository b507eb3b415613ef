-- Appends order events to a stream, if nobody did since the caller looked.
--
-- KEYS[1]  the stream
-- ARGV     after (the last number the caller believes to be there), length_max, then number and JSON of each event,
--          growing
-- Returns  the last number that is there now
-- Invariant: the stream's own ids are the position: event N has the id N-0, so an event is never twice in the stream, never
--          before an older one, and a stream that rolled back or was lost is filled again from where it ends.

local function last()
  local about = redis.pcall('XINFO', 'STREAM', KEYS[1])
  if about.err then return 0 end
  for at = 1, #about, 2 do
    if about[at] == 'last-generated-id' then
      return tonumber(string.match(about[at + 1], '^%d+'))
    end
  end
  return 0
end

local there = last()
if there ~= tonumber(ARGV[1]) then
  return there
end
for at = 3, #ARGV, 2 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[at] .. '-0', 'event', ARGV[at + 1])
  there = tonumber(ARGV[at])
end
return there
