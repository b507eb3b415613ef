-- The book of one sale: what every movement reads and asks before it writes. Put in front of each script when it is
-- loaded; never run alone.
--
-- KEYS[1]  {tenant:campaign:sku}: one hash, so that a sale lives in one slot of a Redis Cluster.
-- Fields   epoch            the store's number of this book; a newer one means that everything was counted anew
--          run, repl        the identity of the server that the book was opened on: its run id and replication id
--          total, revision  units ever put on sale, and the store's number of that figure
--          returned         units of cancelled and expired orders, as the store counts them; only grows
--          i:N              node N's incarnation; only grows
--          g:N, h:N, s:N    units granted to node N, handed back unsold, settled (durable in the store); only grow
--          w:N              node N has not yet said what it holds since the book was opened
--          d:N              when node N last asked for units and got none, in ms of this server's clock
--
-- available = total - sum(g - h) + returned        leased to N = g - h - s        sold = sum(s) - returned
-- Invariant: available + sum(leased) + sold = total. Counters are merged by maximum, so a call may come twice, late or
-- not at all; a call of an older epoch or incarnation changes nothing.

local STARVING_MS = 2000

local book = {}
local flat = redis.call('HGETALL', KEYS[1])
for at = 1, #flat, 2 do
  book[flat[at]] = flat[at + 1]
end

local function number(field)
  return tonumber(book[field]) or 0
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Sums over the accounts of all nodes: made at the first question, and kept by whatever is written after it, so that a script
-- goes through the accounts once at most.
local kept

-- Adds what a field stands for to the sums, or takes it off.
local function count(field, value, sign)
  local kind = string.sub(field, 1, 2)
  if kind == 'g:' then
    kept.held = kept.held + sign * value
  elseif kind == 'h:' then
    kept.held = kept.held - sign * value
  elseif kind == 's:' then
    kept.settled = kept.settled + sign * value
  elseif kind == 'w:' then
    kept.awaited = kept.awaited + sign
  elseif kind == 'd:' then
    kept.now = kept.now or now_ms()
    if kept.now - value < STARVING_MS then kept.starving = kept.starving + sign end
  end
end

local function sums()
  if not kept then
    kept = { held = 0, settled = 0, awaited = 0, starving = 0 }
    for field, value in pairs(book) do
      count(field, value, 1)
    end
  end
  return kept
end

local function put(field, value)
  if kept and book[field] then count(field, book[field], -1) end
  book[field] = value
  if kept then count(field, value, 1) end
  redis.call('HSET', KEYS[1], field, value)
end

local function drop(field)
  if book[field] then
    if kept then count(field, book[field], -1) end
    book[field] = nil
    redis.call('HDEL', KEYS[1], field)
  end
end

-- The only way in which a counter is written.
local function raise(field, value)
  if value > number(field) then
    put(field, value)
  end
end

-- A server that restarts has a new run id; one that was a replica and is promoted has a new replication id. Either may
-- have lost the last writes.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local repl = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')

local function lost()
  return book.run ~= run or book.repl ~= repl
end

-- 'ok', or why a call of this epoch is refused.
local function epoch_verdict(epoch)
  if lost() then return 'lost' end
  if epoch < number('epoch') then return 'old-epoch' end
  if epoch > number('epoch') then return 'behind' end
  return 'ok'
end

-- 'ok', or why a call of node `node` in this incarnation is refused.
local function verdict(node, incarnation, epoch)
  local of_epoch = epoch_verdict(epoch)
  if of_epoch ~= 'ok' then return of_epoch end
  if incarnation < number('i:' .. node) then return 'old-incarnation' end
  if book['w:' .. node] then return 'awaited' end
  if incarnation > number('i:' .. node) then return 'unregistered' end
  return 'ok'
end

local function available()
  return number('total') - sums().held + number('returned')
end

-- What every movement answers: the verdict, the server's identity, and the book as it is now.
local function reply(status, node)
  local sum = sums()
  return {
    status, run, repl, number('epoch'),
    number('i:' .. node), number('g:' .. node), number('h:' .. node), number('s:' .. node),
    number('total') - sum.held + number('returned'), sum.held - sum.settled, sum.awaited, sum.starving,
  }
end
