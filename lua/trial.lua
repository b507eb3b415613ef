-- Does, to a key of its own, everything that the other scripts do: a server that allows and takes this lends. Its error
-- is the server's own word for what is missing (a right, a command, memory, a disk), and the commands that met it: all of
-- them where it is a right or the command itself, else the first.
--
-- KEYS[1]  a key that nothing else uses; gone afterwards
-- Returns  'ok', by which policy this server evicts keys when it is full, and the bytes that it may take (0: as many as it
--          likes)

-- The first server with streams, and whose scripts may write after they have asked for the time.
local OLDEST = 5

local calls = {
  { 'INFO', 'server' },
  { 'TIME' },
  { 'HSET', KEYS[1], 'field', '1', 'other', '2' },
  { 'HGET', KEYS[1], 'field' },
  { 'HDEL', KEYS[1], 'other' },
  { 'HGETALL', KEYS[1] },
  { 'DEL', KEYS[1] },
  { 'XADD', KEYS[1], 'MAXLEN', '~', '1', '1-0', 'event', '{}' },
  { 'XINFO', 'STREAM', KEYS[1] },
  { 'DEL', KEYS[1] },
}

local function is_lacking(err)
  for _, words in ipairs({ "the script can't", 'ACL failure', 'NOPERM', 'Unknown Redis command' }) do
    if string.find(err, words, 1, true) then return true end
  end
  return false
end

local lacking, said = {}, nil
for place, call in ipairs(calls) do
  local answer = redis.pcall(unpack(call))
  local err = type(answer) == 'table' and answer.err
  if not err then
    local version = place == 1 and string.match(answer, 'redis_version:(%S+)')
    if version and tonumber(string.match(version, '^%d+')) < OLDEST then
      return redis.error_reply('ERR the server is Redis ' .. version .. ', and the oldest that lends is ' .. OLDEST .. '.0')
    end
  elseif is_lacking(err) then
    if lacking[#lacking] ~= call[1] then
      lacking[#lacking + 1] = call[1]
    end
    said = said or err
  elseif not said then
    -- What follows a command that is lacking may fail by that alone.
    return redis.error_reply(err .. ' (' .. call[1] .. ')')
  end
end
if said then
  return redis.error_reply(said .. ' (' .. table.concat(lacking, ', ') .. ')')
end
if string.find(redis.call('INFO', 'replication'), 'role:slave', 1, true) then
  return redis.error_reply('READONLY the server is a replica: it takes writes, and loses them')
end
local memory = redis.call('INFO', 'memory')
return { 'ok', string.match(memory, 'maxmemory_policy:(%S+)') or '', string.match(memory, 'maxmemory:(%d+)') or '0' }
