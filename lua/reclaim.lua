-- Takes back what a dead or silent node did not sell. Anyone may do it, and repeat it.
--
-- KEYS[1]  the sale's book
-- ARGV     node (the silent one), incarnation, epoch, durable. First the incarnation was raised in the store, so that
--          no batch of that node commits any more; only then its durable units were counted.
-- Returns  the reply of book.lua; 'old-incarnation' when the node has come back since.
-- Invariant: granted - handed_back = durable afterwards: nothing is leased to the node, and nothing it sold is freed.

local node, incarnation, epoch, durable = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local status = verdict(node, incarnation, epoch)
if status == 'awaited' then
  -- The book was opened anew and the node did not say what it holds: what it sold is all it had.
  put('g:' .. node, durable)
  drop('w:' .. node)
elseif status == 'unregistered' or status == 'ok' then
  raise('h:' .. node, number('g:' .. node) - durable)
else
  return reply(status, node)
end
raise('i:' .. node, incarnation)
raise('s:' .. node, durable)
drop('d:' .. node)
return reply('ok', node)
