-- A node that started (again) makes its incarnation the current one, and hears what its former life had.
--
-- KEYS[1]  the sale's book
-- ARGV     node, incarnation (raised in the store before), epoch
-- Returns  the reply of book.lua. On 'ok' the node's outstanding units are granted - handed_back - durable, with
--          `durable` counted in the store after its incarnation was raised there.
-- Invariant: from here on no call of an older incarnation changes the book, so what is read here stays as it is.

local node, incarnation, epoch = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local status = verdict(node, incarnation, epoch)
if status == 'unregistered' then
  raise('i:' .. node, incarnation)
  status = 'ok'
end
return reply(status, node)
