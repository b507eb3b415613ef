-- An order store says how far it has come, and hears how far it was known to have come, and who else sells here.
--
-- KEYS[1]  one hash for all stores that sell here. Fields: ID:timeline, ID:event, ID:change, ID:decisions, ID:at (ms of this server's
--          clock) of the store ID; plain: the store whose books are called by the names of sales alone
-- ARGV     the store's identity, timeline, last event, last change, decisions, plain (1 when its books are called so)
-- Returns  'ok', 'older' (the store was further than it says) or 'taken' (another store's books are called so); timeline,
--          last event, last change and decisions as they were known before; then identity and ms since it said so of every other
--          store
-- Invariant: in one timeline the numbers only grow here. 'older' and 'taken' change nothing.

local me, timeline = ARGV[1], tonumber(ARGV[2])
local told = { event = tonumber(ARGV[3]), change = tonumber(ARGV[4]), decisions = tonumber(ARGV[5]) }

local known, others = {}, {}
local flat = redis.call('HGETALL', KEYS[1])
for at = 1, #flat, 2 do
  known[flat[at]] = flat[at + 1]
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for field, value in pairs(known) do
  local other = string.match(field, '^(%x+):at$')
  if other and other ~= me then
    others[#others + 1] = other
    others[#others + 1] = math.max(now - value, 0)
  end
end

local function number(field)
  return tonumber(known[me .. ':' .. field]) or 0
end

local is_behind = false
for field, value in pairs(told) do
  is_behind = is_behind or value < number(field)
end

local status = 'ok'
if ARGV[6] == '1' and known.plain and known.plain ~= me then
  status = 'taken'
elseif timeline < number('timeline')
  or timeline == number('timeline') and is_behind then
  status = 'older'
else
  redis.call('HSET', KEYS[1], me .. ':timeline', timeline, me .. ':event', told.event, me .. ':change', told.change,
    me .. ':decisions', told.decisions, me .. ':at', now)
  if ARGV[6] == '1' then
    redis.call('HSET', KEYS[1], 'plain', me)
  end
end

local answer = { status, number('timeline'), number('event'), number('change'), number('decisions') }
for place = 1, #others do
  answer[#answer + 1] = others[place]
end
return answer
