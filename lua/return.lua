-- Units of cancelled and expired orders become available again, to whichever node asks.
--
-- KEYS[1]  the sale's book
-- ARGV     node (who tells), incarnation, epoch, returned: units of the sale ever returned, counted in the store
-- Returns  the reply of book.lua
-- Invariant: any node may tell, in any order: the count is the store's and only grows.

local node, incarnation, epoch, returned = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local status = verdict(node, incarnation, epoch)
if status == 'ok' then
  raise('returned', returned)
end
return reply(status, node)
