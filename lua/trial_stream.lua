-- Asks whether the stream of events may be written. An entry before the first place is refused by every server, but only
-- when the right is there.
--
-- KEYS[1]  the stream
-- ARGV     none
-- Returns  'ok', or the server's own word for what is missing

local answer = redis.pcall('XADD', KEYS[1], '0-0', 'event', '{}')
if answer.err and string.find(answer.err, '0-0', 1, true) then
  return 'ok'
end
return answer
