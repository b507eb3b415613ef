-- Lends units to a node.
--
-- KEYS[1]  the sale's book
-- ARGV     node, incarnation, epoch, seen, divisor, chunk_min, chunk_max, starves (1 when a buyer was turned away)
--          seen: the node's `granted` as it knows it. More in the book means that an answer was lost: the difference is
--          the answer, and nothing is granted twice. Less means that the book is older than its own grants.
--          divisor: the chunk is available / divisor, within chunk_min and chunk_max, and never more than available.
--          Who asks ahead of need leaves chunk_min units for each node that lately asked for its buyers in vain: else the one
--          that has just handed a unit back would have it again before the one that it was handed back for asks.
-- Returns  the reply of book.lua; `granted` - seen units are the node's now. 'rebuilding': not every node has said yet
--          what it holds.
-- Invariant: available never falls below zero here.

local node, incarnation, epoch, seen = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local status = verdict(node, incarnation, epoch)
if status ~= 'ok' then
  return reply(status, node)
end
local granted = number('g:' .. node)
if granted < seen then
  return reply('lost', node)
end
if sums().awaited > 0 then
  return reply('rebuilding', node)
end
if granted == seen then
  local starves = ARGV[8] == '1'
  local left = available()
  local chunk = math.floor(left / tonumber(ARGV[5]))
  chunk = math.min(math.max(chunk, tonumber(ARGV[6])), tonumber(ARGV[7]), left)
  if not starves then
    drop('d:' .. node)
    chunk = math.min(chunk, math.max(left - sums().starving * tonumber(ARGV[6]), 0))
  end
  if chunk > 0 then
    put('g:' .. node, granted + chunk)
    drop('d:' .. node)
  elseif starves then
    put('d:' .. node, now_ms())
  end
end
return reply('ok', node)
