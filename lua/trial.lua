-- Does, to a key of its own, everything that the other scripts do: a server that allows and takes this lends. Its error
-- is the server's own word for what is missing (a right, memory, a disk), and the command that met it.
--
-- KEYS[1]  a key that nothing else uses; gone afterwards

local calls = {
  { 'INFO', 'server' },
  { 'TIME' },
  { 'HSET', KEYS[1], 'field', '1', 'other', '2' },
  { 'HDEL', KEYS[1], 'other' },
  { 'HGETALL', KEYS[1] },
  { 'DEL', KEYS[1] },
  { 'XADD', KEYS[1], 'MAXLEN', '~', '1', '1-0', 'event', '{}' },
  { 'XINFO', 'STREAM', KEYS[1] },
  { 'DEL', KEYS[1] },
}
for _, call in ipairs(calls) do
  local answer = redis.pcall(unpack(call))
  if type(answer) == 'table' and answer.err then
    return redis.error_reply(answer.err .. ' (' .. call[1] .. ')')
  end
end
return 'ok'
