-- Appends order events to a stream, if nobody did since the caller looked.
--
-- KEYS[1]  the stream
-- ARGV     after (the last number that the caller believes to be there), length_max, store (the identity of the order store
--          that has the events), then number and JSON of each event, growing
-- Returns  the last number that is there now, and the fields of the last entry in one list, which is empty when it is gone
-- Invariant: the stream's own ids are the position: event N has the id N-0, so an event is never twice in the stream, never
--          before an older one, and a stream that rolled back or was lost is filled again from where it ends.

local function look()
  local about = redis.pcall('XINFO', 'STREAM', KEYS[1])
  if about.err then return 0, {} end
  local last, fields = 0, {}
  for at = 1, #about, 2 do
    if about[at] == 'last-generated-id' then
      last = tonumber(string.match(about[at + 1], '^%d+'))
    elseif about[at] == 'last-entry' and about[at + 1] then
      -- One that was deleted by hand leaves an older one behind.
      fields = about[at + 1]
    end
  end
  if fields[1] and tonumber(string.match(fields[1], '^%d+')) == last then
    return last, fields[2]
  end
  return last, {}
end

local there, entry = look()
if there ~= tonumber(ARGV[1]) or #ARGV == 3 then
  return { there, entry }
end
for at = 4, #ARGV, 2 do
  entry = { 'event', ARGV[at + 1], 'store', ARGV[3] }
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[at] .. '-0', unpack(entry))
  there = tonumber(ARGV[at])
end
return { there, entry }
