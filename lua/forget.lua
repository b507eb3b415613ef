-- A sale has ended: its book is forgotten, unless it is that of a later sale of the same name.
--
-- KEYS[1]  the sale's book
-- ARGV     the last epoch that the store gave to the sale
-- Returns  the reply of book.lua: 'ok' when the sale has no book any more, 'old-epoch' when the book is a later sale's.
-- Invariant: the store gives no epoch to a sale that has ended, and those of a later one of its name are above all of its own.

if number('epoch') > tonumber(ARGV[1]) then
  return reply('old-epoch', '')
end
redis.call('DEL', KEYS[1])
book = {}
return reply('ok', '')
