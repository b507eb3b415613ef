-- The operator changed the stock, and the store has it.
--
-- KEYS[1]  the sale's book
-- ARGV     node (who tells), incarnation, epoch, total, revision: the store's number of this total, growing
-- Returns  the reply of book.lua
-- Invariant: the newest revision stands. Below what is lent out `available` is negative: nothing is lent then, and
--          nodes hand unsold units back.

local node, incarnation, epoch = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local total, revision = tonumber(ARGV[4]), tonumber(ARGV[5])
local status = verdict(node, incarnation, epoch)
if status == 'ok' and revision > number('revision') then
  put('revision', revision)
  put('total', total)
end
return reply(status, node)
