-- Opens the book anew: the first time a sale is lent out, after this server lost or rolled back data, or to count again.
--
-- KEYS[1]  the sale's book
-- ARGV     epoch (raised in the store for this very call and never used for a second one), run, repl (the server that
--          the caller saw), total, revision, returned, waits (0 for the sale's first book: nothing was ever lent), then
--          node and incarnation of every node that lives or has had a share of the sale, as the store knows it after the
--          epoch was raised; nodes that are gone are not named, so that a book does not grow with them
-- Returns  the reply of book.lua: 'lost' when the server has changed once more since the caller looked,
--          'old-epoch' when somebody opened a newer book.
-- Invariant: where it waits, nothing is lent until each named node has announced what it holds or was reclaimed. Nothing of the old
--          book is believed. The incarnations are the store's: somebody who set out to reclaim a node before it came
--          back must not find the book without memory of that.

local epoch = tonumber(ARGV[1])
if run ~= ARGV[2] or repl ~= ARGV[3] then
  return reply('lost', '')
end
if not lost() and epoch <= number('epoch') then
  return reply('old-epoch', '')
end
redis.call('DEL', KEYS[1])
book = {}
put('epoch', epoch)
put('run', run)
put('repl', repl)
put('total', tonumber(ARGV[4]))
put('revision', tonumber(ARGV[5]))
put('returned', tonumber(ARGV[6]))
for at = 8, #ARGV, 2 do
  put('i:' .. ARGV[at], tonumber(ARGV[at + 1]))
  if ARGV[7] == '1' then
    put('w:' .. ARGV[at], 1)
  end
end
return reply('ok', '')
