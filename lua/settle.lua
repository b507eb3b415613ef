-- A node reports how many of its units are durably sold, and hears how the sale stands.
--
-- KEYS[1]  the sale's book
-- ARGV     node, incarnation, epoch, durable: units of this node's orders ever durable, counted in the store
-- Returns  the reply of book.lua
-- Invariant: `available` does not depend on it; settling late only blurs leased and sold.

local node, incarnation, epoch, durable = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local status = verdict(node, incarnation, epoch)
if status == 'ok' then
  raise('s:' .. node, durable)
end
return reply(status, node)
