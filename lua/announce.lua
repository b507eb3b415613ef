-- A node says what it holds, in a book that was opened anew.
--
-- KEYS[1]  the sale's book
-- ARGV     node, incarnation, epoch, held: its units sold, in flight and on sale together; durable: those sold
-- Returns  the reply of book.lua. On 'ok' the node counts on from granted = held, handed_back = 0.
-- Invariant: the first word stands. A node that announces holds its counters still until it hears the answer, so a
--          repeat says the same.

local node, incarnation, epoch = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local held, durable = tonumber(ARGV[4]), tonumber(ARGV[5])
local status = verdict(node, incarnation, epoch)
if status == 'awaited' then
  put('i:' .. node, incarnation)
  put('g:' .. node, held)
  put('s:' .. node, durable)
  drop('w:' .. node)
  status = 'ok'
end
return reply(status, node)
