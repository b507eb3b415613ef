-- A node gives unsold units back. They must be off sale at the node before it says so.
--
-- KEYS[1]  the sale's book
-- ARGV     node, incarnation, epoch, handed_back: all units this node ever handed back in this epoch
-- Returns  the reply of book.lua
-- Invariant: handed_back only grows, and never above what was granted and is not settled.

local node, incarnation, epoch, handed_back = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local status = verdict(node, incarnation, epoch)
if status == 'ok' then
  if handed_back > number('g:' .. node) - number('s:' .. node) then
    status = 'lost'
  else
    raise('h:' .. node, handed_back)
    drop('d:' .. node)
  end
end
return reply(status, node)
